import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import type { Dial } from "../../src/infra/coord/etcd-gateway.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import { systemRng } from "../../src/kube/clock.ts";
import { type CliRig, cliOver } from "../support/config-cli-rig.ts";
import { aFolder } from "../support/config-rig.ts";
import { addressesOf, coordAt, plainDial } from "../support/coord-rig.ts";
import { openTcpProxy } from "../support/tcp-proxy.ts";

// An etcd of its own: a compaction of another suite would take away the history that is looked at here.
let etcd: Environment;
let COORD_ENDPOINTS = "";
let ADDRESS = "";
beforeAll(async () => {
  etcd = await openEnvironment({ with: ["etcd"], controlPlane: false, print: () => undefined });
  COORD_ENDPOINTS = etcd.env["COORD_ENDPOINTS"] ?? "";
  [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
});
afterAll(() => etcd.close());
const MQ = "/config/prod/im-repo/mq";
const json = JSON.stringify;

interface World extends AsyncDisposable {
  readonly coord: Coord;
  /** A command line with a connection of its own. */
  cli(address?: string, dial?: Dial): CliRig;
}

async function aWorld(): Promise<World> {
  const coords: Coord[] = [];
  const open = (address: string, dial: Dial): Coord => {
    const coord = coordAt({ endpoints: [address], dial });
    coords.push(coord);
    return coord;
  };
  const coord = open(ADDRESS, plainDial);
  const { items } = await coord.centre.list("/config/prod/");
  for (const { key } of items) await coord.centre.delete(key);
  return {
    coord,
    cli: (address = ADDRESS, dial = plainDial) => cliOver(open(address, dial).centre, { rng: systemRng }),
    async [Symbol.asyncDispose]() {
      for (const one of coords) await one.close();
    },
  };
}

describe("[R102] [R105] [R106] [R117] config-cli on etcd", () => {
  test("50 sets of different fields at once all survive", async () => {
    await using world = await aWorld();
    const ran = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        world.cli().run("set", MQ, json({ topics: { [`t${i}`]: `topic-${i}` } }), "-o", "json"),
      ),
    );
    expect(ran.filter(({ code }) => code !== 0)).toEqual([]);
    const found = JSON.parse((await world.coord.centre.get(MQ))?.value ?? "{}") as { topics: object };
    expect(Object.keys(found.topics)).toHaveLength(50);
  });

  test("200 keys: one bad file and nothing is written; without it, all are, and the key's prefix stands once", async () => {
    await using world = await aWorld();
    await using folder = await aFolder();
    // An environment has 27 keys; tenants of a switch make up the rest, and must stay as they are.
    const tenants = Array.from({ length: 173 }, (_, i) => `/config/prod/im-gateway/tenants/ns/t${i}`);
    for (let i = 0; i < tenants.length; i += 100) {
      const put = tenants.slice(i, i + 100).map((key) => ({ key, value: "{}" }));
      await world.coord.centre.commit({ expect: {}, put, delete: [] });
    }
    const cli = world.cli();
    expect((await cli.run("import", "config/prod", "--dry-run")).talk).toContain("27 key(s) would be written");
    const bad = await folder.put("prod/im-repo/cache.json", '{\n  "db": 99\n}');
    await folder.put("prod/im-task/cache.json", "{}");
    const refused = await cli.run("import", "--yes", folder.path);
    expect([refused.code, refused.out]).toEqual([1, `${bad}:2:3: cache.db: 99 is not a whole number from 0 to 15\n`]);
    expect((await world.coord.centre.list("/config/prod/")).items).toHaveLength(173);
    expect((await cli.run("import", "config/prod", "--atomic", "--yes")).code).toBe(0);
    const { items } = await world.coord.centre.list("/config/prod/");
    expect(items).toHaveLength(200);
    expect(new Set(items.filter(({ key }) => !key.includes("/tenants/")).map(({ revision }) => revision)).size).toBe(1);
    expect(items.filter(({ key }) => key.lastIndexOf("/config/") !== 0)).toEqual([]);
    expect((await cli.run("diff", "config/prod")).code).toBe(0);
  });

  test("watch over a line that is cut and frozen tells every change once and in order", async () => {
    await using world = await aWorld();
    const [host = "", port = ""] = ADDRESS.split(":");
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    const [first, most] = [await world.coord.centre.put(MQ, json({ consumer: { maxPollRecords: 1 } })), 120];
    const watching = world
      .cli(`127.0.0.1:${proxy.port}`)
      .run("watch", MQ, "--from", String(first), "--count", String(most), "-o", "json");
    await expect.poll(() => proxy.accepted, { timeout: 10_000 }).toBeGreaterThan(0);
    for (let i = 1; i <= most; i += 1) {
      await world.coord.centre.put(MQ, json({ consumer: { maxPollRecords: i + 1 } }));
      if (i % 17 === 0) proxy.cut();
      if (i % 29 === 0) proxy.hold("toClient");
      if (i % 29 === 9) proxy.release();
    }
    proxy.clear();
    const { code, out, talk } = await watching;
    const values = out
      .split("\n")
      .filter(Boolean)
      .map(
        (line) =>
          (JSON.parse(line) as { value: { consumer: { maxPollRecords: number } } }).value.consumer.maxPollRecords,
      );
    expect([code, values]).toEqual([0, Array.from({ length: most }, (_, i) => i + 2)]);
    expect(talk).toContain("connected again; what was missed follows");
    // Not before it was lost.
    expect(talk.indexOf("not connected: ")).toBeLessThan(talk.indexOf("connected again"));
    expect(talk.indexOf("not connected: ")).toBeGreaterThan(0);
  });

  test("watch from what is compacted away says so and tells the difference", async () => {
    await using world = await aWorld();
    const first = await world.coord.centre.put(MQ, json({ codec: "json" }));
    await world.coord.centre.put(MQ, json({ codec: "protobuf" }));
    const last = await world.coord.centre.put(MQ, json({ codec: "json", enableTracing: true }));
    const body = json({ revision: String(last), physical: true });
    expect((await fetch(`http://${ADDRESS}/v3/kv/compaction`, { method: "POST", body })).ok).toBe(true);
    const { out, talk } = await world.cli().run("watch", MQ, "--from", String(first), "--count", "1", "-o", "json");
    expect(JSON.parse(out)).toMatchObject({
      revision: last,
      value: { codec: "json", enableTracing: true },
      compacted: true,
    });
    expect(talk).toContain(
      "is compacted away: what follows is the difference to now, without what was deleted unseen\n",
    );
    // From a revision at which it stood as it stands: nothing happened to it since.
    const clog = "/config/prod/im-repo/clog";
    await world.coord.centre.put(clog, json({ maxBackups: 7 }));
    const older = await world.coord.centre.put(MQ, json({ codec: "json" }));
    await world.coord.centre.put(MQ, json({ codec: "json", enableTracing: true }));
    const newer = await world.coord.centre.put(MQ, json({ codec: "protobuf" }));
    const again = json({ revision: String(newer), physical: true });
    expect((await fetch(`http://${ADDRESS}/v3/kv/compaction`, { method: "POST", body: again })).ok).toBe(true);
    const below = await world.cli().run("watch", "prod/", "--from", String(older), "--count", "1", "-o", "json");
    expect(JSON.parse(below.out)).toMatchObject({ key: MQ, revision: newer, compacted: true });
  });

  test("history and rollback, also of a deleted key", async () => {
    await using world = await aWorld();
    const cli = world.cli();
    await cli.run("set", MQ, json({ codec: "json" }));
    const then = (await world.coord.centre.get(MQ))?.revision ?? 0;
    await cli.run("set", MQ, json({ codec: "protobuf" }));
    await cli.run("delete", "--yes", MQ);
    for (let i = 0; i < 20; i += 1) await world.coord.centre.put("/config/prod/im-repo/clog", json({ maxBackups: i }));
    const { out } = await cli.run("history", MQ);
    expect(out).toMatch(/^r\d+ deleted\n.*\nr\d+ version 2\n.*\nr\d+ version 1\n/);
    expect((await cli.run("rollback", MQ, "--to", String(then), "--yes")).code).toBe(0);
    expect((await world.coord.centre.get(MQ))?.value).toBe('{"codec":"json"}');
    // The oldest ones are other tests'.
    const back = await cli.run("history", MQ, "--limit", "4");
    expect(back.out.match(/^r\d+ \w+( \d)?$/gm)?.map((line) => line.replace(/^r\d+ /, ""))).toEqual([
      "version 1",
      "deleted",
      "version 2",
      "version 1",
    ]);
    expect(back.out).toMatch(/^r\d+ version 1\n {2}\+ codec: "json"\nr\d+ deleted\n/);
  });
});

