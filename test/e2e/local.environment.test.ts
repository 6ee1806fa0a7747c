import { execFile } from "node:child_process";
import { lstat, readdir, readFile } from "node:fs/promises";
import { request } from "node:https";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";

import { describe, expect, inject, test } from "vitest";

import { parseEnv } from "../../deployment/local/env-file.ts";
import { connectEnvironment, openEnvironment } from "../../deployment/local/environment.ts";
import { listeners, socketsOf } from "../../deployment/local/listeners.ts";

const execute = promisify(execFile);
const env = inject("env");
const stateDir = env.TURNOUT_STATE ?? "";
const silent = (): void => {};

async function kubectl(args: readonly string[], { KUBECTL = "", ...kubeEnv } = env): Promise<string> {
  const { stdout } = await execute(KUBECTL, [...args], { env: { ...process.env, ...kubeEnv } });
  return stdout.trim();
}

/** 0 for a file that is gone in between. */
const modeOf = (path: string): Promise<number> =>
  lstat(path).then(
    ({ mode }) => mode,
    () => 0,
  );

/** Status of a GET, whatever the certificate. */
function statusOf(url: string, token?: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const outgoing = request(url, { rejectUnauthorized: false, headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    outgoing.on("error", reject).end();
  });
}

/** What Redis answers to lines sent as they are, up to the end of the connection. */
async function redisSays(lines: string): Promise<string> {
  const [host, port] = (env.REDIS_ADDRESS ?? "").split(":");
  const socket = connect({ host: host ?? "", port: Number(port) });
  socket.end(`${lines}\r\nQUIT\r\n`);
  const answers = (await text(socket)).split("\r\n");
  return answers.slice(0, -2).join("\r\n").concat("\r\n");
}

const NEEDED = [
  ["TURNOUT_STATE", "KUBECTL", "HELM", "APISERVER_URL", "ETCD_URL"],
  ["KUBECONFIG", "KUBECONFIG_ADMIN", "KUBECONFIG_OPERATOR", "KUBECONFIG_USER", "KUBECONFIG_USER2"],
  ["REDIS_URL", "REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE"],
].flat();

