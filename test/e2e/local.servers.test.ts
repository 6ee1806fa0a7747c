import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";

import { applyManifests } from "../../deployment/local/apply.ts";
import { connectEnvironment, openEnvironment } from "../../deployment/local/environment.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { kernelLifeline, watchedLifeline } from "../../deployment/local/lifeline.ts";
import { until } from "../../deployment/local/poll.ts";
import { identify, isAlive } from "../../deployment/local/process-identity.ts";
import { seconds } from "../../src/lib/time.ts";
import { ROOT, temporaryFolder, untilGone } from "./local-cli.ts";

const execute = promisify(execFile);

async function kubectl(
  { KUBECTL = "", ...env }: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<string> {
  const { stdout } = await execute(KUBECTL, [...args], { env: { ...process.env, ...env } });
  return stdout.trim();
}

function openRedis(url: string): Redis {
  return new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
}

describe("one server alone", () => {
  test("is stopped and started again under its address, with its data, also from another process", async () => {
    const told: string[] = [];
    await using environment = await openEnvironment({ with: ["redis"], print: (line) => told.push(line) });
    const remote = await connectEnvironment(environment.stateDir);
    const redis = remote.server("redis");
    const [address, firstPid] = [redis.address, redis.pid];
    const client = openRedis(environment.env.REDIS_URL ?? "");
    await client.set("tenant", "acme");
    client.disconnect();

    await redis.stop("SIGKILL");
    expect([redis.pid, environment.server("redis").pid]).toEqual([null, null]);
    await redis.stop();
    await redis.start();
    await redis.start();
    expect(redis.address).toBe(address);
    expect(redis.pid).not.toBe(firstPid);
    expect(redis.pid).toBe(environment.server("redis").pid);
    const reborn = openRedis(environment.env.REDIS_URL ?? "");
    expect(await reborn.get("tenant")).toBe("acme");
    reborn.disconnect();

    await kubectl(environment.env, ["create", "namespace", "kept"]);
    for (const name of ["kube-apiserver", "etcd"] as const) {
      await environment.server(name).stop();
      await expect(kubectl(environment.env, ["get", "namespace", "kept", "--request-timeout=2s"])).rejects.toThrow(
        /refused|etcd|time|EOF/i,
      );
      await environment.server(name).start();
      expect(await kubectl(environment.env, ["get", "namespace", "kept", "-o", "name"])).toBe("namespace/kept");
    }
    expect(told).toEqual([]);
    expect(() => environment.server("redis2" as "redis")).toThrow(/There is no server "redis2" here/);
  });

  test("that dies by itself is told, frozen it can be stopped, and on a taken port it says who has it", async () => {
    const told: string[] = [];
    await using environment = await openEnvironment({ with: ["redis"], print: (line) => told.push(line) });
    const redis = environment.server("redis");
    const known = identify(redis.pid ?? 0);
    if (known === null) throw new Error("redis does not run");

    process.kill(known.pid, "SIGSTOP");
    await redis.stop();
    expect([isAlive(known), told]).toEqual([false, []]);

    const port = Number(redis.address.split(":")[1]);
    const squatter = createServer().listen(port, "127.0.0.1");
    await once(squatter, "listening");
    await expect(redis.start()).rejects.toThrow(
      `redis cannot listen on ${redis.address}: ${await nameOf(process.pid)} (process ${process.pid}) has taken the port.`,
    );
    squatter.close();
    await redis.start();

    process.kill(redis.pid ?? 0, "SIGKILL");
    await until(() => redis.pid === null, { clock: localClock, timeout: seconds(10), what: "its end to be seen" });
    expect(told).toEqual([
      expect.stringMatching(/^redis ended by itself \(signal SIGKILL\); its log: \/.*redis\.log$/),
    ]);
  });
});

const nameOf = async (pid: number): Promise<string> => (await readFile(`/proc/${pid}/comm`, "utf8")).trim();

describe("manifests and audit", () => {
  test("an applied CRD is served; the log has the operator's requests and everybody's writes, and no reads of others", async () => {
    await using folder = await temporaryFolder();
    await using environment = await openEnvironment({ with: [], audit: true, print: () => {} });
    const crd = join(folder.path, "crd.json");
    await writeFile(crd, JSON.stringify(WIDGETS));
    await applyManifests(environment.env, [crd]);
    await applyManifests(environment.env, [crd]);
    expect(await kubectl(environment.env, ["get", "widgets", "-A", "-o", "name"])).toBe("");
    await kubectl(environment.env, ["get", "namespaces"]);
    const asOperator = { ...environment.env, KUBECONFIG: environment.env.KUBECONFIG_OPERATOR ?? "" };
    await expect(kubectl(asOperator, ["get", "widgets.example.com"])).rejects.toThrow(/Forbidden/);
    await expect(applyManifests(environment.env, [join(folder.path, "none.json")])).rejects.toThrow(
      /kubectl apply .* failed/,
    );

    await environment.server("kube-apiserver").stop(); // its log is whole
    const lines = (await readFile(environment.env.AUDIT_LOG ?? "", "utf8")).trim().split("\n");
    const seen = lines
      .map((line) => JSON.parse(line))
      .map(
        ({ user, verb, objectRef, responseStatus }) =>
          `${user.username} ${verb} ${objectRef?.resource} ${responseStatus?.code}`,
      );
    expect(seen).toContain("admin patch customresourcedefinitions 201");
    expect(seen).toContain("system:serviceaccount:turnout-system:turnout list widgets 403");
    expect(
      seen.filter((line) => /^(?:admin (?:get|list|watch)|system:(?:apiserver|kube-controller-manager)) /.test(line)),
    ).toEqual([]);
  });
});

const WIDGETS = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com" },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { kind: "Widget", plural: "widgets" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
};

