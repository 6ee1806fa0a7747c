import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import type { Clock } from "../../lib/seams.ts";
import { type Millis, seconds } from "../../lib/time.ts";
import type { SecretReference } from "../config/setting-fields.ts";

/** Why a secret could not be had; never what stood there. */
export type SecretTrouble =
  | "not set"
  | "no such file"
  | "not a regular file"
  | "too large"
  | "outside the secret roots"
  | "a service account's token"
  | "empty"
  | "not plain text";

export type SecretRead =
  { readonly ok: true; readonly value: string } | { readonly ok: false; readonly reason: SecretTrouble };

export interface Secrets {
  /** The value, trimmed, at most 30 s old (SEC-29 asks for 60). */
  read(reference: SecretReference): Promise<SecretRead>;
}

export interface SecretsDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folders under which secret files may lie. */
  readonly roots: readonly string[];
  readonly clock: Clock;
}

const LARGEST = 64 * 1024;
const FRESH: Millis = seconds(30);
const SERVICE_ACCOUNT = /(?:^|\/)secrets\/kubernetes\.io(?:\/|$)/;

/** SEC-39. Reads what a setting refers to, keeping a value for half a minute. */
export function openSecrets({ env, roots, clock }: SecretsDeps): Secrets {
  const kept = new Map<string, { readonly at: Millis; readonly read: Promise<SecretRead> }>();
  return {
    read: (reference) => {
      const key = "env" in reference ? `env ${reference.env}` : `file ${reference.file}`;
      const now = clock.monotonic();
      const found = kept.get(key);
      if (found !== undefined && now - found.at < FRESH) return found.read;
      const read = "env" in reference ? Promise.resolve(fromEnv(env, reference.env)) : fromFile(reference.file, roots);
      kept.set(key, { at: now, read });
      // What is missing may be mounted any moment; only a value is kept.
      void read.then((result) => (result.ok ? undefined : kept.delete(key)));
      return read;
    },
  };
}

function fromEnv(env: SecretsDeps["env"], name: string): SecretRead {
  const value = name.startsWith("TURNOUT_SECRET_") ? env[name] : undefined;
  return value === undefined ? { ok: false, reason: "not set" } : checked(value);
}

async function fromFile(path: string, roots: readonly string[]): Promise<SecretRead> {
  const real = await realpath(path).catch(() => null);
  if (real === null) return { ok: false, reason: "no such file" };
  if (SERVICE_ACCOUNT.test(real) || SERVICE_ACCOUNT.test(path))
    return { ok: false, reason: "a service account's token" };
  const realRoots = await Promise.all(roots.map((root) => realpath(root).catch(() => null)));
  if (!realRoots.some((root) => root !== null && real.startsWith(`${root}/`))) {
    return { ok: false, reason: "outside the secret roots" };
  }
  return readRegular(real);
}

/** Opened without following a link put there since, and without waiting for the writer of a FIFO. */
async function readRegular(real: string): Promise<SecretRead> {
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => null);
  if (file === null) return { ok: false, reason: "not a regular file" };
  try {
    const found = await file.stat();
    if (!found.isFile()) return { ok: false, reason: "not a regular file" };
    if (found.size > LARGEST) return { ok: false, reason: "too large" };
    const { bytesRead, buffer } = await file.read(Buffer.alloc(LARGEST + 1), 0, LARGEST + 1, 0);
    return bytesRead > LARGEST ? { ok: false, reason: "too large" } : decoded(buffer.subarray(0, bytesRead));
  } catch {
    return { ok: false, reason: "not a regular file" };
  } finally {
    await file.close();
  }
}

function decoded(bytes: Uint8Array): SecretRead {
  try {
    return checked(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return { ok: false, reason: "not plain text" };
  }
}

function checked(raw: string): SecretRead {
  const value = raw.trim();
  if (value === "") return { ok: false, reason: "empty" };
  if (value.includes("\0")) return { ok: false, reason: "not plain text" };
  return isServiceAccountToken(value) ? { ok: false, reason: "a service account's token" } : { ok: true, value };
}

/** A projected token may be mounted anywhere: told by its subject (Kubernetes, "Service account tokens"). */
function isServiceAccountToken(value: string): boolean {
  const [, payload, signature] = value.split(".");
  if (payload === undefined || signature === undefined) return false;
  return /"system:serviceaccount:/.test(Buffer.from(payload, "base64url").toString("latin1"));
}
