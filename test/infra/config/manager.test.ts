import { describe, expect, test } from "vitest";
import { millisOf } from "../../../src/lib/time.ts";
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

test("the value in force costs nothing to read", async () => {
  await using rig = await openRig(new MemoryCentre(), { component: "cache", patience: millisOf(10) });
  const before = rig.manager.current();
  for (let i = 0; i < 100_000; i += 1) if (rig.manager.current() !== before) throw new Error("another object");
  expect(rig.manager.current()).toBe(before);
});
