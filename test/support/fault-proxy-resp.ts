import type { Socket } from "node:net";

// As much of RESP2 as a proxy needs: whole commands of a client, whole replies of a server.

interface Parsed<T> {
  readonly value: T;
  readonly end: number;
}

/** A line from `from`, without its CRLF; null: not all of it is there. */
function lineAt(bytes: Buffer, from: number): Parsed<string> | null {
  const end = bytes.indexOf("\r\n", from);
  return end < 0 ? null : { value: bytes.toString("utf8", from, end), end: end + 2 };
}

export type Reply = string | null | readonly Reply[];

function replyAt(bytes: Buffer, from: number): Parsed<Reply> | null {
  const line = lineAt(bytes, from);
  if (line === null) return null;
  const [kind, rest] = [line.value[0], line.value.slice(1)];
  if (kind === "$") {
    const size = Number(rest);
    if (size < 0) return { value: null, end: line.end };
    const end = line.end + size + 2;
    return bytes.length < end ? null : { value: bytes.toString("utf8", line.end, line.end + size), end };
  }
  if (kind !== "*") return { value: kind === "-" ? `-${rest}` : rest, end: line.end };
  const values: Reply[] = [];
  let { end } = line;
  for (let i = 0; i < Number(rest); i += 1) {
    const item = replyAt(bytes, end);
    if (item === null) return null;
    values.push(item.value);
    ({ end } = item);
  }
  return { value: values, end };
}

export interface Message {
  readonly value: Reply;
  readonly bytes: Buffer;
}

/** Whole messages in order; ends with the connection. Commands are messages too: arrays of texts. */
export async function* messagesOf(socket: Socket): AsyncGenerator<Message> {
  let held = Buffer.alloc(0);
  try {
    for await (const chunk of socket) {
      held = Buffer.concat([held, chunk as Buffer]);
      for (let found = replyAt(held, 0); found !== null; found = replyAt(held, 0)) {
        const bytes = held.subarray(0, found.end);
        held = held.subarray(found.end);
        yield { value: found.value, bytes };
      }
    }
  } catch {
    // A connection that is reset has no further messages.
  }
}

export const encodeCommand = (args: readonly string[]): Buffer =>
  Buffer.from(`*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join("")}`);
