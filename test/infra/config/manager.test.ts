import { chmod, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { InfraError } from "../../../src/lib/infra-error.ts";
import { millisOf, seconds } from "../../../src/lib/time.ts";
import { aFolder, openRig, settled } from "../../support/config-rig.ts";
import { MemoryCentre } from "../../support/memory-centre.ts";

const KEY = "/config/dev/im-repo/cache";
const GLOBAL = "/config/dev/global/cache";
const json = JSON.stringify;

describe("[R114] layers", () => {
  test("centre service > centre global > file service > file global > default, field by field", async () => {
    await using folder = await aFolder();
    await folder.put("dev/global/cache.json", json({ db: 1, poolSize: 11, minIdleConns: 1, maxIdleConns: 1 }));
    await folder.put("dev/im-repo/cache.json", json({ poolSize: 12, minIdleConns: 2, maxIdleConns: 2 }));
    const centre = new MemoryCentre();
    await centre.put(GLOBAL, json({ minIdleConns: 3, maxIdleConns: 3 }));
    await centre.put(KEY, json({ maxIdleConns: 4 }));
    await using rig = await openRig(centre, { component: "cache", files: folder.path });
    const { db, poolSize, minIdleConns, maxIdleConns, maxRetries } = rig.manager.current();
    expect({ db, poolSize, minIdleConns, maxIdleConns, maxRetries }).toEqual({
      db: 1,
      poolSize: 12,
      minIdleConns: 3,
      maxIdleConns: 4,
      maxRetries: 3,
    });
    expect(rig.manager.status()).toMatchObject({ source: "centre", revision: centre.revision, rejected: [], stale: 0 });
  });

  test("a key that is deleted falls back to the next layer", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1 }));
    const centre = new MemoryCentre();
    await centre.put(GLOBAL, json({ db: 2 }));
    await centre.put(KEY, json({ db: 3 }));
    await using rig = await openRig(centre, { component: "cache", files: folder.path });
    const seen = [rig.manager.current().db];
    for (const key of [KEY, GLOBAL]) {
      await centre.delete(key);
      await settled(rig);
      seen.push(rig.manager.current().db);
    }
    expect(seen).toEqual([3, 2, 1]);
    expect(rig.manager.status()).toMatchObject({ source: "file", revision: null });
  });

  test("a key that comes later takes force, without a gap after the load", async () => {
    const centre = new MemoryCentre();
    await using rig = await openRig(centre, { component: "cache" });
    expect(rig.manager.status().source).toBe("default");
    await centre.put(KEY, json({ db: 7 }));
    await settled(rig);
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([7, "centre"]);
  });

  test.each(["a delete", "a write"])("%s right after the load is not lost", async (what) => {
    const centre = new (class extends MemoryCentre {
      override async get(key: string): ReturnType<MemoryCentre["get"]> {
        const found = await super.get(key);
        if (found !== null) await (what === "a delete" ? this.delete(key) : this.put(key, json({ db: 9 })));
        return found;
      }
    })();
    await centre.put(KEY, json({ db: 3 }));
    await using rig = await openRig(centre, { component: "cache" });
    await settled(rig);
    expect(rig.manager.current().db).toBe(what === "a delete" ? 0 : 9);
  });

  test("without a centre there are files and defaults, and nothing is wrong", async () => {
    await using rig = await openRig(null, { component: "clog" });
    expect(rig.manager.check()).toMatchObject({ status: "healthy", details: { source: "default" } });
    expect(rig.manager.current().level).toBe("info");
  });

  test("the value is frozen through and through", async () => {
    await using rig = await openRig(null, { component: "mq" });
    const { topics, brokers } = rig.manager.current();
    expect([Object.isFrozen(rig.manager.current()), Object.isFrozen(topics), Object.isFrozen(brokers)]).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe("[R116] [F28] a value that is wrong", () => {
  test.each<readonly [title: string, text: string, says: RegExp]>([
    ["a duration without a unit", json({ dialTimeout: "5x" }), /cache\.dialTimeout: "5x" is not a duration in range/],
    ["an unknown key", json({ polSize: 4 }), /cache\.polSize: is not a setting; did you mean poolSize\?/],
    ["a wrong type", json({ db: "one" }), /cache\.db: "one" is not a whole number from 0 to 15/],
    ["no JSON", "{", /\/config\/dev\/im-repo\/cache:1:2: expected a key/],
    ["a poisoned key", '{"__proto__":{"db":1}}', /key __proto__ is forbidden/],
    ["a key twice", '{"db":1,"db":2}', /key "db" stands twice/],
  ])("%s keeps the last good value, is counted, logged and shown", async (_title, text, says) => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 3 }));
    await using rig = await openRig(centre, { component: "cache" });
    await centre.put(KEY, text);
    await settled(rig);
    expect(rig.manager.current().db).toBe(3);
    expect(rig.manager.status().rejected.join()).toMatch(says);
    expect(rig.manager.check()).toMatchObject({ status: "degraded" });
    expect(rig.manager.check().message).toMatch(says);
    expect(await rig.metric('turnout_config_rejected_total{component="cache"}')).toBe(1);
    expect(await rig.metric('infra_errors_total{component="config",type="VALIDATION"}')).toBe(1);
    expect(rig.lines.filter(({ level }) => level === "error")).toHaveLength(1);
    await centre.put(KEY, json({ db: 4 }));
    await settled(rig);
    expect([rig.manager.current().db, rig.manager.check().status]).toEqual([4, "healthy"]);
    expect(rig.causes.at(-1)).toBeNull();
  });

  test("at the start it is told, and the file is used; without any good layer there is no start", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1 }));
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 99 }));
    await using rig = await openRig(centre, { component: "cache", files: folder.path });
    expect(rig.manager.current().db).toBe(1);
    expect(rig.manager.status()).toMatchObject({
      source: "file",
      rejected: ["centre service: cache.db: 99 is not a whole number from 0 to 15"],
    });
    const operator = openRig(null, { component: "operator", service: "turnout" });
    await expect(operator).rejects.toThrow(
      /\/config\/dev\/turnout\/operator has no value .* operator\.ceiling: is missing/,
    );
  });

  test("a file that is wrong ends the start with file, line and column", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", '{\n  "db": 1,\n  "db": 2\n}');
    const opening = openRig(null, { component: "cache", files: folder.path });
    await expect(opening).rejects.toThrow(/dev\/im-repo\/cache\.json:3:3: key "db" stands twice/);
  });

  test("a typed secret is in no message", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ password: "hunter2-hunter2" }));
    await using rig = await openRig(centre, { component: "cache" });
    expect(rig.manager.status().rejected.join()).toMatch(/cache\.password: \(hidden\) is not a secret reference/);
    expect(json([rig.lines, rig.causes, rig.manager.check()])).not.toContain("hunter2");
  });

  test("[SEC-45] a ceiling in the centre is refused, counted and shown", async () => {
    await using folder = await aFolder();
    const ceiling = { cidrs: ["10.0.0.0/8"], ports: [80] };
    await folder.put("dev/turnout/operator.json", json({ ceiling }));
    const centre = new MemoryCentre();
    const about = { component: "operator", service: "turnout", files: folder.path } as const;
    await using rig = await openRig(centre, about);
    await centre.put("/config/dev/turnout/operator", json({ ceiling: { cidrs: ["0.0.0.0/0"], ports: [80] } }));
    await settled(rig);
    expect(rig.manager.current().ceiling).toMatchObject(ceiling);
    expect(rig.manager.status().rejected.join()).toMatch(/operator\.ceiling: may be set in files only/);
    expect(await rig.metric('turnout_config_rejected_total{component="operator"}')).toBe(1);
  });
});

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