describe("DIR/env", () => {
  test("names everything that the demo, the tests and the benchmarks need", () => {
    expect(Object.keys(env)).toEqual(expect.arrayContaining(NEEDED));
  });

  test("a shell reads from it what Node reads from it", async () => {
    const file = join(stateDir, "env");
    const { stdout } = await execute("sh", ["-c", `set -a; . "$0"; exec env -0`, file], {
      env: { PATH: process.env.PATH },
    });
    const seen = new Map(
      stdout.split("\0").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
    const values = parseEnv(await readFile(file, "utf8"));
    expect(Object.keys(values).map((name) => [name, seen.get(name)])).toEqual(Object.entries(values));
  });

  test("[SEC-49] nobody else may read or enter anything below DIR", async () => {
    const paths = [stateDir, ...(await readdir(stateDir, { recursive: true })).map((name) => join(stateDir, name))];
    const own = paths.filter((path) => !path.startsWith(join(stateDir, "kube-cache/"))); // there kubectl decides
    const modes = await Promise.all(own.map(async (path) => ({ path, mode: await modeOf(path) })));
    expect(modes.length).toBeGreaterThan(20);
    expect(modes.filter(({ mode }) => (mode & 0o077) !== 0)).toEqual([]);
  });

  test("[SEC-49] no password or token stands in a command line", async () => {
    const { servers } = await connectEnvironment(stateDir);
    const tokens = (await readFile(join(stateDir, "secrets", "tokens.csv"), "utf8"))
      .split("\n")
      .map((row) => row.split(",")[0] ?? "");
    const secrets = [env.REDIS_PASSWORD ?? "", ...tokens].filter((secret) => secret.length >= 26);
    expect(secrets).toHaveLength(6);
    for (const { pid } of servers) {
      const line = await readFile(`/proc/${pid}/cmdline`, "utf8");
      expect(secrets.filter((secret) => line.includes(secret))).toEqual([]);
    }
  });
});

describe("the servers", () => {
  const WHO = [
    ["KUBECONFIG", "admin", ["system:masters", "system:authenticated"]],
    ["KUBECONFIG_ADMIN", "admin", ["system:masters", "system:authenticated"]],
    [
      "KUBECONFIG_OPERATOR",
      "system:serviceaccount:turnout-system:turnout",
      ["system:serviceaccounts", "system:serviceaccounts:turnout-system", "system:authenticated"],
    ],
    ["KUBECONFIG_USER", "alice", ["turnout-users", "system:authenticated"]],
    ["KUBECONFIG_USER2", "bob", ["turnout-users", "system:authenticated"]],
  ] as const;
  test("no identity is lost", () => expect(WHO).toHaveLength(5));
  test.each(WHO)("%s speaks as %s", async (variable, username, groups) => {
    const answer = await kubectl(["auth", "whoami", "-o", "json", "--kubeconfig", env[variable] ?? ""]);
    expect(JSON.parse(answer)).toMatchObject({ status: { userInfo: { username, groups } } });
  });

  test("real RBAC: a plain user may not read what nobody granted", async () => {
    const asked = kubectl(["get", "namespaces", "--kubeconfig", env.KUBECONFIG_USER ?? ""]);
    await expect(asked).rejects.toThrow(/User "alice" cannot list resource "namespaces"/);
  });

  test("the operator's account is there", async () => {
    expect(await kubectl(["get", "serviceaccount", "turnout", "-n", "turnout-system", "-o", "name"])).toBe(
      "serviceaccount/turnout",
    );
  });

  test("the controllers run: a new namespace gets its service account", async () => {
    const name = `local-${process.pid}`;
    await kubectl(["create", "namespace", name]);
    await kubectl(["wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s"]);
    expect(await kubectl(["delete", "namespace", name, "--timeout=30s"])).toContain("deleted");
  });

  test("[SEC-50] listen on loopback only", async () => {
    const { servers } = await connectEnvironment(stateDir);
    const all = await listeners();
    const seen = await Promise.all(
      servers.map(async ({ name, address, pid }) => {
        const sockets = await socketsOf(pid ?? 0);
        const open = all.filter(({ inode }) => sockets.has(inode));
        return {
          name,
          isHere: open.some((one) => `${one.address}:${one.port}` === address),
          addresses: open.map((one) => one.address),
        };
      }),
    );
    expect(seen.map(({ name, isHere }) => [name, isHere])).toEqual([
      ["etcd", true],
      ["kube-apiserver", true],
      ["redis", true],
      ["etcd-centre", true],
      ["mariadb", true],
      ["kafka", true],
      ["kube-controller-manager", true],
    ]);
    expect(new Set(seen.flatMap(({ addresses }) => addresses))).toEqual(new Set(["127.0.0.1"]));
  });

  test("[SEC-50] answer nobody who has no token or password", async () => {
    expect(await statusOf(`${env.APISERVER_URL}/readyz`)).toBe(401);
    expect(await statusOf(`${env.APISERVER_URL}/readyz`, "guessed")).toBe(401);
    expect(await redisSays("PING")).toMatch(/^-NOAUTH /);
    expect(await redisSays("AUTH guessed\r\nPING")).toMatch(/^-WRONGPASS [^\r]*\r\n-NOAUTH /);
    expect(await redisSays(`AUTH ${env.REDIS_PASSWORD}\r\nPING`)).toBe("+OK\r\n+PONG\r\n");
  });
});

describe("two environments", () => {
  test("[SEC-50] run side by side and share neither port, data nor credentials", async () => {
    await using other = await openEnvironment({ with: ["redis"], print: silent });
    const ports = [env, other.env].flatMap(({ APISERVER_URL, ETCD_URL, REDIS_ADDRESS }) => [
      APISERVER_URL,
      ETCD_URL,
      REDIS_ADDRESS,
    ]);
    expect(new Set(ports).size).toBe(6);

    await kubectl(["create", "namespace", "only-here"], other.env);
    await expect(kubectl(["get", "namespace", "only-here"])).rejects.toThrow(/not found/);

    const { token } = JSON.parse(await readFile(env.KUBECONFIG_ADMIN ?? "", "utf8")).users[0].user;
    const foreign = kubectl([
      "get",
      "namespaces",
      "--token",
      token,
      "--kubeconfig",
      "/dev/null",
      "--server",
      other.env.APISERVER_URL ?? "",
      "--insecure-skip-tls-verify",
    ]);
    await expect(foreign).rejects.toThrow(/Unauthorized|must be logged in/i);
    expect(other.env.REDIS_PASSWORD).not.toBe(env.REDIS_PASSWORD);
  });

  test("one without a control plane has only the servers beside it, for a cluster that runs elsewhere", async () => {
    await using other = await openEnvironment({ with: ["redis"], controlPlane: false, print: silent });
    expect(other.servers.map(({ name }) => name)).toEqual(["redis"]);
    expect(Object.keys(other.env).filter((name) => /^(?:KUBECONFIG|APISERVER|ETCD)/.test(name))).toEqual([]);
  });

  test("one that is closed leaves neither process nor folder, and may be closed again", async () => {
    const other = await openEnvironment({ with: [], print: silent });
    const pids = other.servers.map(({ pid }) => pid);
    expect(pids).toHaveLength(3);
    await other.close();
    await other.close();
    expect(other.servers.map(({ pid }) => pid)).toEqual([null, null, null]);
    await expect(lstat(other.stateDir)).rejects.toThrow(/ENOENT/);
  });
});