describe("the program itself", () => {
  const CLI = ["src/cli/config-cli.ts"];
  const run = async (
    ...args: readonly string[]
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> => {
    try {
      return {
        code: 0,
        ...(await promisify(execFile)(process.execPath, [...CLI, ...args], {
          env: { ...process.env, COORD_ENDPOINTS },
          timeout: 30_000,
        })),
      };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, stdout, stderr };
    }
  };

  test("it sets, gets and lists; data goes to stdout, talk to stderr", async () => {
    await using world = await aWorld();
    const done = await run("set", MQ, '{"codec":"json"}');
    expect(done).toEqual({
      code: 0,
      stdout: '+ codec: "json"\n',
      stderr: expect.stringMatching(/^\/config\/prod\/im-repo\/mq: revision \d+\n$/) as string,
    });
    expect(JSON.parse((await run("get", MQ, "-o", "json")).stdout)).toMatchObject({
      value: { codec: "json" },
      version: 1,
    });
    expect((await world.coord.centre.get(MQ))?.version).toBe(1);
  });

  test("a centre that is not there ends with 5 and says which address; a bug is no answer", async () => {
    const { code, stdout, stderr } = await run("--endpoints", "http://127.0.0.1:1", "--timeout", "2s", "list");
    expect([code, stdout]).toEqual([5, ""]);
    expect(stderr).toMatch(/^coord: .*(?:127\.0\.0\.1:1|no connection)/);
    expect(stderr).not.toContain(" at ");
  });

  test.each(["src/cli/config-cli.ts", "src/main.ts config"])(
    "%s: output that cannot be written is no success",
    async (program) => {
      const args = ["-c", '"$@" >/dev/full', "bash", process.execPath, ...program.split(" "), "--help"];
      const ran = await promisify(execFile)("bash", args).catch((error: unknown) => error);
      expect(ran).toMatchObject({ code: 6, stderr: "the output cannot be written (ENOSPC)\n" });
    },
  );

  test("a reader that has enough ends it quietly", async () => {
    const command = `"$0" "$1" template endpoints | true; echo "\${PIPESTATUS[0]}"`;
    const ran = await promisify(execFile)("bash", ["-c", command, process.execPath, ...CLI]);
    expect(ran).toEqual({ stdout: "0\n", stderr: "" });
  });

  test("TLS asked of an etcd in the clear is told as such", async () => {
    const { code, stderr } = await run("--endpoints", `https://${ADDRESS}`, "--timeout", "3s", "list");
    expect([code, stderr]).toEqual([3, expect.stringContaining("it speaks no TLS") as string]);
  });
});
