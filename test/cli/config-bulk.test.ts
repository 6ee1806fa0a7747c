import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { coordError } from "../../src/infra/coord/etcd-failures.ts";
import { COMPONENT_NAMES } from "../../src/infra/config/components.ts";
import { cliOver } from "../support/config-cli-rig.ts";
import { aFolder } from "../support/config-rig.ts";
import { MemoryCentre } from "../support/memory-centre.ts";

const CACHE = "/config/dev/im-repo/cache";
const json = JSON.stringify;
const keysIn = async (centre: MemoryCentre): Promise<readonly string[]> =>
  (await centre.list("/config/")).items.map(({ key }) => key.slice("/config/".length));

/** As many keys as asked, spread over three environments; each environment has at most 27. */
async function aTree(
  folder: { put(file: string, text: string): Promise<string> },
  environments: readonly string[],
): Promise<void> {
  for (const env of environments) {
    await folder.put(`${env}/global/clog.json`, '{ "level": "warn" }');
    for (const service of ["im-repo", "im-logic", "im-gateway", "im-task"]) {
      await folder.put(`${env}/${service}/clog.json`, json({ initialFields: { service } }));
    }
    await folder.put(`${env}/turnout/coord.json`, "{}");
  }
}

describe("[R102] import", () => {
  test("all of it is written in one transaction, with a result per key; the second time nothing is", async () => {
    await using folder = await aFolder();
    await aTree(folder, ["dev"]);
    const centre = new MemoryCentre();
    const cli = cliOver(centre);
    const before = centre.revision;
    const rows = (await cli.json("import", "--yes", folder.path)) as readonly {
      action: string;
      result: string;
      revision: number;
    }[];
    expect(rows.map(({ action, result }) => `${action} ${result}`)).toEqual(Array(6).fill("create written"));
    expect([centre.revision, new Set(rows.map(({ revision }) => revision)).size]).toEqual([before + 1, 1]);
    const again = await cli.run("import", "--yes", folder.path);
    expect([again.code, again.talk, centre.revision]).toEqual([0, "the centre says all of this already\n", before + 1]);
  });

  test("one bad file among 200 keys: nothing is written, and file, line, path, value and range are named", async () => {
    const centre = new MemoryCentre();
    await using folder = await aFolder();
    for (const env of ["dev", "test", "prod"]) await aTree(folder, [env]);
    const at = await folder.put("dev/im-repo/cache.json", '{\n  "poolSize": 5,\n  "db": 99\n}');
    const { code, out, talk } = await cliOver(centre).run("--env", "dev", "import", "--yes", folder.path);
    expect([code, out]).toEqual([1, `${at}:3:3: cache.db: 99 is not a whole number from 0 to 15\n`]);
    expect([talk, await keysIn(centre)]).toEqual(["1 problem(s) in 19 file(s); nothing was written\n", []]);
  });

  test("null is no configuration: neither valid nor brought in", async () => {
    await using folder = await aFolder();
    const at = await folder.put("dev/im-repo/cache.json", "null");
    const centre = new MemoryCentre();
    for (const args of [["validate"], ["import", "--yes"]]) {
      const { code, out } = await cliOver(centre).run(...args, folder.path);
      expect([code, out]).toEqual([1, `${at}:1:1: cache: null is not allowed here (allowed: an object)\n`]);
    }
    expect(await keysIn(centre)).toEqual([]);
  });

  test("two environments at once are refused with the way out", async () => {
    await using folder = await aFolder();
    await aTree(folder, ["dev", "prod"]);
    const centre = new MemoryCentre();
    const { code, talk } = await cliOver(centre).run("import", "--yes", folder.path);
    expect([code, talk]).toEqual([
      2,
      `${folder.path} holds dev, prod; one import is for one environment: add --env dev\n`,
    ]);
    expect((await cliOver(centre).run("import", "--yes", join(folder.path, "prod"))).code).toBe(0);
    expect((await keysIn(centre)).every((key) => key.startsWith("prod/"))).toBe(true);
  });

  test("somebody else's write in between: nothing is written, and the key is named", async () => {
    await using folder = await aFolder();
    await aTree(folder, ["dev"]);
    const centre = new (class extends MemoryCentre {
      override async commit(transaction: Parameters<MemoryCentre["commit"]>[0]): ReturnType<MemoryCentre["commit"]> {
        if (this.revision === 1) await this.put("/config/dev/im-repo/clog", "{}");
        return await super.commit(transaction);
      }
    })();
    const { code, out, talk } = await cliOver(centre).run("import", "--yes", folder.path);
    expect([code, await keysIn(centre)]).toEqual([4, ["dev/im-repo/clog"]]);
    expect(out).toMatch(/create +changed meanwhile +\/config\/dev\/im-repo\/clog/);
    expect(out.match(/not written/g)).toHaveLength(5);
    expect(talk).toContain("look with config-cli diff, then import again");
  });

  test("what does not fit into one transaction goes in batches, or --atomic refuses it", async () => {
    await using folder = await aFolder();
    for (const service of ["im-repo", "im-logic", "im-gateway", "im-task"]) {
      const topics = Object.fromEntries(Array.from({ length: 1300 }, (_, i) => [`t${i}`, "x".repeat(240)]));
      await folder.put(`dev/${service}/mq.json`, json({ topics }));
    }
    const centre = new MemoryCentre();
    const refused = await cliOver(centre).run("import", "--yes", "--atomic", folder.path);
    expect([refused.code, refused.talk, await keysIn(centre)]).toEqual([
      2,
      expect.stringContaining("do not fit into one transaction") as string,
      [],
    ]);
    const { code } = await cliOver(centre).run("import", "--yes", folder.path);
    expect([code, (await keysIn(centre)).length, centre.calls.filter((call) => call === "commit").length]).toEqual([
      0, 4, 2,
    ]);
  });

  test("a batch that meets somebody else's write ends the import: the later ones are not written", async () => {
    await using folder = await aFolder();
    for (const service of ["im-repo", "im-logic", "im-gateway"]) {
      const topics = Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`t${i}`, "x".repeat(240)]));
      await folder.put(`dev/${service}/mq.json`, json({ topics }));
    }
    const centre = new (class extends MemoryCentre {
      override async commit(transaction: Parameters<MemoryCentre["commit"]>[0]): ReturnType<MemoryCentre["commit"]> {
        if (this.revision === 1) await this.put("/config/dev/im-gateway/mq", "{}");
        return await super.commit(transaction);
      }
    })();
    const { code, out } = await cliOver(centre).run("import", "--yes", folder.path);
    expect([code, await keysIn(centre), out.match(/not written/g)?.length]).toEqual([4, ["dev/im-gateway/mq"], 2]);
  });

  test("what is wrong only with what stands in the centre is refused before anything is written", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ minIdleConns: 9 }));
    await folder.put("dev/im-repo/clog.json", "{}");
    const centre = new MemoryCentre();
    await centre.put("/config/dev/global/cache", json({ poolSize: 4, minIdleConns: 1 }));
    const { code, out, talk } = await cliOver(centre).run("import", "--yes", folder.path);
    expect([code, out, talk]).toEqual([
      1,
      `${CACHE}: cache.minIdleConns: 9 is more than poolSize (allowed: at most poolSize)\n`,
      "with what stands in the centre, 1 problem(s); nothing was written\n",
    ]);
    expect(await keysIn(centre)).toEqual(["dev/global/cache"]);
  });

  test("--dry-run shows the plan and writes nothing; at a terminal a person is asked, elsewhere --yes is demanded", async () => {
    await using folder = await aFolder();
    await aTree(folder, ["dev"]);
    const centre = new MemoryCentre();
    const planned = await cliOver(centre).run("import", "--dry-run", folder.path);
    expect([planned.code, planned.talk, await keysIn(centre)]).toEqual([0, "6 key(s) would be written\n", []]);
    for (const answer of ["n", null]) {
      const no = await cliOver(centre, { terminal: true, answers: [answer] }).run("import", folder.path);
      expect([no.code, no.talk.endsWith("nothing was written\n"), await keysIn(centre)]).toEqual([2, true, []]);
    }
    expect(await cliOver(centre).run("import", folder.path)).toEqual({
      code: 2,
      out: "",
      talk: "nothing was written: nobody can be asked here; repeat with --yes, or with --dry-run to look first\n",
    });
    expect(await keysIn(centre)).toEqual([]);
    const yes = await cliOver(centre, { terminal: true, answers: ["y"] }).run("import", folder.path);
    expect([
      yes.code,
      yes.talk.includes("writing [########################] 6/6"),
      (await keysIn(centre)).length,
    ]).toEqual([0, true, 6]);
  });

  test.each([
    ["Ctrl-C", 130, "stopped: 0 key(s) were written, 6 more may have been; see: config-cli diff\n"],
    ["a lost answer", 5, "the answer was lost: 0 key(s) were written, 6 more may have been; see: config-cli diff\n"],
  ])("%s while the transaction is under way does not hide that it may be in", async (what, code, talk) => {
    await using folder = await aFolder();
    await aTree(folder, ["dev"]);
    const stop = new AbortController();
    const centre = new (class extends MemoryCentre {
      override async commit(transaction: Parameters<MemoryCentre["commit"]>[0]): Promise<never> {
        await super.commit(transaction);
        if (what === "Ctrl-C") stop.abort(new Error("stopped by SIGINT"));
        throw coordError("AnswerLost", "x");
      }
    })();
    const ran = await cliOver(centre, { signal: stop.signal }).run("import", "--yes", folder.path);
    expect([ran, (await keysIn(centre)).length]).toEqual([{ code, out: "", talk }, 6]);
  });

  test("[SEC-45] the operator's ceiling stays in its file", async () => {
    const centre = new MemoryCentre();
    expect((await cliOver(centre).run("import", "--yes", "config/dev")).code).toBe(0);
    const found = await centre.get("/config/dev/turnout/operator");
    expect(Object.keys(JSON.parse(found?.value ?? "{}") as object)).not.toContain("ceiling");
    expect(await cliOver(centre).run("validate", "--centre")).toMatchObject({ code: 0 });
    expect(await cliOver(centre).run("diff", "config/dev")).toMatchObject({ code: 0 });
  });
});

