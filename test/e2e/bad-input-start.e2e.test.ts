import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { startOperator } from "../../deployment/demo/children.ts";
import { run } from "../../deployment/local/command.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { seconds } from "../../src/lib/time.ts";
import { aSwitch, openTestStand, type TestStand } from "../support/stand.ts";
import { openTcpProxy } from "../support/tcp-proxy.ts";

let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"));
});
afterAll(() => stand[Symbol.asyncDispose]());

const ROOT = join(import.meta.dirname, "..", "..");
const BUNDLE = "dist/test-operator.mjs";

/** Runs the operator until it gives up; with an API server, so that only the settings are in its way. */
async function start(...args: readonly string[]): Promise<{ readonly code: number | null; readonly said: string }> {
  // With a centre as well, which must not keep a process that has given up.
  const env = { COORD_ENDPOINTS: stand.env["COORD_ENDPOINTS"] ?? "" };
  const command = { file: process.execPath, args: [join(ROOT, BUNDLE), ...args], cwd: stand.folder, env };
  const { code, output } = await run({ ...command, timeout: seconds(20) }, stand.machine);
  return { code, said: output.trimEnd() };
}

async function written(name: string, text: string): Promise<string> {
  await writeFile(join(stand.folder, name), text);
  return name;
}

const WRONG = JSON.stringify({
  operator: { log: { level: "loud" }, defaults: { attemptTimeout: "soon" }, ceiling: {}, colour: 1 },
  endpoints: [{ name: "x", protocol: "gopher" }],
});