describe.each([
  ["setpriv", kernelLifeline.name],
  ["a watchdog, where there is no such setpriv", watchedLifeline.name],
])("a process held by %s", (_what, open) => {
  const SCRIPT = `
    const { ${open} } = await import(process.argv[1]);
    const held = ${open}().spawn({ file: "sleep", args: ["1000"], env: process.env, stdio: "ignore" });
    ${open}().spawn({ file: "true", args: [], env: process.env, stdio: "ignore" }).on("exit", () => console.log(held.pid));
  `;
  test("ends when its parent is killed, whatever its session", async () => {
    const module = join(ROOT, "deployment", "local", "lifeline.ts");
    const parent = spawn(process.execPath, ["--input-type=module", "-e", SCRIPT, module], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [said] = (await once(parent.stdout, "data")) as [Buffer];
    const held = identify(Number(said.toString()));
    if (held === null) throw new Error("the process did not start");
    try {
      const umask = /^Umask:\s+(\d+)/m.exec(await readFile(`/proc/${held.pid}/status`, "utf8"))?.[1];
      expect(umask).toBe("0077");
      parent.kill("SIGKILL");
      await untilGone([held]);
    } finally {
      parent.kill("SIGKILL");
      if (isAlive(held)) process.kill(held.pid, "SIGKILL");
    }
    expect(isAlive(held)).toBe(false);
  });
});

describe("a process", () => {
  test("is known by more than its number", () => {
    const self = identify(process.pid);
    if (self === null) throw new Error("/proc does not show this process");
    expect(self).toEqual({
      pid: process.pid,
      startTicks: expect.stringMatching(/^\d+$/),
      bootId: expect.stringMatching(/^[\da-f-]{36}$/),
    });
    expect(isAlive(self)).toBe(true);
    expect(isAlive({ ...self, startTicks: "1" })).toBe(false);
    expect(isAlive({ ...self, bootId: "of another boot" })).toBe(false);
    expect(identify(2 ** 22 + 1)).toBeNull();
  });
});
