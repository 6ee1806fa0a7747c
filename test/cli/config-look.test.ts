import { execFile } from "node:child_process";
import { chmod, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { InfraError } from "../../src/lib/infra-error.ts";
import { cliOver } from "../support/config-cli-rig.ts";
import { aFolder } from "../support/config-rig.ts";
import { MemoryCentre } from "../support/memory-centre.ts";

const KEY = "/config/dev/im-repo/cache";
const json = JSON.stringify;

describe("[R106] get and list", () => {
  test("a value is shown as table, tree or JSON; secrets are hidden, references are not", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 1, password: { env: "TURNOUT_SECRET_X" }, local: { enabled: true } }));
    await centre.put("/config/dev/im-task/cache", json({ password: "hunter2-hunter2" }));
    const cli = cliOver(centre);
    const tableText = (await cli.run("get", KEY)).out;
    expect(tableText).toMatch(/^FIELD +VALUE\ndb +1\nlocal\.enabled +true\npassword\.env +"TURNOUT_SECRET_X"\n$/);
    expect((await cli.run("get", "dev/im-repo/cache", "-o", "tree")).out).toBe(
      'db: 1\npassword:\n  env: "TURNOUT_SECRET_X"\nlocal:\n  enabled: true\n',
    );
    expect(await cli.json("--env", "dev", "get", "im-task/cache")).toEqual({
      key: "/config/dev/im-task/cache",
      revision: 3,
      version: 1,
      value: { password: "(hidden)" },
    });
  });

  test("--explain names the layer of each field, and whether it changes live", async () => {
    await using folder = await aFolder();
    await folder.put("dev/global/cache.json", json({ poolSize: 4, minIdleConns: 1 }));
    await folder.put("dev/im-repo/cache.json", json({ keyPrefix: "f:" }));
    const centre = new MemoryCentre();
    await centre.put("/config/dev/global/cache", json({ poolSize: 5 }));
    await centre.put(KEY, json({ db: 6 }));
    const rows = (await cliOver(centre).json("get", KEY, "--explain", "--files", folder.path)) as readonly {
      path: string;
      value: unknown;
      layer: string;
      reloadable: boolean;
    }[];
    const of = (path: string): unknown => rows.find((row) => row.path === path);
    expect(["db", "poolSize", "keyPrefix", "minIdleConns", "maxRetries"].map(of)).toEqual([
      { path: "db", value: 6, layer: "centre service", reloadable: false },
      { path: "poolSize", value: 5, layer: "centre global", reloadable: true },
      { path: "keyPrefix", value: "f:", layer: "file service", reloadable: false },
      { path: "minIdleConns", value: 1, layer: "file global", reloadable: true },
      { path: "maxRetries", value: 3, layer: "default", reloadable: false },
    ]);
  });

  test("keys are listed with revision, size and kind, tenants too, and as a tree", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, "{}");
    await centre.put("/config/dev/im-gateway/tenants/ns/acme", '{"unit":"blue"}');
    await centre.put("/config/dev/oops", "{}");
    const rows = (await cliOver(centre).json("list", "dev")) as readonly { key: string; kind: string; bytes: number }[];
    expect(rows.map(({ key, kind, bytes }) => [key, kind, bytes])).toEqual([
      ["/config/dev/im-gateway/tenants/ns/acme", "tenant", 15],
      [KEY, "config", 2],
      ["/config/dev/oops", "unknown", 2],
    ]);
    expect((await cliOver(centre).run("list", "dev", "im-repo", "-o", "tree")).out).toBe(
      "config\n  dev\n    im-repo\n      cache\n",
    );
    expect((await cliOver(centre).json("get", "dev/im-gateway/tenants/ns/acme")) as object).toMatchObject({
      value: { unit: "blue" },
    });
  });

  test("[SEC-48] foreign text is escaped before a terminal, and raw in JSON", async () => {
    const centre = new MemoryCentre();
    const hostile = "a\u001b]8;;http://x\u0007b\r\u202ec\u200b";
    await centre.put(KEY, json({ keyPrefix: hostile }));
    await centre.put(`/config/dev/${hostile}`, "{}");
    const cli = cliOver(centre);
    for (const args of [
      ["get", KEY],
      ["get", KEY, "-o", "tree"],
      ["list"],
      ["list", "-o", "tree"],
      ["validate", "--centre"],
      ["history", KEY],
    ]) {
      const { out, talk } = await cli.run(...args);
      expect(out + talk).toContain("a\\u");
      expect((out + talk).replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
    expect((await cli.json("get", KEY)) as object).toMatchObject({ value: { keyPrefix: hostile } });
  });

  test("nothing there, no JSON there, no centre named, a centre that refuses: each says what to do next", async () => {
    const centre = new MemoryCentre();
    const cli = cliOver(centre);
    expect(await cli.run("get", KEY)).toMatchObject({
      code: 1,
      talk: `nothing stands under ${KEY}; write it with: config-cli set ${KEY} JSON\n`,
    });
    await centre.put(KEY, "{oops");
    expect(await cli.run("get", KEY)).toMatchObject({
      code: 1,
      talk: expect.stringContaining("write it anew with replace") as string,
    });
    expect(await cliOver(centre, { env: {} }).run("list")).toMatchObject({
      code: 2,
      talk: expect.stringContaining("give --endpoints") as string,
    });
    const error = (type: "CONNECTION" | "CONFIG"): InfraError =>
      new InfraError({ component: "coord", type, code: "X", message: "coord: no", retryable: true });
    centre.refuse(error("CONNECTION"));
    expect(await cli.run("list")).toMatchObject({ code: 5, talk: "coord: no\n" });
    centre.refuse(error("CONFIG"));
    expect(await cli.run("list")).toMatchObject({ code: 3 });
  });
});