describe.concurrent("started with what cannot work", () => {
  test("settings: every problem at once, with place, value and what is allowed; nothing starts", async ({ expect }) => {
    const kubeconfig = stand.env["KUBECONFIG_OPERATOR"] ?? "";
    const ended = await start("--kubeconfig", kubeconfig, "--settings", await written("wrong.json", WRONG));
    expect(ended.code).toBe(2);
    const [first, ...problems] = ended.said.split("\n");
    expect(first).toBe(`wrong.json: ${problems.length} problem(s), nothing was started`);
    expect(problems).toEqual(
      expect.arrayContaining([
        `  operator.log.level: "loud" is not allowed here (allowed: debug, info, warn, error)`,
        `  operator.defaults.attemptTimeout: "soon" is not a duration in range (allowed: a duration such as 5s or 10m, from 100ms to 10m)`,
        `  operator.colour: is not a setting`,
        `  endpoints[0].protocol: "gopher" is not allowed here (allowed: http, extension, prometheus, grpc, redis, etcd, kafka)`,
      ]),
    );
  });

  test.for([
    ["a file that is cut off", ["--settings", "cut.json"], "cut.json: is refused: not JSON at 1:15"],
    ["a file that is not there", ["--settings", "none.json"], "none.json: cannot be read (allowed: a readable file"],
    ["no settings", [], "neither --settings nor --config is given\n\nturnout: the operator"],
    ["settings from two places", ["--settings", "a", "--config", "b"], "--settings and --config exclude each other"],
    [
      "an environment that there is not",
      ["--config", "config", "--env", "live"],
      "--env live is not dev, test or prod",
    ],
    ["an option that it does not know", ["--color"], "Unknown option '--color'"],
  ] as const)("%s", async ([_what, args, says], { expect }) => {
    await written("cut.json", `{ "operator": `);
    const { code, said } = await start(...args);
    expect(code).toBe(2);
    expect(said).toContain(says);
  });

  test.for([
    ["a tree that is not there", {}, "/test: there is no such folder (allowed: the root of a tree of dev, test, prod)"],
    [
      "a tree without settings of the operator",
      { "test/turnout/endpoints.json": "[]" },
      "/test/turnout/operator.json: ",
    ],
    [
      "settings in the tree that are cut off",
      { "test/turnout/operator.json": "{" },
      "/test/turnout/operator.json:1:2: ",
    ],
  ] as const)("%s", async ([what, files, says], { expect }) => {
    const root = join(stand.folder, what.replaceAll(" ", "-"));
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(root, path, ".."), { recursive: true });
      await writeFile(join(root, path), text);
    }
    const kubeconfig = stand.env["KUBECONFIG_OPERATOR"] ?? "";
    const { code, said } = await start("--kubeconfig", kubeconfig, "--config", root, "--env", "test");
    expect(code).toBe(2);
    expect(said).toContain(`${root}${says}`);
    expect(said).not.toContain("    at ");
  });

  test.for(["--settings", "--config"])("a port that somebody else has, with %s", async (how, { expect }) => {
    const holder = createServer();
    await once(holder.listen(0, "127.0.0.1"), "listening");
    const { port } = holder.address() as AddressInfo;
    try {
      const { operator, endpoints } = JSON.parse(await readFile(stand.settings, "utf8")) as Record<string, object>;
      const taken = JSON.stringify({ ...operator, listen: { host: "127.0.0.1", port } });
      const root = join(stand.folder, `taken${how}`);
      const turnout = join(root, "test", "turnout");
      await mkdir(turnout, { recursive: true });
      await writeFile(join(turnout, "operator.json"), taken);
      await writeFile(join(turnout, "endpoints.json"), JSON.stringify(endpoints));
      const where = how === "--settings" ? [how, turnout] : [how, root, "--env", "test"];
      const { code, said } = await start("--kubeconfig", stand.env["KUBECONFIG_OPERATOR"] ?? "", ...where);
      expect(code).toBe(1);
      expect(said).toContain(
        `cannot listen on 127.0.0.1:${port}: another process has it; stop that one or change listen`,
      );
      expect(said).not.toContain("    at ");
    } finally {
      holder.close();
    }
  });

  test("a kubeconfig that is not there", async ({ expect }) => {
    const { code, said } = await start("--settings", stand.settings, "--kubeconfig", "none.kubeconfig");
    expect(code).toBe(2);
    expect(said).toBe("cannot read none.kubeconfig (ENOENT): check the path and the file; nothing was started");
  });

  test("[S31] no API server: it stays, says whom it cannot reach and is not ready; there at last, the switch is done", async ({
    expect,
  }) => {
    const { env, folder, machine, namespace, settings } = stand;
    const text = await readFile(env["KUBECONFIG_OPERATOR"] ?? "", "utf8");
    const server = new URL(/https:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0] ?? "");
    await using proxy = await openTcpProxy({ host: "127.0.0.1", port: Number(server.port) });
    const origin = `https://127.0.0.1:${proxy.port}`;
    const kubeconfig = join(folder, await written("proxied.kubeconfig", text.replaceAll(server.origin, origin)));
    const unelected = JSON.parse(await readFile(settings, "utf8")) as { readonly operator: object };
    const operator = { ...unelected.operator, leaderElection: { enabled: false } };
    const own = join(folder, await written("unelected.json", JSON.stringify({ ...unelected, operator })));
    proxy.refuse();
    await stand.create(aSwitch(stand));
    const log = join(folder, "unreachable.log");
    const args = ["--settings", own, "--kubeconfig", kubeconfig, "--namespace", namespace];
    const variables = { TURNOUT_SECRET_GATEWAY: (await readFile(join(folder, "token"), "utf8")).trim() };
    const starting = startOperator({ bundle: BUNDLE, args, env: variables, log }, machine);
    const said = async (): Promise<string> => readFile(log, "utf8").catch(() => "");
    const complained = async (): Promise<boolean> => (await said()).includes("the watch ended");
    await until(complained, { clock: localClock, timeout: seconds(20), what: "the operator to complain" });
    expect(await said()).toContain(`"apiServer":"${origin}"`);
    const { listen } = JSON.parse((await said()).split("\n")[0] ?? "") as {
      readonly listen: { readonly port: number };
    };
    const ask = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${listen.port}${path}`)).status;
    expect([await ask("/livez"), await ask("/readyz")]).toEqual([200, 503]);
    proxy.clear();
    const running = await starting;
    await stand.over("acme-green", "Completed");
    expect(await ask("/readyz")).toBe(200);
    await running.stop();
  });
});
