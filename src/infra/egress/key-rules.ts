import { RECORD_PREFIX } from "../../lib/companion-key.ts";
import type { RedisEndpoint } from "../config/endpoint-settings.ts";

const LONGEST_KEY = 512;

/** Whether a rendered key or stream may be touched (SEC-25): listed where anything is listed, and never a record of ours. */
export function isAllowedKey(key: string, { allow }: Pick<RedisEndpoint, "allow">): boolean {
  if (key === "" || key.length > LONGEST_KEY || key.startsWith(RECORD_PREFIX) || !key.isWellFormed()) return false;
  return allow === undefined || allow.keys.some((prefix) => key.startsWith(prefix));
}
