import { promisify } from "node:util";
import { brotliCompress, brotliDecompress, constants } from "node:zlib";
import { decodeJson, type Json } from "../../lib/json.ts";
import { cacheError } from "./cache-failures.ts";

const compress = promisify(brotliCompress);
const decompress = promisify(brotliDecompress);

/** What one value may hold before compression, so that no stored value can blow up a reader either. */
export const LARGEST_VALUE = 8 * 1024 * 1024;
const LIMITS = { depth: 64, keys: 1_000_000 } as const;
/** Before compressed bytes. JSON never begins with it, so plain values stay readable with redis-cli. */
const COMPRESSED = 0x01;
/** The level that brotli itself recommends for answers made on the fly; higher ones cost several times the time. */
const QUALITY = 4;

/** From which size values are compressed; null: never. */
export type CompressAbove = number | null;

/** JSON as bytes. @throws InfraError `ValueTooLarge` */
export async function encodeValue(value: Json, above: CompressAbove, at: string): Promise<Buffer> {
  const plain = Buffer.from(JSON.stringify(value));
  if (plain.byteLength > LARGEST_VALUE) throw cacheError("ValueTooLarge", at);
  if (above === null || plain.byteLength < above) return plain;
  const packed = await compress(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY } });
  return packed.byteLength + 1 < plain.byteLength ? Buffer.concat([Buffer.of(COMPRESSED), packed]) : plain;
}

/** Bytes as JSON, frozen. @throws InfraError `ValueUnreadable` for anything that this cache does not write */
export async function decodeValue(bytes: Buffer, at: string): Promise<Json> {
  const plain = bytes[0] === COMPRESSED ? await unpacked(bytes.subarray(1), at) : bytes;
  const decoded = decodeJson(textOf(plain, at), LIMITS);
  if (!decoded.ok) throw cacheError("ValueUnreadable", at, new Error(decoded.reason));
  return frozen(decoded.value);
}

async function unpacked(packed: Buffer, at: string): Promise<Buffer> {
  try {
    return await decompress(packed, { maxOutputLength: LARGEST_VALUE });
  } catch (error) {
    throw cacheError("ValueUnreadable", at, error);
  }
}

function textOf(bytes: Buffer, at: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw cacheError("ValueUnreadable", at, error);
  }
}

/** All callers share what the local layer keeps, so nobody may change it. */
export function frozen(value: Json): Json {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) frozen(inner);
  }
  return value;
}
