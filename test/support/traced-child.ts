import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Kit } from "../../src/infra/boot/kit.ts";
import { withLogContext } from "../../src/infra/clog/log-context.ts";
import { sql } from "../../src/infra/db/sql.ts";
import { measured } from "../../src/infra/metrics/http-server.ts";
import { jsonCodec } from "../../src/infra/mq/codec.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { serveKit } from "./kit-service.ts";

/**
 * A service that takes a message over HTTP (POST /messages, its body the text), keeps it in cache and database, looks into the
 * centre, and sends it on; and handles what it sent. TRACED_TOPIC is the topic.
 */
const topic = {
  name: process.env.TRACED_TOPIC ?? "",
  codec: jsonCodec((value) => (typeof value === "string" ? value : "")),
};

async function take(kit: Kit, text: string): Promise<void> {
  kit.log.info({}, "taken");
  await kit.cache?.set(`last:${text}`, { text });
  const { db } = kit;
  if (db !== null) await sql`select upper(${text}) as loud`.execute(db.queries);
  if (db !== null) await db.queries.selectFrom("messages").where("text", "=", text).selectAll().execute();
  await kit.coord?.centre.get(`/nothing/${text}`);
  await kit.mq?.send(topic, [{ key: text, value: text }]);
}

async function openWeb(kit: Kit) {
  if (kit.mq === null) throw new Error("there is no mq");
  await kit.db?.migrate([{ id: "0001-messages", up: () => ["create table messages (text varchar(200))"] }]);
  const subscription = await kit.mq.subscribe(topic, async ({ value }) => {
    await kit.cache?.get(`last:${value}`);
    kit.log.info({}, "handled");
  });
  const listener = measured(
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        take(kit, Buffer.concat(chunks).toString()).then(
          () => response.end("ok"),
          (error: unknown) => {
            kit.log.error({ error }, "not taken");
            response.writeHead(500).end();
          },
        );
      });
    },
    {
      metrics: kit.metrics,
      log: kit.log.module("http"),
      clock: systemClock,
      rng: systemRng,
      within: withLogContext,
      routeOf: ({ url = "" }) => (url.startsWith("/messages") ? "/messages" : null),
      slow: () => kit.config.metrics.current().slowRequestThreshold,
      tracer: kit.tracer,
    },
  );
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  kit.log.info({ port }, "listens");
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await subscription.close();
  };
  return { port, close };
}

await serveKit({
  stores: { cache: "required", db: "required", mq: "required" },
  servers: (kit) => [{ name: "web", open: () => openWeb(kit) }],
});