describe("[R115] [F39] the centre away", () => {
  test("at the start: files are used, it is told with its cause, and the switch over takes at most 5 s", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1 }));
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    centre.cut("127.0.0.1:2379 refused the connection");
    await using rig = await openRig(centre, { component: "cache", files: folder.path });
    expect(rig.clock.monotonic()).toBeLessThanOrEqual(2100);
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([1, "file"]);
    expect(rig.manager.check()).toMatchObject({ status: "degraded" });
    expect(rig.manager.check().message).toContain("127.0.0.1:2379 refused the connection");
    expect(await rig.metric('turnout_config_degraded{component="cache"}')).toBe(1);
    expect(rig.lines.some(({ level, message }) => level === "warn" && message === "configuration is degraded")).toBe(
      true,
    );
    await rig.clock.advance(seconds(3600));
    expect(rig.manager.status().stale).toBeGreaterThanOrEqual(3_600_000);
    centre.restore();
    await rig.clock.advance(seconds(5));
    expect([rig.manager.current().db, rig.manager.check().status, rig.manager.status().stale]).toEqual([
      2,
      "healthy",
      0,
    ]);
    expect(await rig.metric('turnout_config_degraded{component="cache"}')).toBe(0);
  });

  test("later: the last values stay, their age grows, and what changed meanwhile comes", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await using rig = await openRig(centre, { component: "cache" });
    centre.cut();
    await settled(rig);
    await rig.clock.advance(seconds(90));
    expect([rig.manager.current().db, rig.manager.status().stale]).toEqual([2, 90_000]);
    expect(await rig.metric('turnout_config_stale_seconds{component="cache"}')).toBe(90);
    expect(rig.manager.status()).toMatchObject({
      source: "centre",
      cause: expect.stringContaining("not heard") as string,
    });
    centre.restore();
    await centre.put(KEY, json({ db: 3 }));
    await rig.clock.advance(seconds(5));
    expect([rig.manager.current().db, rig.manager.check().status]).toEqual([3, "healthy"]);
  });

  test("a centre that refuses is asked again for ever, and counted by type", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    const about = {
      component: "coord",
      type: "CONFIG",
      code: "PermissionDenied",
      message: "coord: not yours",
      retryable: false,
    } as const;
    centre.refuse(new InfraError(about));
    await using rig = await openRig(centre, { component: "cache" });
    expect(rig.manager.check().message).toContain("coord: not yours");
    await rig.clock.advance(seconds(60));
    expect(await rig.metric('infra_errors_total{component="config",type="CONFIG"}')).toBeGreaterThanOrEqual(30);
    centre.refuse(null);
    await rig.clock.advance(seconds(5));
    expect(rig.manager.current().db).toBe(2);
  });

  test("a closed manager waits for nothing and watches nothing, whether the centre is there or not", async () => {
    const centre = new MemoryCentre();
    const rig = await openRig(centre, { component: "cache" });
    expect(centre.watching).toBe(2);
    await rig.manager.close();
    await rig.manager.close();
    expect([centre.watching, rig.clock.sleeping]).toEqual([0, 0]);
    centre.cut();
    const other = await openRig(centre, { component: "cache" });
    await other.manager.close();
    expect(other.clock.sleeping).toBe(0);
  });
});

