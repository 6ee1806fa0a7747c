import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { describe, expect, test } from "vitest";

import { localClock } from "../../deployment/local/clock.ts";
import { parseEnv } from "../../deployment/local/env-file.ts";
import { until } from "../../deployment/local/poll.ts";
import { isAlive, type ProcessIdentity } from "../../deployment/local/process-identity.ts";
import { seconds } from "../../src/lib/time.ts";
import { local, processesNaming, start, startLocal, temporaryFolder, untilGone, untilReady } from "./local-cli.ts";

const execute = promisify(execFile);

async function kubectl(stateDir: string, args: readonly string[]): Promise<string> {
  const env = parseEnv(await readFile(join(stateDir, "env"), "utf8"));
  const { stdout } = await execute(env.KUBECTL ?? "", [...args], { env: { ...process.env, ...env } });
  return stdout.trim();
}

/** The servers of the folder, without the commands that a test started itself. */
async function serversIn(stateDir: string): Promise<readonly ProcessIdentity[]> {
  const servers = await processesNaming(`HOME=${stateDir}\0`);
  expect(servers.length).toBeGreaterThanOrEqual(3);
  return servers;
}

describe("npm run local", () => {
  test("a killed `up` leaves no server behind, and its folder can be started again with its data", async () => {
    await using folder = await temporaryFolder();
    const stateDir = join(folder.path, "state");
    const up = startLocal(["up", "--state", stateDir, "--with", "redis"]);
    await untilReady(up);
    const servers = await serversIn(stateDir);
    expect(servers).toHaveLength(4);
    await kubectl(stateDir, ["create", "namespace", "kept"]);
    const tokens = await readFile(join(stateDir, "secrets", "tokens.csv"), "utf8");

    up.child.kill("SIGKILL");
    await untilGone(servers);
    expect(await local(["status", "--state", stateDir])).toMatchObject({
      code: 3,
      stderr: `nothing runs in ${stateDir}\n`,
    });

    const again = await local(["up", "--state", stateDir, "--with", "redis", "--detach"]);
    expect(again).toMatchObject({ code: 0, stdout: await readFile(join(stateDir, "env"), "utf8") });
    expect(await kubectl(stateDir, ["get", "namespace", "kept", "-o", "name"])).toBe("namespace/kept");
    expect(await readFile(join(stateDir, "secrets", "tokens.csv"), "utf8")).not.toBe(tokens); // [SEC-50] new at every start

    const status = await local(["status", "--state", stateDir]);
    expect(status.code).toBe(0);
    expect(status.stdout.split("\n").map((line) => line.split(/\s+/)[0])).toEqual([
      "SERVER",
      "etcd",
      "kube-apiserver",
      "redis",
      "kube-controller-manager",
      "",
    ]);

    const restarted = await serversIn(stateDir);
    expect(await local(["down", "--state", stateDir])).toMatchObject({
      code: 0,
      stderr: `stopped the environment in ${stateDir}\n`,
    });
    expect(restarted.filter((one) => isAlive(one))).toEqual([]);
    expect(await local(["down", "--state", stateDir])).toMatchObject({
      code: 0,
      stderr: `nothing runs in ${stateDir}\n`,
    });
    expect(await readdir(stateDir)).toEqual(expect.not.arrayContaining(["env", "secrets", "control.sock"]));
    expect(await local(["down", "--state", stateDir, "--wipe"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`deleted ${stateDir}`),
    });
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("a killed npm leaves nothing behind either", async () => {
    await using folder = await temporaryFolder();
    const stateDir = join(folder.path, "state");
    const npm = start("npm", ["run", "local", "--", "up", "--state", stateDir]);
    await untilReady(npm);
    const servers = await serversIn(stateDir);
    npm.child.kill("SIGKILL");
    await untilGone(servers);
    const isEmpty = async (): Promise<boolean> => (await processesNaming(stateDir)).length === 0;
    expect(await until(isEmpty, { clock: localClock, timeout: seconds(10), what: "the script to end" })).toBe(true);
  });

  test("Ctrl-C stops everything and is no failure, also while it starts", async () => {
    await using folder = await temporaryFolder();
    const stateDir = join(folder.path, "state");
    const up = startLocal(["up", "--state", stateDir]);
    const isUnderWay = async (): Promise<boolean> => (await processesNaming(`HOME=${stateDir}\0`)).length > 0;
    await until(isUnderWay, { clock: localClock, timeout: seconds(30), what: "the first server" });
    up.child.kill("SIGINT");
    expect(await up.ended).toMatchObject({ code: 0, stdout: "" });
    expect(await processesNaming(stateDir)).toEqual([]);
    expect(await readdir(stateDir)).toEqual(expect.not.arrayContaining(["env"]));
  });
});

describe("what is refused, with the way out", () => {
  test("a folder in which an environment runs", async () => {
    await using folder = await temporaryFolder();
    const stateDir = join(folder.path, "state");
    const up = startLocal(["up", "--state", stateDir]);
    await untilReady(up);
    const second = await local(["up", "--state", stateDir]);
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain(`${stateDir} belongs to a running environment (process ${up.child.pid}).`);
    expect(second.stderr).toContain(`npm run local -- down --state ${stateDir}`);
    expect((await local(["status", "--state", stateDir])).code).toBe(0);
    expect((await local(["down", "--state", stateDir])).code).toBe(0);
    expect((await up.ended).code).toBe(0);
  });

  test("[SEC-49] a folder with other files is neither written to nor deleted", async () => {
    await using folder = await temporaryFolder();
    const foreign = join(folder.path, "photos");
    await mkdir(foreign);
    await writeFile(join(foreign, "one.jpg"), "x");
    expect(await local(["up", "--state", foreign])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${foreign} holds files that no environment put there`),
    });
    expect(await local(["down", "--state", foreign, "--wipe"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("holds files"),
    });
    expect(await readdir(foreign)).toEqual(["one.jpg"]);
  });

  test("[SEC-49] a planted link is not followed", async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, "elsewhere"));
    await symlink(join(folder.path, "elsewhere"), join(folder.path, "link"));
    const linked = join(folder.path, "link");
    for (const args of [["up"], ["down", "--wipe"]]) {
      expect(await local([...args, "--state", linked])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("symbolic links are not followed"),
      });
    }
    expect(await readdir(join(folder.path, "elsewhere"))).toEqual([]);
  });

  const MISTAKES = [
    [
      "an unknown server",
      ["up", "--with", "kafka9"],
      "--with kafka9: there is only redis, etcd, mariadb, kafka, prometheus",
    ],
    ["an unknown option", ["up", "--stat", "x"], "Unknown option '--stat'"],
    ["an unknown command", ["upp"], "npm run local -- up"],
    ["no command", [], "npm run local -- up"],
  ] as const;
  test("no mistake is lost", () => expect(MISTAKES).toHaveLength(4));
  test.each(MISTAKES)("%s", async (_what, args, text) => {
    expect(await local(args)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(text) });
  });
});