describe("[R101] init", () => {
  test("puts what is missing and reads it back; what stands is never touched; the second run changes nothing", async () => {
    const centre = new MemoryCentre();
    await centre.put(CACHE, '{"db":3}');
    const first = await cliOver(centre).run("init", "dev", "--force");
    expect([first.code, first.talk.includes("26 key(s) read back")]).toEqual([0, true]);
    const { revision } = centre;
    expect((await centre.get(CACHE))?.value).toBe('{"db":3}');
    const second = await cliOver(centre).run("init", "dev", "--force");
    expect([second.code, second.talk, centre.revision]).toEqual([
      0,
      "0 key(s) missing, 27 there already; nothing was written\n",
      revision,
    ]);
  });

  test("a service and a component may be named; --dry-run writes nothing; nobody to ask means no", async () => {
    const centre = new MemoryCentre();
    expect((await cliOver(centre).run("init", "dev", "im-repo", "--dry-run")).out.match(/create/g)).toHaveLength(6);
    expect(await cliOver(centre).run("init", "dev")).toMatchObject({
      code: 2,
      talk: expect.stringContaining("repeat with --yes") as string,
    });
    expect(await keysIn(centre)).toEqual([]);
    await cliOver(centre).run("init", "dev", "im-repo", "cache", "--force");
    expect(await keysIn(centre)).toEqual(["dev/im-repo/cache"]);
  });

  test("a value that is not the one written is told", async () => {
    const centre = new (class extends MemoryCentre {
      override async get(key: string): ReturnType<MemoryCentre["get"]> {
        const found = await super.get(key);
        return found === null ? null : { ...found, value: "{}" };
      }
    })();
    expect(await cliOver(centre).run("init", "dev", "im-repo", "cache", "--force")).toMatchObject({
      code: 4,
      talk: expect.stringContaining("read back and not the same: /config/dev/im-repo/cache") as string,
    });
  });
});

