import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { MODES } from "../../deployment/demo/misbehaviour.ts";
import { sendTo } from "../../src/cli/conformance-send.ts";
import { until } from "../support/egress/until.ts";
import { aConfiguration, fenceOf, TENANT } from "../support/receiver-build.ts";
import { conform, freshRun, notPassed, trialFolder } from "../support/receiver-target.ts";

const DEMO = fileURLToPath(new URL("../../deployment/demo/receiver.ts", import.meta.url));

interface Line {
  readonly verdict: string;
  readonly fence?: string;
  readonly unit: string;
}

async function startDemo(folder: { readonly path: string; readonly tokenFile: string; readonly token: string }) {
  const store = join(folder.path, "demo.db");
  const child: ChildProcess = spawn(
    process.execPath,
    [DEMO, "--unit", "green", "--token-file", folder.tokenFile, "--store", store],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exited = once(child, "exit") as Promise<[number | null]>;
  if (child.stdout === null) throw new Error("no output");
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { port, controlPort } = JSON.parse(line) as { port: number; controlPort: number };
  const origin = `http://127.0.0.1:${port}`;
  const send = (method: string, headers: Record<string, string> = {}, body?: Uint8Array, timeoutMs = 5000) =>
    sendTo(
      { origin, token: folder.token, timeoutMs },
      { method, path: `/turnout/v1/tenants/${TENANT}`, headers, as: "known", ...(body === undefined ? {} : { body }) },
    );
  const textOf = async (answer: ReturnType<typeof send>) => {
    const { status, body } = await answer;
    return { status, text: Buffer.from(body).toString() };
  };
  return {
    origin,
    put: (seq: number, version: number, timeoutMs?: number) =>
      textOf(
        send(
          "PUT",
          {
            "turnout-tenant": TENANT,
            "turnout-fence": fenceOf(seq),
            "turnout-base": fenceOf(seq - 1),
            "idempotency-key": `op${seq}`,
            "content-type": "application/json",
          },
          new TextEncoder().encode(JSON.stringify(aConfiguration(version))),
          timeoutMs,
        ),
      ),
    get: () => textOf(send("GET")),
    version: async () => (JSON.parse((await textOf(send("GET"))).text) as { version?: number }).version,
    control: (order: object) => tell(controlPort, order),
    lines: async () => {
      const text = await readFile(`${store}.log`, "utf8");
      return text
        .trim()
        .split("\n")
        .map((each) => JSON.parse(each) as Line);
    },
    stop: async () => {
      child.kill("SIGTERM");
      return (await exited)[0];
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

async function tell(port: number, order: object): Promise<number> {
  const outgoing = httpRequest({ host: "127.0.0.1", port, path: "/control", method: "POST", agent: false });
  outgoing.end(JSON.stringify(order));
  const [incoming] = (await once(outgoing, "response")) as [{ statusCode?: number; resume(): void }];
  incoming.resume();
  return incoming.statusCode ?? 0;
}

describe("the demo's receiver", () => {
  test("keeps the rules of the conformance suite, and ends on SIGTERM", async () => {
    await using folder = await trialFolder();
    await using demo = await startDemo(folder);
    const target = {
      ...freshRun(),
      authenticates: true,
      send: (request: Parameters<typeof sendTo>[1]) => sendTo({ origin: demo.origin, token: folder.token }, request),
      failNext: async (tenant: string) => void (await demo.control({ mode: "fail", tenant, times: 1 })),
    };
    const unmet = notPassed(await conform(target));
    expect(unmet.every((line) => line.includes("notTried: nobody can restart"))).toBe(true);
    expect(unmet).toHaveLength(3);
    expect(await demo.stop()).toBe(0);
  });

  test("writes down every effect and every refusal, in order", async () => {
    await using folder = await trialFolder();
    await using demo = await startDemo(folder);
    await demo.put(5, 42);
    await demo.put(5, 42);
    await demo.put(4, 41);
    await demo.put(6, 41);
    const lines = await demo.lines();
    expect(lines.map(({ verdict, fence }) => [verdict, fence])).toEqual([
      ["applied", fenceOf(5)],
      ["repeated", fenceOf(5)],
      ["Fenced", fenceOf(4)],
      ["applied", fenceOf(6)],
    ]);
    expect(lines[0]).toMatchObject({
      unit: "green",
      tenant: TENANT,
      opId: "op5",
      base: fenceOf(4),
      version: 42,
      deployUnit: "green",
    });
  });

  test("remembers over a restart", async () => {
    await using folder = await trialFolder();
    const first = await startDemo(folder);
    await first.put(5, 42);
    await first[Symbol.asyncDispose]();
    await using again = await startDemo(folder);
    expect((await again.put(4, 41)).text).toContain("Fenced");
    expect(await again.version()).toBe(42);
  });
});

describe("told to misbehave, it", () => {
  const misbehaving = async (order: object) => {
    const folder = await trialFolder();
    const demo = await startDemo(folder);
    await demo.put(5, 41);
    expect(await demo.control({ tenant: TENANT, ...order })).toBe(200);
    const dispose = async (): Promise<void> => {
      await demo[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    };
    return { ...demo, [Symbol.asyncDispose]: dispose };
  };

  test("refuses without an effect, and with the status asked for", async () => {
    await using demo = await misbehaving({ mode: "refuse", status: 429, times: 1 });
    expect(await demo.put(6, 42)).toEqual({ status: 429, text: '{"code":"Refused"}' });
    expect(await demo.version()).toBe(41);
    expect((await demo.put(6, 42)).status).toBe(200); // once was asked for
  });

  test("fails inside, and remembers the fence", async () => {
    await using demo = await misbehaving({ mode: "fail" });
    expect(await demo.put(7, 42)).toEqual({ status: 500, text: '{"code":"ApplyFailed"}' });
    expect((await demo.put(6, 42)).text).toContain("Fenced");
  });

  test("loses the answer of what it carried out", async () => {
    await using demo = await misbehaving({ mode: "lose-answer" });
    await expect(demo.put(6, 42)).rejects.toThrow(/socket hang up|ECONNRESET/);
    expect(await demo.version()).toBe(42);
  });

  test("stays silent without an effect", async () => {
    await using demo = await misbehaving({ mode: "silent" });
    await expect(demo.put(6, 42, 300)).rejects.toThrow(/abort/i);
    expect(await demo.version()).toBe(41);
  });

  test("is slow, and carries out what nobody waits for any more", async () => {
    await using demo = await misbehaving({ mode: "slow", ms: 300, times: 1 });
    await expect(demo.put(6, 42, 100)).rejects.toThrow(/abort/i);
    expect(await demo.version()).toBe(41);
    await until(demo.version, (version) => version === 42);
  });

  test.each([
    ["a page that is no JSON", "non-json", /^<html>/],
    ["a list of failures", "partial", /"failList":\["shard-3"\]/],
  ])("answers with %s to what it carried out", async (_what, mode, text) => {
    await using demo = await misbehaving({ mode });
    const answer = await demo.put(6, 42);
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(text);
    expect(await demo.version()).toBe(42);
  });

  test("lags behind for as many looks as asked for", async () => {
    await using demo = await misbehaving({ mode: "lag", times: 2 });
    await demo.put(6, 42);
    expect([await demo.version(), await demo.version(), await demo.version()]).toEqual([41, 41, 42]);
  });

  test("reports an old version for ever, until told otherwise", async () => {
    await using demo = await misbehaving({ mode: "old-version" });
    await demo.put(6, 42);
    expect([await demo.version(), await demo.version()]).toEqual([41, 41]);
    await demo.control({ mode: "ok", tenant: TENANT });
    expect(await demo.version()).toBe(42);
  });

  test("cannot be read", async () => {
    await using demo = await misbehaving({ mode: "unreadable" });
    expect((await demo.get()).status).toBe(503);
    expect((await demo.put(6, 42)).status).toBe(200);
  });

  test("misbehaves towards the tenant named, else towards all", async () => {
    await using demo = await misbehaving({ mode: "refuse", tenant: "prod/other" });
    expect((await demo.put(6, 42)).status).toBe(200);
    await demo.control({ mode: "refuse" });
    expect((await demo.put(7, 42)).status).toBe(422);
  });

  test("takes no order that it does not know", async () => {
    await using demo = await misbehaving({ mode: "ok" });
    expect(await demo.control({ mode: "explode" })).toBe(400);
    expect(await demo.control({ mode: "toString" })).toBe(400);
  });

  test("every mode is tried above", () => {
    expect(Object.keys(MODES)).toEqual([
      "ok",
      "refuse",
      "fail",
      "slow",
      "silent",
      "lose-answer",
      "non-json",
      "partial",
      "lag",
      "old-version",
      "unreadable",
    ]);
  });
});
