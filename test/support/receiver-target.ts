import { randomBytes } from "node:crypto";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { sendTo } from "../../src/cli/conformance-send.ts";
import { type CaseResult, runConformance } from "../../src/receiver/conformance.ts";
import type { Case, Target } from "../../src/receiver/conformance-play.ts";
import { type ChildSettings, startReceiver } from "./receiver-process.ts";

/** A folder of its own with a fresh token in it, gone at the end. */
export async function trialFolder() {
  const folder = await mkdtempDisposable(join(tmpdir(), "turnout-receiver-"));
  const token = randomBytes(32).toString("hex");
  const tokenFile = join(folder.path, "token");
  await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
  return { path: folder.path, token, tokenFile, [Symbol.asyncDispose]: () => folder.remove() };
}

/** Until the wall clock shows another millisecond: so fine is `appliedAt` of our own receivers. */
export async function nextMillisecond(): Promise<void> {
  const now = Date.now();
  while (Date.now() === now) await setImmediate();
}

export const freshRun = (): Pick<Target, "run" | "epoch" | "tenant" | "pause"> => ({
  run: randomBytes(8).toString("hex"),
  epoch: Math.floor(Date.now() / 1000),
  tenant: { namespace: "prod", tenantId: `t${randomBytes(4).toString("hex")}` },
  pause: nextMillisecond,
});

/** The library in a process of its own, with everything its owner can do to it. */
export async function processTarget(settings: ChildSettings, token: string): Promise<Target & AsyncDisposable> {
  let child = await startReceiver(settings);
  return {
    ...freshRun(),
    authenticates: true,
    send: (request) => sendTo({ origin: child.origin, token }, request),
    restart: async () => {
      await child.kill();
      child = await startReceiver(settings);
    },
    failNext: async (tenant) => void (await child.tell("fail", tenant)),
    effects: (tenant) => child.tell("count", tenant),
    [Symbol.asyncDispose]: () => child.kill(),
  };
}

export async function conform(target: Target, cases?: readonly Case[]): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  for await (const result of runConformance(target, cases)) results.push(result);
  return results;
}

/** What a failed test shows: one line per case that did not pass. */
export const notPassed = (results: readonly CaseResult[]): readonly string[] =>
  results.filter(({ outcome }) => outcome !== "passed").map(({ id, outcome, detail }) => `${id} ${outcome}: ${detail}`);
