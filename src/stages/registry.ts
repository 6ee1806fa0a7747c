import { approval } from "./approval.ts";
import { http } from "./http.ts";
import { redis } from "./redis.ts";
import type { StageKind } from "./stage.ts";
import { verify } from "./verify.ts";
import { wait } from "./wait.ts";

/** Refuses a kind under another name than its own, which would make two words for one thing. */
const registry = <T extends Readonly<Record<string, StageKind>>>(kinds: T): T => {
  const wrong = Object.entries(kinds).find(([name, { kind }]) => name !== kind);
  if (wrong !== undefined) throw new Error(`stage kind ${wrong[1].kind} is registered as ${wrong[0]}`);
  return kinds;
};

/** One line per kind, key = `kind`; CRDs, docs, CLI and the contract suite are made from it. */
export const STAGES = registry({ http, redis, verify, wait, approval });
export type StageKindName = keyof typeof STAGES;
