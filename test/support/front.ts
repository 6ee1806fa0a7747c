import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** How a front spoils what the receiver behind it answers; the request always arrives there whole. */
export type Spoil = "nothing" | "a byte a second" | "a gibibyte" | "cut";

/** An address before a receiver, which may get its answers spoilt. Which one stands behind is told once it is known. */
export interface Front extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** Bytes of a gibibyte that somebody took. */
  readonly flooded: number;
  before(receiver: { readonly port: number }): void;
  /** From the next connection on; those that are open are ended. */
  spoil(how: Spoil): void;
}

export async function openFront(): Promise<Front> {
  const front = new RunningFront();
  await front.listen();
  return front;
}

const GIBIBYTE = 1024 ** 3;
const CHUNK = Buffer.alloc(64 * 1024, "x");

class RunningFront implements Front {
  readonly #server: Server = createServer((client) => this.#accept(client));
  readonly #open = new Set<Socket>();
  #behind = 0;
  #how: Spoil = "nothing";
  flooded = 0;

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }
  before({ port }: { readonly port: number }): void {
    this.#behind = port;
  }
  spoil(how: Spoil): void {
    this.#how = how;
    for (const socket of this.#open) socket.destroy();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  #accept(client: Socket): void {
    const receiver = connect({ host: "127.0.0.1", port: this.#behind });
    for (const socket of [client, receiver]) {
      this.#open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#open.delete(socket);
        // What was asked for is carried out to its end, whoever waits for it.
        if (socket === receiver) client.destroy();
      });
    }
    client.pipe(receiver);
    if (this.#how === "nothing") receiver.pipe(client);
    else receiver.once("data", (answer: Buffer) => this.#answer(client, answer));
  }

  #answer(client: Socket, answer: Buffer): void {
    if (this.#how === "cut") client.resetAndDestroy();
    else if (this.#how === "a gibibyte") this.#flood(client);
    else drip(client, answer);
  }

  #flood(client: Socket): void {
    client.write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`);
    const pump = (): void => {
      while (!client.destroyed && this.flooded < GIBIBYTE) {
        this.flooded += CHUNK.length;
        if (!client.write(Buffer.concat([Buffer.from("10000\r\n"), CHUNK, Buffer.from("\r\n")]))) {
          client.once("drain", pump);
          return;
        }
      }
    };
    pump();
  }
}

function drip(client: Socket, answer: Buffer): void {
  let sent = 0;
  const timer = setInterval(() => {
    if (client.destroyed || sent >= answer.length) clearInterval(timer);
    else client.write(answer.subarray(sent, (sent += 1)));
  }, 1000);
}
