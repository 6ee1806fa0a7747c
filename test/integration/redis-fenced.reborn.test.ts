import { describe, expect, test } from "vitest";
import type { Boundary } from "../../src/lib/seams.ts";
import { until } from "../support/egress/until.ts";
import { openRedisServer, type RedisServer } from "../support/stage-rig-redis-server.ts";
import { around, HASH, open } from "./redis-fenced-stage.ts";

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });
const unknown = (code: string): object => ({ is: "unknown", fault: { code } });

/** What the other never got is gone: the master becomes its replica, then a master again, and connections stay. */
async function failOverTo(other: RedisServer, master: RedisServer): Promise<void> {
  await master.db.replicaof("127.0.0.1", other.at.port);
  await until(
    () => master.db.info("replication"),
    (info) => info.includes("master_link_status:up"),
    20_000,
  );
  await master.db.replicaof("NO", "ONE");
}

describe("a Redis that was reborn", () => {
  const AT_ONCE = ["--repl-diskless-sync-delay", "0"];

  test("[redis/reborn] a write lost on failover is found by reading back, and done again", async () => {
    await using other = await openRedisServer(AT_ONCE);
    await using master = await openRedisServer(AT_ONCE);
    await using it = await open({ boundary: around({ after: () => failOverTo(other, master) }), server: master.at });
    expect(await it.stage.run(FIRST)).toMatchObject(unknown("ReadBackDiffers"));
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });

  test("[redis/reborn] an undo lost on failover is found by reading back, and done again", async () => {
    await using other = await openRedisServer(AT_ONCE);
    await using master = await openRedisServer(AT_ONCE);
    let armed = false;
    const boundary: Boundary = {
      around: async (_point, send) => {
        const result = await send();
        if (armed) await failOverTo(other, master);
        armed = false;
        return result;
      },
    };
    const config = { ...HASH, publish: { channel: "told", payload: "x" } };
    await using it = await open({ boundary, config, server: master.at });
    await it.stage.run(FIRST);
    // The other has the write, and nothing after it.
    for (const key of [it.key, it.recordKey]) await other.db.restore(key, 0, (await it.db.dumpBuffer(key)) ?? "");
    armed = true;
    expect(await it.stage.undoPart("write", { seq: 20, base: 10 })).toMatchObject(unknown("ReadBackDiffers"));
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
    expect(await it.stage.undoPart("write", { seq: 21 })).toMatchObject(done);
    expect(await it.image()).toBe("absent");
    armed = true;
    expect(await it.stage.undoPart("publish", { seq: 22 })).toMatchObject(unknown("ReadBackDiffers"));
    expect(await it.stage.undoPart("publish", { seq: 23 })).toMatchObject(done);
  });

  test("[redis/reborn] a companion record that is lost is a Conflict, and the data stays", async () => {
    await using server = await openRedisServer(["--appendonly", "yes"]);
    await using it = await open({ server: server.at });
    await it.stage.run(FIRST);
    await server.db.del(it.recordKey);
    await server.restart(["--appendonly", "yes"]);
    const found = await until(
      () => it.stage.probe({ seq: 11 }),
      ({ is }) => is !== "unreadable",
    );
    expect(found).toMatchObject({ is: "foreign", fault: { code: "RecordMissing" } });
    expect(await it.stage.undo({ seq: 20, base: 11, settled: true })).toMatchObject(terminal("RecordMissing"));
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });

  test("[redis/reborn] scripts that a restart forgot are loaded again", async () => {
    await using it = await open();
    await it.warmUp();
    await it.db.script("FLUSH");
    expect(await it.stage.run(FIRST)).toMatchObject(done);
  });

  test("somebody who writes between write and reading back is a Conflict", async () => {
    const others = { write: async (): Promise<unknown> => undefined };
    await using it = await open({ boundary: around({ after: () => others.write() }) });
    others.write = () => it.db.hset(it.key, { unit: "red" });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("ReadBackDiffers"));
  });
});