describe("the snapshot", () => {
  const kept = (folder: string): string => join(folder, "dev.im-repo.cache.json");

  test("a start without the centre uses what the centre said last, over the files", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1, poolSize: 33 }));
    const about = { component: "cache", files: folder.path, snapshots: join(folder.path, "kept") } as const;
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await (await openRig(centre, about)).manager.close();
    centre.cut();
    await using rig = await openRig(centre, about);
    expect([rig.manager.current().db, rig.manager.current().poolSize]).toEqual([2, 33]);
    expect(rig.manager.status()).toMatchObject({ source: "snapshot", revision: 2 });
    expect(rig.manager.check().message).toContain("snapshot values in force");
  });

  test("[SEC-46] it is 0600 in a folder of 0700, and holds the references as they are", async () => {
    await using folder = await aFolder();
    const snapshots = join(folder.path, "kept");
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ password: { env: "TURNOUT_SECRET_REDIS" } }));
    await (await openRig(centre, { component: "cache", snapshots })).manager.close();
    const modes = [await stat(kept(snapshots)), await stat(snapshots)].map(({ mode }) => (mode & 0o777).toString(8));
    expect(modes).toEqual(["600", "700"]);
    expect(await readFile(kept(snapshots), "utf8")).toContain('"password":{"env":"TURNOUT_SECRET_REDIS"}');
  });

  test.each<readonly [title: string, damage: (text: string) => string]>([
    ["[SEC-46] [disk/torn] [disk/back] torn", (text) => text.slice(0, text.length / 2)],
    ["[SEC-46] changed by hand", (text) => text.replace('"db":2', '"db":9')],
    ["[SEC-46] empty", () => ""],
  ])("%s, a snapshot is refused and shown, and written anew when the centre is heard", async (_title, damage) => {
    await using folder = await aFolder();
    const snapshots = join(folder.path, "kept");
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await (await openRig(centre, { component: "cache", snapshots })).manager.close();
    const whole = await readFile(kept(snapshots), "utf8");
    await writeFile(kept(snapshots), damage(whole));
    centre.cut();
    await using rig = await openRig(centre, { component: "cache", snapshots });
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([0, "default"]);
    expect(rig.manager.check().message).toContain("left alone until the centre is heard");
    centre.restore();
    await rig.clock.advance(seconds(5));
    await expect.poll(() => rig.manager.check().status).toBe("healthy");
    expect(rig.manager.current().db).toBe(2);
    expect(await readFile(kept(snapshots), "utf8")).toBe(whole);
  });

  test("[SEC-46] another service's snapshot is refused, whole as it is", async () => {
    await using folder = await aFolder();
    const snapshots = join(folder.path, "kept");
    const centre = new MemoryCentre();
    await centre.put("/config/dev/im-task/cache", json({ db: 2 }));
    await (await openRig(centre, { component: "cache", service: "im-task", snapshots })).manager.close();
    await rename(join(snapshots, "dev.im-task.cache.json"), kept(snapshots));
    centre.cut();
    await using rig = await openRig(centre, { component: "cache", snapshots });
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([0, "default"]);
    expect(rig.manager.check().message).toContain("belongs to another key than /config/dev/im-repo/cache");
  });

  test("one that cannot be written is told and does not hold up the value", async () => {
    await using folder = await aFolder();
    const file = await folder.put("kept", "a file where the folder should be");
    await chmod(file, 0o400);
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await using rig = await openRig(centre, { component: "cache", snapshots: file });
    expect(rig.manager.current().db).toBe(2);
    expect(rig.manager.check().message).toContain("cannot be kept on disk");
  });
});

test("the value in force costs nothing to read", async () => {
  await using rig = await openRig(new MemoryCentre(), { component: "cache", patience: millisOf(10) });
  const before = rig.manager.current();
  for (let i = 0; i < 100_000; i += 1) if (rig.manager.current() !== before) throw new Error("another object");
  expect(rig.manager.current()).toBe(before);
});