describe("arguments", () => {
  test.each<readonly [args: readonly string[], says: RegExp]>([
    [["lst"], /unknown command 'lst'[^]*Did you mean list/],
    [["list", "deev"], /"deev" is no environment; did you mean dev\? there are dev, test, prod/],
    [["-o", "xml", "list"], /Allowed choices are table, tree, json/],
    [["--timeout", "10", "list"], /--timeout: "10" is not a duration such as 10s/],
    [["--endpoints", "ftp://x", "list"], /is not http:\/\/HOST:PORT/],
    [["--endpoints", "http://a:1,https://b:2", "list"], /either all with http:\/\/ or all with https:\/\//],
    [["--username", "me", "list"], /--username and --password-file go together/],
    [["--username", "me", "--password-file", "/nowhere", "list"], /there is no file \/nowhere/],
    [["rollback", KEY], /required option '--to <revision>'/],
    [["rollback", KEY, "--to", "x"], /--to: "x" is no whole number/],
    [["template", "cash"], /"cash" is no component; did you mean cache\? there are clog/],
    [["template", "db", "--service", "im-logic"], /im-logic has no db; it belongs to im-repo/],
    [["completion", "tcsh"], /completion is there for bash, zsh, fish/],
    [["watch", "/other/"], /does not lie below \/config\//],
    [["watch", "nope"], /"nope" can hold nothing: "nope" is no environment/],
    [["watch", "dev/im-rep/"], /"im-rep" is no service; did you mean im-repo\?/],
    [["watch", "dev/im-repo/cach"], /"cach" is no component; did you mean cache\?/],
    [["watch", "dev/im-repo/cache/"], /"cache" is no folder/],
    [["watch", "dev/im-repo/tenants/N_S"], /"N_S" is not a namespace/],
    [["watch", "dev/", "--from", "7"], /--from: the centre is at revision 1, it has not come to 7 yet/],
    [["init", "dev", "nope"], /"nope" is no service; there are global, im-repo/],
    [["init", "dev", "im-logic", "db"], /im-logic has no db; it has clog, coord, metrics, mq/],
    [["import", "config/dev", "--env", "prod"], /config\/dev holds dev only, nothing of prod/],
    [["diff", "config/dev", "--env", "prod"], /config\/dev holds dev only, nothing of prod/],
    [["validate", "config/dev", "--env", "prod"], /config\/dev holds dev only, nothing of prod/],
    [["--ca-file", "/nowhere", "list"], /--ca-file is for https:\/\/, and --endpoints says http:\/\//],
  ])("%j is refused", async (args, says) => {
    const { code, talk, out } = await cliOver(new MemoryCentre()).run(...args);
    expect([code, out]).toEqual([2, ""]);
    expect(talk).toMatch(says);
  });

  test("[SEC-49] a password comes from a file only", async () => {
    const { out } = await cliOver(new MemoryCentre()).run("--help");
    expect(out).toContain("--password-file");
    expect(out).not.toMatch(/--password[ ,<]/);
  });

  test.each(["bash", "zsh", "fish"])("completion for %s names every command and its flags", async (shell) => {
    const { out, code } = await cliOver(new MemoryCentre()).run("completion", shell);
    expect(code).toBe(0);
    for (const word of ["validate", "import", "rollback", "atomic", "dry-run"]) expect(out).toContain(word);
  });
});

test("bash completes keys, values of flags and flags, each where it may stand, under both names", async () => {
  const completed = async (name: string, ...words: readonly string[]): Promise<readonly string[]> => {
    const { out } = await cliOver(new MemoryCentre(), { name }).run("completion", "bash");
    const line = [...name.split(" "), ...words];
    const script = `${out}\nCOMP_WORDS=(${line.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${line.length - 1}
      _${name.replaceAll(/[- ]/g, "_")}; echo "\${COMPREPLY[@]}"`;
    return (await promisify(execFile)("bash", ["-c", script])).stdout.trim().split(" ");
  };
  for (const name of ["config-cli", "turnout config"]) {
    expect(await completed(name, "va")).toEqual(["validate"]);
    expect(await completed(name, "get", "dev/im-repo/c")).toEqual([
      "dev/im-repo/clog",
      "dev/im-repo/coord",
      "dev/im-repo/cache",
    ]);
    expect(await completed(name, "get", "dev/im-repo/cache", "-o", "")).toEqual(["table", "tree", "json"]);
    expect(await completed(name, "list", "pro")).toEqual(["prod"]);
    expect(await completed(name, "import", "--at")).toEqual(["--atomic"]);
    expect(await completed(name, "import", "")).toEqual([""]);
  }
});

test("a folder that was never a tree is told by its first hundred problems", async () => {
  await using folder = await aFolder();
  for (let i = 0; i < 103; i += 1) await folder.put(`other/f${i}.json`, "{}");
  const { code, out, talk } = await cliOver(new MemoryCentre()).run("validate", folder.path);
  expect([code, out.split("\n").length - 1]).toEqual([1, 100]);
  expect(talk).toContain("and 3 more; mend these, or see all of them with -o json\n");
});

test("commands that are told are told as they were called; prose keeps within 100 columns of a terminal", async () => {
  const talk: string[] = [];
  const say = (text: string): void => void talk.push(text);
  await cliOver(new MemoryCentre(), { terminal: true, talk: say, name: "turnout config" }).run(
    "list",
    "prod",
    "im-gateway",
  );
  expect(talk.join("")).toBe(
    "nothing stands below /config/prod/im-gateway/; put it there: turnout config import config --env prod\n",
  );
  const { out } = await cliOver(new MemoryCentre()).run("--help");
  expect(out.split("\n").filter((line) => line.length > 100)).toEqual([]);
  const refused = await cliOver(new MemoryCentre(), { terminal: true }).run("template", "operators-own-settings");
  expect(refused.talk.split("\n").map((line) => line.length > 100)).toEqual([false, false, false]);
});

describe("[R103] validate", () => {
  test("the centre is checked like files: places, layers, unknown keys", async () => {
    const centre = new MemoryCentre();
    await centre.put("/config/dev/global/cache", '{"poolSize":\n 4}');
    await centre.put(KEY, '{"minIdleConns": 9}');
    await centre.put("/config/dev/im-repo/mq", "{oops");
    await centre.put("/config/dev/stray", "{}");
    const { code, out } = await cliOver(centre).run("validate", "--centre");
    expect([code, out.split("\n")]).toEqual([
      1,
      [
        '/config/dev/im-repo/mq:1:2: expected a key in "…" (allowed: JSON)',
        '/config/dev/stray: is no key of configuration: "dev/stray" has not the form {env}/{service}/{component}',
        "/config/dev/im-repo/cache:1:2: cache.minIdleConns: 9 is more than poolSize (allowed: at most poolSize)",
        "",
      ],
    ]);
  });

  test("a secret whose file or variable is missing is told where it is referred to", async () => {
    await using folder = await aFolder();
    await using elsewhere = await aFolder();
    const secret = await elsewhere.put("secret", "x");
    const at = await folder.put(
      "dev/im-repo/cache.json",
      json({ password: { file: "/nowhere/at/all" }, tls: { ca: { file: secret } } }),
    );
    await folder.put("dev/im-repo/db.json", json({ password: { env: "TURNOUT_SECRET_DB" } }));
    const cli = cliOver(new MemoryCentre(), { env: {} });
    expect((await cli.run("validate", folder.path)).code).toBe(0);
    const { code, out } = await cli.run("validate", "--check-secrets", folder.path);
    expect(code).toBe(1);
    expect(out.split("\n")[0]).toBe(
      `${at}:1:14: cache.password.file: /nowhere/at/all is not there (allowed: a file that exists where this runs)`,
    );
    expect(out).toContain("db.password.env: TURNOUT_SECRET_DB is not there");
    expect(out).not.toContain(secret);
  });
});

describe("[R105] watch", () => {
  test("every change is told with revision, time and difference; --from goes on where another ended", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 1, poolSize: 7 }));
    const watching = cliOver(centre).run("watch", "dev/im-repo/", "--count", "3");
    await expect.poll(() => centre.watching).toBe(1);
    await centre.put(KEY, json({ db: 2, poolSize: 7 }));
    await centre.put("/config/dev/im-repo/clog", json({ level: "warn" }));
    await centre.delete(KEY);
    const { out, code } = await watching;
    const lines = out.split("\n").map((line) => line.replace(/^\d{4}-\S+Z/, "T"));
    expect([code, lines]).toEqual([
      0,
      [
        `T r3 ${KEY}`,
        "  ~ db: 1 → 2",
        "T r4 /config/dev/im-repo/clog",
        '  + level: "warn"',
        `T r5 ${KEY} deleted`,
        "  - db: 2",
        "  - poolSize: 7",
        "",
      ],
    ]);
    const again = await cliOver(centre).run("watch", KEY, "--from", "2", "--count", "2");
    expect(again.out.split("\n").map((line) => line.replace(/^\d{4}-\S+Z/, "T"))).toEqual([
      `T r3 ${KEY}`,
      "  ~ db: 1 → 2",
      `T r5 ${KEY} deleted`,
      "  - db: 2",
      "  - poolSize: 7",
      "",
    ]);
  });

  test("[SEC-49] --exec runs a program without a shell, with the change on its stdin", async () => {
    await using folder = await aFolder();
    const script = await folder.put("told.sh", '#!/bin/sh\ncat >> "$1"\necho "$2" >> "$1"\n');
    await chmod(script, 0o755);
    const centre = new MemoryCentre();
    const into = join(folder.path, "told");
    const watching = cliOver(centre).run("watch", KEY, "--count", "1", "--exec", script, "--", into, "$(id)");
    await expect.poll(() => centre.watching).toBe(1);
    await centre.put(KEY, json({ db: 2 }));
    expect((await watching).code).toBe(0);
    const [told = "", argument] = (await readFile(into, "utf8")).split("\n");
    expect([JSON.parse(told), argument]).toEqual([
      { key: KEY, revision: 2, toldAt: expect.any(String) as string, kind: "put", value: { db: 2 }, changed: ["db"] },
      "$(id)",
    ]);
  });

  test("--webhook posts each change; one that fails is tried again, then watch ends with where to go on", async () => {
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      void request.toArray().then((parts) => {
        bodies.push(Buffer.concat(parts as Buffer[]).toString());
        response.statusCode = bodies.length === 1 ? 503 : 204;
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/told`;
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 1 }));
    const quick = { clock: { now: () => 0 as never, monotonic: () => 0 as never, sleep: instantly } };
    const told = await cliOver(centre, quick).run("watch", KEY, "--from", "1", "--count", "1", "--webhook", url);
    expect([told.code, bodies.length, (JSON.parse(bodies[1] ?? "{}") as { revision: number }).revision]).toEqual([
      0, 2, 2,
    ]);
    await new Promise((resolve) => server.close(resolve));
    const secret = await cliOver(centre, quick).run(
      "watch",
      KEY,
      "--from",
      "1",
      "--count",
      "1",
      "--webhook",
      `${url}?token=x`,
    );
    expect(secret.talk).toContain(`${url} cannot be reached (ECONNREFUSED) (try 2 of 5)\n`);
    expect(secret.talk).not.toContain("token");
    const shell = await cliOver(centre, quick).run("watch", KEY, "--from", "1", "--count", "1", "--exec", "echo hi");
    expect(shell.talk).toContain(
      "echo hi cannot be run (ENOENT); its arguments follow --, there is no shell (try 1 of 5)\n",
    );
    const lost = await cliOver(centre, quick).run("watch", KEY, "--from", "1", "--count", "1", "--webhook", url);
    expect([lost.code, lost.talk]).toEqual([6, expect.stringContaining("go on with --from 1") as string]);
  });
});

/** Waits between tries cost nothing; bounds of a try never end. */
function instantly(after: number, signal?: AbortSignal): Promise<void> {
  if (after < 60_000) return Promise.resolve();
  return new Promise((_resolve, reject) =>
    signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true }),
  );
}