describe("[R106] export and diff", () => {
  test("what was imported is exported as the same files; differing ones are kept unless forced", async () => {
    await using folder = await aFolder();
    const centre = new MemoryCentre();
    await cliOver(centre).run("import", "--yes", "config/test");
    expect((await cliOver(centre).run("export", folder.path)).code).toBe(0);
    expect(JSON.parse(await readFile(join(folder.path, "test/im-repo/cache.json"), "utf8"))).toEqual(
      JSON.parse(await readFile("config/test/im-repo/cache.json", "utf8")),
    );
    await cliOver(centre).run("set", "test/im-repo/cache", '{"db":7}');
    const kept = await cliOver(centre).run("export", folder.path);
    expect([kept.code, kept.out.match(/kept/g)?.length]).toEqual([1, 1]);
    expect((await cliOver(centre).run("export", "--force", folder.path)).code).toBe(0);
    expect(await readFile(join(folder.path, "test/im-repo/cache.json"), "utf8")).toContain('"db": 7');
  });

  test("a folder that can hold no files ends it at once, with one sentence", async () => {
    const centre = new MemoryCentre();
    await centre.put(CACHE, "{}");
    expect(await cliOver(centre).run("export", "/proc/nowhere")).toEqual({
      code: 6,
      out: "",
      talk: "/proc/nowhere/dev/im-repo/cache.json cannot be written (ENOENT); name another folder, or repair this one\n",
    });
  });

  test("a file keeps the fields that the centre may not hold", async () => {
    await using folder = await aFolder();
    const ceiling = { cidrs: ["10.0.0.0/8"], ports: [80] };
    const at = await folder.put("dev/turnout/operator.json", json({ ceiling, limits: { acts: 4 } }));
    const centre = new MemoryCentre();
    await centre.put("/config/dev/turnout/operator", json({ limits: { acts: 8 } }));
    await cliOver(centre).run("export", "--force", folder.path);
    expect(JSON.parse(await readFile(at, "utf8"))).toEqual({ limits: { acts: 8 }, ceiling });
  });

  test("a reference is no secret: where one is read from is shown, a secret written in its place is not", async () => {
    await using folder = await aFolder();
    const files = { password: { file: "/new/password" }, tls: { ca: { env: "TURNOUT_SECRET_CA" } } };
    await folder.put("dev/im-repo/cache.json", json(files));
    const centre = new MemoryCentre();
    await centre.put(CACHE, json({ password: { file: "/old/password" }, tls: { ca: { env: "hunter2-hunter2" } } }));
    const { out } = await cliOver(centre).run("diff", folder.path);
    expect(out).toMatch(/password\.file +"\/old\/password" +"\/new\/password"\n/);
    expect(out).toMatch(/tls\.ca\.env +"\(hidden\)" +"TURNOUT_SECRET_CA"\n/);
    const set = await cliOver(centre).run("set", CACHE, json(files));
    expect(set.out).toContain('~ password.file: "/old/password" → "/new/password"\n');
  });

  test("differences are shown field by field, secrets hidden, and end with 1", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1, poolSize: 5 }));
    const centre = new MemoryCentre();
    await centre.put(CACHE, json({ db: 2, password: "hunter2-hunter2" }));
    const { code, out } = await cliOver(centre).run("diff", folder.path);
    expect(code).toBe(1);
    expect(
      out
        .split("\n")
        .slice(1)
        .map((line) => line.split(/ +/).slice(1).join(" ")),
    ).toEqual(["db 2 1", 'password "(hidden)" –', "poolSize – 5", ""]);
  });
});

