import { createHash, timingSafeEqual } from "node:crypto";

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

function sha256(parts: readonly string[]): Buffer {
  const hash = createHash("sha256");
  // Length-prefixed, so that no two lists of parts hash alike (SEC-60).
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest();
}

/** SHA-256 over length-prefixed parts, 64 lower-case hex digits. */
export const hexDigest = (...parts: readonly string[]): string => sha256(parts).toString("hex");

/** SHA-256 over length-prefixed parts, 52 characters of `[a-z2-7]`. */
export function base32Digest(...parts: readonly string[]): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of sha256(parts)) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(held >>> bits) & 31];
    }
  }
  return bits > 0 ? text + BASE32[(held << (5 - bits)) & 31] : text;
}

/** Plain SHA-256 of one text, hex: for names that others compute too (TenantState, SEC-5). */
export const plainSha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** JSON with sorted keys and without undefined: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Constant-time comparison of secrets of any length (SEC-60). */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(sha256([a]), sha256([b]));
}
