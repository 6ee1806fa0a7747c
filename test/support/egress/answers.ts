import type { Socket } from "node:net";

/** Whole HTTP/1.1 answers, byte by byte as a test wants them. */
export function answer(
  status: number,
  body: string | Buffer = "{}",
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  const bytes = Buffer.from(body);
  const fields = { "content-type": "application/json", "content-length": String(bytes.byteLength), ...headers };
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} x\r\n${head.join("")}\r\n`), bytes]);
}

/** Answers each request of a connection alike; requests are told apart by their blank line, so bodies must be absent. */
export const always =
  (reply: Buffer) =>
  (socket: Socket): void => {
    let seen = "";
    socket.on("data", (chunk: Buffer) => {
      seen += chunk.toString("latin1");
      for (let end = seen.indexOf("\r\n\r\n"); end >= 0; end = seen.indexOf("\r\n\r\n")) {
        seen = seen.slice(end + 4);
        socket.write(reply);
      }
    });
  };

/** Once something came, does whatever the test says with the connection. */
export const onRequest =
  (act: (socket: Socket) => void) =>
  (socket: Socket): void => {
    socket.once("data", () => act(socket));
  };
