import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { until } from "../support/egress/until.ts";
import { openRedisServer } from "../support/stage-rig-redis-server.ts";
import { open } from "./redis-fenced-stage.ts";

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const retryable = (code: string): object => ({ is: "retryable", fault: { code } });

describe("a Redis that is busy is tried again:", () => {
  test("[redis/busy] LOADING", async () => {
    await using server = await openRedisServer();
    const fill = server.db.pipeline();
    for (let i = 0; i < 150; i += 1) fill.set(`filler:${i}`, randomBytes(512).toString("hex"));
    await fill.exec();
    await server.db.save();
    await using it = await open({ server: server.at });
    // Slow enough to be met, and it answers between keys.
    await server.restart(["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]);
    const seen = await until(
      () => it.stage.run(FIRST),
      (outcome) => "fault" in outcome && outcome.fault.code === "RedisBusy",
    );
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("LOADING");
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable", fault: { code: "RedisBusy" } });
  });

  test("[redis/busy] BUSY with a script", async () => {
    await using server = await openRedisServer(["--lua-time-limit", "1"]);
    await using it = await open({ server: server.at });
    await it.warmUp();
    const endless = server.db.duplicate();
    const running = endless.eval("while true do end", 0).catch(String);
    const seen = await until(
      () => it.stage.run(FIRST),
      (outcome) => outcome.is === "retryable",
    );
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("BUSY");
    await server.db.script("KILL");
    await running;
    endless.disconnect();
    expect(
      await until(
        () => it.stage.run({ seq: 11 }),
        ({ is }) => is === "done",
      ),
    ).toMatchObject(done);
  });

  test("[redis/busy] READONLY and MASTERDOWN at a replica", async () => {
    await using server = await openRedisServer(["--replicaof", "127.0.0.1 1"]);
    await using it = await open({ server: server.at });
    expect(await it.stage.run(FIRST)).toMatchObject(retryable("RedisBusy"));
    await server.db.config("SET", "replica-serve-stale-data", "no");
    const seen = await it.stage.run({ seq: 11 });
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("MASTERDOWN");
    await server.db.replicaof("NO", "ONE");
    expect(await it.stage.run({ seq: 12 })).toMatchObject(done);
  });

  test("[redis/busy] NOREPLICAS", async () => {
    await using server = await openRedisServer(["--min-replicas-to-write", "1"]);
    await using it = await open({ server: server.at });
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("NOREPLICAS");
    expect(await it.image()).toBe("absent");
    await server.db.config("SET", "min-replicas-to-write", "0");
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[redis/busy] out of memory, and nothing is half written", async () => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at });
    await it.db.hset(it.key, { unit: "blue" });
    const image = await it.image();
    await it.warmUp();
    await server.db.config("SET", "maxmemory", "1");
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("OOM");
    expect(await it.image()).toBe(image);
    await server.db.config("SET", "maxmemory", "0");
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
    expect(await it.stage.undo({ seq: 20, base: 11 })).toMatchObject(done);
    expect(await it.image()).toBe(image);
  });

  test("[redis/busy] CLUSTERDOWN", async () => {
    await using server = await openRedisServer(["--cluster-enabled", "yes"]);
    await using it = await open({ server: server.at });
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("CLUSTERDOWN");
  });
});
