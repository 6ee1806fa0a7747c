import type { Clock } from "../lib/seams.ts";
import { breathe } from "./clock.ts";

/** Longest stretch of work before the event loop gets its turn, in milliseconds. P10 allows 10, the garbage collector included. */
const SLICE = 3;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes → value. @throws SyntaxError or TypeError where they are not JSON in UTF-8 */
export const decodeJsonBytes = (bytes: Uint8Array): unknown => JSON.parse(utf8.decode(bytes));

/** Called between pieces of long work: lets the event loop have its turn whenever a slice is used up. */
export type Turns = () => Promise<void> | void;

export function openTurns(clock: Clock): Turns {
  let since = clock.monotonic();
  return () => {
    if (clock.monotonic() - since < SLICE) return undefined;
    return breathe().then(() => {
      since = clock.monotonic();
    });
  };
}

/**
 * A list page → the value that {@link decodeJsonBytes} gives, but with `items` decoded one by one and turns of the event loop
 * in between: 50,000 objects at start-up must not hold up a claim (P10). @throws as {@link decodeJsonBytes}
 */
export async function decodeList(bytes: Uint8Array, turns: Turns): Promise<Readonly<Record<string, unknown>>> {
  const entries: (readonly [string, unknown])[] = [];
  let at = open(bytes, 0, "{");
  while (bytes[at] !== CODES["}"]) {
    const keyEnd = endOfValue(bytes, at);
    const key = decodeJsonBytes(bytes.subarray(at, keyEnd));
    if (typeof key !== "string") throw new SyntaxError("a key is no string");
    const start = open(bytes, keyEnd, ":");
    const isItems = key === "items" && bytes[start] === CODES["["];
    const { value, end } = isItems ? await decodeItems(bytes, start, turns) : decodeValue(bytes, start);
    entries.push([key, value]);
    at = next(bytes, end, "}");
  }
  if (skipSpace(bytes, at + 1) !== bytes.length) throw new SyntaxError("something follows the list");
  return Object.fromEntries(entries);
}

interface DecodedPart {
  readonly value: unknown;
  readonly end: number;
}

async function decodeItems(bytes: Uint8Array, start: number, turns: Turns): Promise<DecodedPart> {
  const items: unknown[] = [];
  let at = open(bytes, start, "[");
  while (bytes[at] !== CODES["]"]) {
    const { value, end } = decodeValue(bytes, at);
    items.push(value);
    at = next(bytes, end, "]");
    await turns();
  }
  return { value: items, end: at + 1 };
}

function decodeValue(bytes: Uint8Array, start: number): DecodedPart {
  const end = endOfValue(bytes, start);
  return { value: decodeJsonBytes(bytes.subarray(start, end)), end };
}

const CODES = { '"': 0x22, "\\": 0x5c, ",": 0x2c, ":": 0x3a, "{": 0x7b, "}": 0x7d, "[": 0x5b, "]": 0x5d } as const;

/** Index of what follows the sign that must stand here, space left out. */
function open(bytes: Uint8Array, from: number, sign: "{" | "[" | ":"): number {
  const at = skipSpace(bytes, from);
  if (bytes[at] !== CODES[sign]) throw new SyntaxError(`no ${sign} where one must stand`);
  return skipSpace(bytes, at + 1);
}

/** Behind a value: index of the next one, or of the closing sign. */
function next(bytes: Uint8Array, from: number, close: "}" | "]"): number {
  const at = skipSpace(bytes, from);
  if (bytes[at] === CODES[close]) return at;
  if (bytes[at] !== CODES[","]) throw new SyntaxError(`neither , nor ${close} behind a value`);
  const value = skipSpace(bytes, at + 1);
  if (bytes[value] === CODES[close]) throw new SyntaxError(`nothing between , and ${close}`);
  return value;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at += 1;
  return at;
}

/** Index of the sign that ends the value. Looks at structure only; what it cuts out is decoded, hence checked, by JSON.parse. */
function endOfValue(bytes: Uint8Array, start: number): number {
  let depth = 0;
  for (let at = start; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case CODES['"']:
        at = endOfString(bytes, at);
        if (depth === 0) return at + 1;
        break;
      case CODES["{"]:
      case CODES["["]:
        depth += 1;
        break;
      case CODES["}"]:
      case CODES["]"]:
        depth -= 1;
        if (depth < 0) return at;
        break;
      case CODES[","]:
        if (depth === 0) return at;
        break;
      default:
    }
  }
  throw new SyntaxError("the list ends in the middle of a value");
}

/** Index of the closing quote. */
function endOfString(bytes: Uint8Array, start: number): number {
  for (let at = start + 1; at < bytes.length; at += 1) {
    if (bytes[at] === CODES["\\"]) at += 1;
    else if (bytes[at] === CODES['"']) return at;
  }
  throw new SyntaxError("the list ends in the middle of a string");
}
