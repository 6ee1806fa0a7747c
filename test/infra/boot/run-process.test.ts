import { expect, test } from "vitest";
import type { Closed, Started } from "../../../src/infra/boot/boot-all.ts";
import { type ProcessSeams, runProcess } from "../../../src/infra/boot/run-process.ts";
import { millisOf } from "../../../src/lib/time.ts";

function rig() {
  const signals = new Map<string, () => void>();
  const exits: number[] = [];
  const seams: ProcessSeams = {
    onSignal: (name, take) => void signals.set(name, take),
    exit: (code) => void exits.push(code),
  };
  return { seams, exits, send: (name: "SIGINT" | "SIGTERM") => signals.get(name)?.() };
}

const started = (close: () => Promise<Closed>): Promise<Started<null>> =>
  Promise.resolve({ ok: true, value: null, took: millisOf(0), close });
const failure = { step: "db", phase: 2, type: "CONFIG", cause: "no", todo: "mend" } as const;

test("[R132] the first signal closes, and the process ends with 0", async () => {
  const { seams, exits, send } = rig();
  let closed = 0;
  const running = runProcess(() => started(async () => ((closed += 1), { stuck: [] })), seams);
  send("SIGTERM");
  expect(await running).toBe(0);
  expect({ closed, exits }).toEqual({ closed: 1, exits: [] });
});

test("[R132] a second signal ends the process at once, while it still closes", async () => {
  const { seams, exits, send } = rig();
  const { promise, resolve } = Promise.withResolvers<Closed>();
  const running = runProcess(() => started(() => promise), seams);
  send("SIGTERM");
  send("SIGINT");
  expect(exits).toEqual([130]);
  resolve({ stuck: [] });
  expect(await running).toBe(0);
});

test("what did not close in time does not keep the process", async () => {
  const { seams, exits, send } = rig();
  const running = runProcess(() => started(async () => ({ stuck: ["mq"] })), seams);
  send("SIGINT");
  expect(await running).toBe(1);
  expect(exits).toEqual([1]);
});

test("[R131] a start that failed ends with 1, one that was stopped with 0", async () => {
  const one = rig();
  const failed = async (): Promise<Started<null>> => ({ ok: false, failure, closed: { stuck: [] } });
  expect(await runProcess(failed, one.seams)).toBe(1);
  const two = rig();
  const stopped = runProcess(() => {
    two.send("SIGTERM");
    return failed();
  }, two.seams);
  expect(await stopped).toBe(0);
});
