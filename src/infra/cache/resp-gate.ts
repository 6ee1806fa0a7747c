// cache: Redis. Connections to named redis endpoints, and the fenced scripts that stages run over them.
// Nothing here knows tasks; the vendor client is used nowhere else.
import { Duplex } from "node:stream";
import type { Socket } from "node:net";

/** What one reply may hold (SEC-41); a longer, deeper or wider one ends the connection. */
export const LARGEST_REPLY = 64 * 1024;
const DEEPEST = 8;
const WIDEST = 4096;
const LONGEST_LINE = 1024;
/** Simple text, error, number, text, array. */
const TYPES = "+-:$*";

/** What a server may send at once, and whether also what it was not asked for (to a subscriber). */
export interface ReplyLimits {
  readonly bytes: number;
  /** Elements of one array. */
  readonly elements: number;
  readonly unasked: boolean;
}
const STRICT: ReplyLimits = { bytes: LARGEST_REPLY, elements: WIDEST, unasked: false };

/** Too large, deep or wide; not RESP2; more than was asked for. */
export type Violation = "size" | "form" | "unasked";

/**
 * Watches RESP2 replies go by and says when one is complete. Looks at structure only and keeps no bytes, so that a hostile
 * server is stopped before the client's own parser sees what it sent: that one takes RESP3 pushes and any depth, and its throws
 * end the process.
 */
export class ReplyScanner {
  #owed = 0;
  #bytes = 0;
  /** Bytes of a bulk string, its line end included, that are still to come. */
  #skip = 0;
  #line = "";
  /** Elements still to come, per open array. */
  readonly #open: number[] = [];
  readonly #limits: ReplyLimits;

  constructor(limits: ReplyLimits = STRICT) {
    this.#limits = limits;
  }

  /** One more reply may come. Until then every byte is one too many. */
  expect(): void {
    this.#owed += 1;
  }

  /** Null while all is well. */
  push(chunk: Uint8Array): Violation | null {
    for (let i = 0; i < chunk.length;) {
      if (this.#owed === 0 && !this.#limits.unasked) return "unasked";
      const taken = Math.min(this.#skip, chunk.length - i);
      this.#skip -= taken;
      this.#bytes += taken;
      i += taken;
      if (taken > 0) {
        if (this.#skip === 0) this.#element();
      } else {
        const wrong = this.#character(chunk[i] ?? 0);
        if (wrong !== null) return wrong;
        this.#bytes += 1;
        i += 1;
      }
      if (this.#bytes > this.#limits.bytes) return "size";
    }
    return null;
  }

  #character(byte: number): Violation | null {
    const character = String.fromCharCode(byte);
    if (this.#line === "" && !TYPES.includes(character)) return "form";
    // The client's parser ends a line at the first carriage return, so none may stand inside one.
    if ((character === "\n") !== this.#line.endsWith("\r")) return "form";
    if (character !== "\n") {
      this.#line += character;
      return this.#line.length > LONGEST_LINE ? "size" : null;
    }
    const line = this.#line.slice(0, -1);
    this.#line = "";
    return this.#header(line);
  }

  #header(line: string): Violation | null {
    const length = /^[$*](?:0|[1-9]\d{0,15})$/.test(line) ? Number(line.slice(1)) : null;
    switch (line[0]) {
      case "+":
      case "-":
        return this.#element();
      case ":":
        return /^:[+-]?\d{1,20}$/.test(line) ? this.#element() : "form";
      case "$":
        if (line === "$-1") return this.#element();
        if (length === null) return "form";
        if (length > this.#limits.bytes) return "size";
        this.#skip = length + 2;
        return null;
      case "*":
        if (line === "*-1" || length === 0) return this.#element();
        if (length === null) return "form";
        if (length > this.#limits.elements) return "size";
        if (this.#open.length >= DEEPEST) return "size";
        this.#open.push(length);
        return null;
      default:
        return "form";
    }
  }

  /** One element is complete, and with it each array whose last one it was. */
  #element(): null {
    for (;;) {
      const left = this.#open.pop();
      if (left === undefined) {
        this.#owed = Math.max(0, this.#owed - 1);
        this.#bytes = 0;
        return null;
      }
      if (left > 1) {
        this.#open.push(left - 1);
        return null;
      }
    }
  }
}

/** A socket as the client sees it: what the scanner refuses destroys it instead of reaching the client. */
export class RespGate extends Duplex {
  readonly connecting = false;
  readonly #socket: Socket;
  readonly #scanner: ReplyScanner;
  #violation: Violation | null = null;

  constructor(socket: Socket, limits?: ReplyLimits) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#scanner = new ReplyScanner(limits);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("end", () => this.destroy());
    socket.on("close", () => this.destroy());
    // The client learns of the end by `close`.
    this.on("error", () => undefined);
    if (socket.destroyed) this.destroy();
  }

  /** What the server sent that it may not; null where it behaved. */
  get violation(): Violation | null {
    return this.#violation;
  }
  get bytesSent(): number {
    return this.#socket.bytesWritten;
  }
  expect(): void {
    this.#scanner.expect();
  }

  #receive(chunk: Buffer): void {
    if (this.destroyed) return;
    this.#violation = this.#scanner.push(chunk);
    if (this.#violation !== null) this.destroy();
    else if (!this.push(chunk)) this.#socket.pause();
  }
  override _read(): void {
    this.#socket.resume();
  }
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  // What the client calls on a net.Socket.
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
}
