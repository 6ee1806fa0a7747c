import { describe, expect, test } from "vitest";
import { seconds } from "../../../src/lib/time.ts";
import { openRig, settled } from "../../support/config-rig.ts";
import { MemoryCentre } from "../../support/memory-centre.ts";

const KEY = "/config/dev/im-repo/cache";
const json = JSON.stringify;

describe("[R113] [R116] [F29] [F41] subscribers", () => {
  test("all are asked before the value changes, and told after", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    const story: string[] = [];
    for (const name of ["a", "b"]) {
      rig.manager.subscribe({
        name,
        prepare: (old, next) =>
          void story.push(`${name} prepares ${old.db}→${next.db}, now ${rig.manager.current().db}`),
        commit: (next) => void story.push(`${name} commits ${next.db}, now ${rig.manager.current().db}`),
      });
    }
    await centre.put(KEY, json({ db: 5 }));
    await settled(rig);
    expect(story).toEqual([
      "a prepares 0→5, now 0",
      "b prepares 0→5, now 0",
      "a commits 5, now 5",
      "b commits 5, now 5",
    ]);
  });

  test("one that refuses keeps the old value for all, and who was ready is told", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    const story: string[] = [];
    rig.manager.subscribe({
      name: "a",
      discard: ({ db }) => void story.push(`a drops ${db}`),
      commit: () => void story.push("a commits"),
    });
    const end = rig.manager.subscribe({
      name: "pool",
      prepare: () => Promise.reject(new Error("secret-of-the-driver")),
    });
    await centre.put(KEY, json({ db: 5 }));
    await settled(rig);
    expect([rig.manager.current().db, ...story]).toEqual([0, "a drops 5"]);
    expect(rig.manager.check().message).toContain("pool refuses it: see the log");
    expect(rig.manager.check().message).not.toContain("secret-of-the-driver");
    end();
    await rig.manager.reload();
    expect([rig.manager.current().db, rig.manager.check().status]).toEqual([5, "healthy"]);
  });

  test("one that never answers is given up after 10 s, and others go on", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    const end = rig.manager.subscribe({ name: "stuck", prepare: () => new Promise(() => undefined) });
    await centre.put(KEY, json({ db: 5 }));
    await settled(rig);
    expect(rig.manager.check().status).toBe("healthy");
    await rig.clock.advance(seconds(10));
    expect(rig.manager.check().message).toContain("stuck refuses it");
    end();
    await centre.put(KEY, json({ db: 6 }));
    await settled(rig);
    expect(rig.manager.current().db).toBe(6);
  });

  test("what comes while one prepares is applied afterwards; reload meanwhile does not hang", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    let ready: () => void = () => undefined;
    const asked: number[] = [];
    rig.manager.subscribe({
      name: "slow",
      prepare: (_old, next) => {
        asked.push(next.db);
        return asked.length === 1 ? new Promise((resolve) => (ready = resolve)) : undefined;
      },
    });
    for (const db of [1, 2, 3]) await centre.put(KEY, json({ db }));
    await settled(rig);
    const reloaded = rig.manager.reload();
    ready();
    await reloaded;
    await settled(rig);
    expect([rig.manager.current().db, asked.at(-1)]).toEqual([3, 3]);
  });

  test("changes are told once each, put together for a reader that is slow, until the signal", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    const stop = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const change of rig.manager.changes(stop.signal))
        seen.push(`${change.key.split("/").at(-1)} ${change.old.db}→${change.new.db}`);
    })();
    for (const db of [1, 2]) {
      await centre.put(KEY, json({ db }));
      await settled(rig);
    }
    const late = rig.manager.changes(stop.signal)[Symbol.asyncIterator]();
    for (const db of [3, 4]) {
      await centre.put(KEY, json({ db }));
      await settled(rig);
    }
    const put = (await late.next()).value;
    stop.abort();
    await reading;
    expect(seen).toEqual(["cache 0→1", "cache 1→2", "cache 2→3", "cache 3→4"]);
    expect([put?.old.db, put?.new.db, put?.at]).toEqual([2, 4, rig.clock.now()]);
  });

  test("what needs a restart is said", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    await centre.put(KEY, json({ poolSize: 20, db: 4 }));
    await settled(rig);
    expect(rig.manager.status().restartNeeded).toEqual(["db"]);
    expect(rig.lines.find(({ message }) => message.startsWith("configuration changed"))).toMatchObject({
      message: "configuration changed; some of it needs a restart",
      fields: { changed: ["db", "poolSize"], restart: ["db"] },
    });
  });
});
