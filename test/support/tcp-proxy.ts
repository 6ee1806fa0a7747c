import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export type Direction = "toServer" | "toClient";
export const BOTH: readonly Direction[] = ["toServer", "toClient"];

export interface Target {
  readonly host: string;
  readonly port: number;
}

/**
 * A TCP proxy whose lines can be spoilt while bytes flow. Rules hold for all connections, present and future, until `clear`.
 * It knows nothing of what it carries, TLS included.
 */
export interface TcpProxy extends AsyncDisposable {
  readonly host: "127.0.0.1";
  readonly port: number;
  /** Connections accepted since the start, and open now. */
  readonly accepted: number;
  readonly open: number;
  /** Bytes that were passed on. */
  readonly passed: Readonly<Record<Direction, number>>;
  /** Bytes that arrived and are held back. */
  readonly held: Readonly<Record<Direction, number>>;
  /** New connections are reset at once. */
  refuse(): void;
  /** Keeps bytes, in order, until `release`: in both directions the line is frozen. */
  hold(...directions: readonly Direction[]): void;
  release(): void;
  /** Bytes vanish: an answer that is lost, while the connection stays. */
  swallow(...directions: readonly Direction[]): void;
  /** Each piece is passed on this many milliseconds later. */
  delay(milliseconds: number, ...directions: readonly Direction[]): void;
  /** Flips the lowest bit of the byte at this offset from now, per connection. */
  flip(offset: number, direction: Direction): void;
  /** Resets all open connections now; what was held is lost. */
  cut(): void;
  /** Resets a connection as soon as it has passed on this many more bytes of that direction. */
  cutAfter(bytes: number, direction: Direction): void;
  /** No rule is left; what was held is passed on. */
  clear(): void;
}

interface Rule {
  held: boolean;
  swallowed: boolean;
  delay: number;
  cutAfter: number | null;
  flipAt: number | null;
}

const noRule = (): Rule => ({ held: false, swallowed: false, delay: 0, cutAfter: null, flipAt: null });

export async function openTcpProxy(target: Target): Promise<TcpProxy> {
  const proxy = new Proxy(target);
  await proxy.listen();
  return proxy;
}

class Proxy implements TcpProxy {
  readonly host = "127.0.0.1";
  readonly #target: Target;
  readonly #server: Server;
  readonly #lines = new Set<Line>();
  readonly rules: Record<Direction, Rule> = { toServer: noRule(), toClient: noRule() };
  readonly passed: Record<Direction, number> = { toServer: 0, toClient: 0 };
  #accepted = 0;
  #refuses = false;

  constructor(target: Target) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, this.host, resolve));
  }
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get accepted(): number {
    return this.#accepted;
  }
  get open(): number {
    return this.#lines.size;
  }
  get held(): Readonly<Record<Direction, number>> {
    const sum = (direction: Direction): number =>
      [...this.#lines].reduce((bytes, line) => bytes + line.heldBytes(direction), 0);
    return { toServer: sum("toServer"), toClient: sum("toClient") };
  }
  refuse(): void {
    this.#refuses = true;
  }
  hold(...directions: readonly Direction[]): void {
    for (const direction of directions) this.rules[direction].held = true;
  }
  release(): void {
    for (const direction of BOTH) this.rules[direction].held = false;
    for (const line of this.#lines) line.release();
  }
  swallow(...directions: readonly Direction[]): void {
    for (const direction of directions) this.rules[direction].swallowed = true;
  }
  delay(milliseconds: number, ...directions: readonly Direction[]): void {
    for (const direction of directions) this.rules[direction].delay = milliseconds;
  }
  flip(offset: number, direction: Direction): void {
    this.rules[direction].flipAt = offset;
    for (const line of this.#lines) line.count(direction);
  }
  cut(): void {
    for (const line of this.#lines) line.reset();
  }
  cutAfter(bytes: number, direction: Direction): void {
    this.rules[direction].cutAfter = bytes;
    for (const line of this.#lines) line.count(direction);
  }
  clear(): void {
    this.#refuses = false;
    Object.assign(this.rules, { toServer: noRule(), toClient: noRule() });
    this.release();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #accept(client: Socket): void {
    this.#accepted += 1;
    if (this.#refuses) {
      client.on("error", () => undefined).resetAndDestroy();
      return;
    }
    const line: Line = new Line(client, connect({ ...this.#target, noDelay: true }), this, () =>
      this.#lines.delete(line),
    );
    this.#lines.add(line);
  }
}

/** One connection through the proxy. */
class Line {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #proxy: Proxy;
  readonly #waiting: Record<Direction, Buffer[]> = { toServer: [], toClient: [] };
  /** Bytes passed since the rules that count began. */
  readonly #counted: Record<Direction, number> = { toServer: 0, toClient: 0 };

  constructor(client: Socket, server: Socket, proxy: Proxy, onClose: () => void) {
    [this.#client, this.#server, this.#proxy] = [client, server, proxy];
    client.setNoDelay(true);
    client.on("data", (bytes: Buffer) => this.#pass("toServer", bytes));
    server.on("data", (bytes: Buffer) => this.#pass("toClient", bytes));
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on("error", () => reset(other));
      socket.on("end", () => other.end());
      socket.on("close", () => {
        other.destroySoon();
        onClose();
      });
    }
  }

  heldBytes(direction: Direction): number {
    return this.#waiting[direction].reduce((sum, { length }) => sum + length, 0);
  }
  count(direction: Direction): void {
    this.#counted[direction] = 0;
  }
  release(): void {
    for (const direction of BOTH) {
      for (const bytes of this.#waiting[direction].splice(0)) this.#pass(direction, bytes);
    }
  }
  reset(): void {
    reset(this.#client);
    reset(this.#server);
  }

  #pass(direction: Direction, bytes: Buffer): void {
    const rule = this.#proxy.rules[direction];
    if (rule.swallowed) return;
    if (rule.held) this.#waiting[direction].push(bytes);
    else if (rule.delay > 0) setTimeout(() => this.#write(direction, bytes), rule.delay);
    else this.#write(direction, bytes);
  }

  #write(direction: Direction, bytes: Buffer): void {
    const { cutAfter, flipAt } = this.#proxy.rules[direction];
    const since = this.#counted[direction];
    const allowed = cutAfter === null ? bytes : bytes.subarray(0, Math.max(0, cutAfter - since));
    const at = flipAt === null ? -1 : flipAt - since;
    const byte = allowed[at];
    if (byte !== undefined) allowed[at] = byte ^ 1;
    const to = direction === "toServer" ? this.#server : this.#client;
    to.write(allowed);
    this.#counted[direction] += allowed.length;
    this.#proxy.passed[direction] += allowed.length;
    if (cutAfter !== null && this.#counted[direction] >= cutAfter) this.reset();
  }
}

/** libuv resets no socket that is being ended, and node (24) forgets such a one unclosed: its process then never ends. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
