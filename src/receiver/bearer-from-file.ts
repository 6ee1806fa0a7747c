import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { sameSecret } from "../lib/digest.ts";
import type { Clock } from "../lib/seams.ts";
import { type Millis, seconds } from "../lib/time.ts";
import type { Authenticate } from "./authenticate.ts";

/** A token that was taken out of the file is refused after this time at the latest (SEC-29: 60 s). */
const REREAD_AFTER: Millis = seconds(30);
const FILE_BYTES = 64 * 1024;
/** During a rotation both sides know two for a while. */
const MOST_TOKENS = 4;
/** SEC-60. */
const LEAST_BITS = 128;

/** RFC 6750, section 2.1. */
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/**
 * Takes the bearer tokens that stand in the file, one per line; compares in constant time.
 * @throws Error, now, where the file cannot be read or holds a token of less than 128 bits.
 */
export async function bearerFromFile(path: string, clock: Clock): Promise<Authenticate> {
  let tokens = await readTokens(path);
  let readAt = clock.monotonic();
  let reading: Promise<void> | null = null;

  const readAgain = async (): Promise<void> => {
    tokens = await readTokens(path);
    readAt = clock.monotonic();
  };
  return async (request) => {
    if (clock.monotonic() - readAt >= REREAD_AFTER) {
      reading ??= readAgain().finally(() => {
        reading = null;
      });
      await reading;
    }
    // A second Authorization header would be dropped in silence by Node.
    const [header, ...more] = request.headersDistinct["authorization"] ?? [];
    const token = more.length === 0 ? BEARER.exec(header ?? "")?.[1] : undefined;
    if (token === undefined) return false;
    // No early end: the time taken must not tell which line matched.
    return tokens.map((known) => sameSecret(known, token)).includes(true);
  };
}

async function readTokens(path: string): Promise<readonly string[]> {
  // O_NONBLOCK: a named pipe must not hold the process.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > FILE_BYTES)
      throw new Error(`token file ${path} is no regular file of at most 64 KiB`);
    const text = await file.readFile("utf8");
    const tokens = text
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
    if (tokens.length === 0 || tokens.length > MOST_TOKENS) {
      throw new Error(`token file ${path} holds ${tokens.length} tokens, not 1 to ${MOST_TOKENS}`);
    }
    if (tokens.some((token) => bitsOf(token) < LEAST_BITS)) {
      throw new Error(
        `token file ${path} holds a token of less than ${LEAST_BITS} bits; use 32 random hex digits or more`,
      );
    }
    return tokens;
  } finally {
    await file.close();
  }
}

/** Most that a token of these characters can hold. */
function bitsOf(token: string): number {
  if (/^[0-9]*$/.test(token)) return token.length * Math.log2(10);
  if (/^(?:[0-9a-f]*|[0-9A-F]*)$/.test(token)) return token.length * 4;
  return token.length * 6;
}
