// Plain JavaScript: prepare.mjs needs it before TypeScript can run.
import { connect, createServer } from "node:net";

// An abstract socket (Linux): the kernel frees the name with its holder, however the holder ends, and no file stays behind.
const addressOf = (name) => `\0turnout/${process.getuid?.() ?? 0}/${name}`;

export function hold(name) {
  return new Promise((resolve, reject) => {
    const waiting = new Set();
    const server = createServer((socket) => {
      socket.unref();
      waiting.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => waiting.delete(socket));
    });
    server.once("error", (error) => (error.code === "EADDRINUSE" ? resolve(null) : reject(error)));
    server.listen(addressOf(name), () => {
      server.unref();
      resolve(async () => {
        await new Promise((closed) => {
          server.close(closed);
          for (const socket of waiting) socket.destroy();
        });
      });
    });
  });
}

export async function alone(name, { waits, work }) {
  for (;;) {
    const release = await hold(name);
    if (release !== null) {
      try {
        return await work();
      } finally {
        await release();
      }
    }
    waits();
    await released(name);
  }
}

/** Resolves when the holder closes the connection: it released the name or it is dead. */
function released(name) {
  return new Promise((resolve) => {
    const socket = connect(addressOf(name));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve());
  });
}