describe("[R98] migrate", () => {
  test("a folder per service and app.json become the tree, are compared, and the old files stay", async () => {
    await using folder = await aFolder();
    await folder.put("old/im-repo/cache.json", json({ db: 4 }));
    await folder.put("old/im-repo/prod/cache.json", json({ db: 5 }));
    await folder.put("old/im-logic/app.json", json({ clog: { level: "warn" }, mq: { codec: "json" } }));
    await folder.put("old/test/im-task/clog.json", json({ level: "error" }));
    const [old, to] = [join(folder.path, "old"), join(folder.path, "new")];
    const { code, talk } = await cliOver(new MemoryCentre()).run("--env", "dev", "migrate", old, "--to", to);
    expect([code, talk]).toEqual([0, "5 value(s) moved and compared; the old files may go now\n"]);
    const read = async (file: string): Promise<unknown> =>
      JSON.parse(await readFile(join(to, file), "utf8")) as unknown;
    expect([
      await read("dev/im-repo/cache.json"),
      await read("prod/im-repo/cache.json"),
      await read("dev/im-logic/mq.json"),
      await read("test/im-task/clog.json"),
    ]).toEqual([{ db: 4 }, { db: 5 }, { codec: "json" }, { level: "error" }]);
    expect(await readFile(join(old, "im-repo/cache.json"), "utf8")).toContain("4");
    expect((await cliOver(new MemoryCentre()).run("validate", to)).code).toBe(0);
  });

  test("--dry-run says what would be, and writes nothing", async () => {
    await using folder = await aFolder();
    await folder.put("old/im-repo/cache.json", "{}");
    const [old, to] = [join(folder.path, "old"), join(folder.path, "new")];
    const ran = await cliOver(new MemoryCentre()).run("--env", "dev", "migrate", old, "--to", to, "--dry-run");
    expect([ran.code, ran.talk]).toEqual([0, "1 value(s) would be moved; nothing was written\n"]);
    expect(ran.out).toMatch(/\nwould be written +/);
    await expect(readFile(join(to, "dev/im-repo/cache.json"))).rejects.toThrow("ENOENT");
  });

  test("what is wrong in an old file is told where it stands there, and nothing is written", async () => {
    await using folder = await aFolder();
    const app = await folder.put("old/im-logic/app.json", '{\n  "clog": {\n    "level": "loud"\n  },\n  "cash": {}\n}');
    const { code, out } = await cliOver(new MemoryCentre()).run(
      "--env",
      "dev",
      "migrate",
      join(folder.path, "old"),
      "--to",
      join(folder.path, "new"),
    );
    expect([code, out.split("\n")]).toEqual([
      1,
      [
        `${app}:5:3: cash is no component of im-logic`,
        `${app}:3:5: clog.level: "loud" is not allowed here (allowed: debug, info, warn, error)`,
        "",
      ],
    ]);
    await expect(readFile(join(folder.path, "new/dev/im-logic/clog.json"))).rejects.toThrow("ENOENT");
  });

  test("no environment, two files for one key, and a file that says something else are told", async () => {
    await using folder = await aFolder();
    const [old, to] = [join(folder.path, "old"), join(folder.path, "new")];
    await folder.put("old/im-repo/clog.json", "{}");
    const cli = cliOver(new MemoryCentre());
    expect((await cli.run("migrate", old, "--to", to)).out).toContain(
      "says no environment; add --env dev, test or prod",
    );
    await folder.put("old/dev/im-repo/clog.json", "{}");
    expect((await cli.run("--env", "dev", "migrate", old, "--to", to)).out).toContain(
      "gives a value for /config/dev/im-repo/clog, and so does",
    );
    await folder.put("other/im-repo/clog.json", "{}");
    await folder.put("new/dev/im-repo/clog.json", '{"level":"warn"}');
    const kept = await cli.run("--env", "dev", "migrate", join(folder.path, "other"), "--to", to);
    expect([kept.code, kept.talk]).toEqual([1, expect.stringContaining("repeat with --force") as string]);
    expect((await cli.run("--env", "dev", "migrate", join(folder.path, "other"), "--to", to, "--force")).code).toBe(0);
  });
});

test.each(COMPONENT_NAMES)("[R104] template %s prints what validate accepts", async (component) => {
  await using folder = await aFolder();
  const service = component === "operator" || component === "endpoints" ? "turnout" : "im-repo";
  const { out, code } = await cliOver(new MemoryCentre()).run("template", component);
  await folder.put(`dev/${service}/${component}.json`, out);
  expect([code, (await cliOver(new MemoryCentre()).run("validate", folder.path)).out]).toEqual([0, ""]);
});

test("template with a service holds what its files say", async () => {
  const { out } = await cliOver(new MemoryCentre()).run("--env", "prod", "template", "cache", "--service", "im-task");
  expect(out).toMatch(/"addr": "redis\.infra:6379"[^]*"db": 1[^]*"keyPrefix": "im:prod:"/);
});
