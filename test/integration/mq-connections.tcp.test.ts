import type { Socket } from "node:net";
import { ConnectionPool } from "@platformatic/kafka";
import { expect, test } from "vitest";
import { MadeConnections } from "../../src/infra/mq/made-connections.ts";
import { openTrap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";

const POOL = { connectTimeout: 5000 };

/** The broker resets the first connection, and the client makes another at once: what a restart looks like. */
async function replaced(pool: ConnectionPool, server: { readonly port: number }, first: () => Socket): Promise<void> {
  const broker = { host: "127.0.0.1", port: server.port };
  const lost = await pool.get(broker);
  const again = new Promise<void>((resolve, reject) => {
    lost.once("error", () => void pool.get(broker).then(() => resolve(), reject));
  });
  lost.on("error", () => undefined);
  await until(
    () => first() as Socket | undefined,
    (socket) => socket !== undefined,
  );
  first().resetAndDestroy();
  await again;
}

async function rig() {
  const sockets: Socket[] = [];
  const server = await openTrap({ serve: (socket) => void sockets.push(socket) });
  return { server, first: () => sockets[0] as Socket };
}

test("[kafka/reborn] the connection that took another's place is ended with the client, though its pool forgot it", async () => {
  const { server, first } = await rig();
  await using _server = server;
  const pool = new ConnectionPool("test", POOL);
  const made = new MadeConnections();
  made.follow(pool);
  await replaced(pool, server, first);
  await pool.close();
  made.end();
  expect(
    await until(
      () => server.open,
      (open) => open === 0,
    ),
  ).toBe(0);
});

test("the vendor's pool still forgets it: else this is no longer needed", async () => {
  const { server, first } = await rig();
  await using _server = server;
  const pool = new ConnectionPool("test", POOL);
  const made = new MadeConnections();
  made.follow(pool);
  await replaced(pool, server, first);
  await until(
    () => server.open,
    (open) => open === 1,
  );
  await pool.close();
  // The pool is closed to others as well: were it to end the connection, it would have asked for that by now.
  await expect(pool.get({ host: "127.0.0.1", port: server.port })).rejects.toThrow("closed");
  expect([...pool]).toEqual([]);
  expect(server.open).toBe(1);
  made.end();
  await until(
    () => server.open,
    (open) => open === 0,
  );
});

test("what the pool had already is ended as well", async () => {
  const { server } = await rig();
  await using _server = server;
  const pool = new ConnectionPool("test", POOL);
  await pool.get({ host: "127.0.0.1", port: server.port });
  const made = new MadeConnections();
  made.follow(pool);
  made.end();
  expect(
    await until(
      () => server.open,
      (open) => open === 0,
    ),
  ).toBe(0);
});
