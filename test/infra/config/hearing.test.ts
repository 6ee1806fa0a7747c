import { expect, test } from "vitest";
import { Hearing } from "../../../src/infra/config/hearing.ts";
import { noMetrics } from "../../../src/infra/metrics/metrics.ts";

/** A signal that counts who listens to it. */
function counted(): { readonly signal: AbortSignal; readonly abort: () => void; readonly listeners: () => number } {
  const stop = new AbortController();
  let listeners = 0;
  const { signal } = stop;
  const listen = signal.addEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof listen>): void => {
    listeners += 1;
    listen(...args);
  };
  return { signal, abort: () => stop.abort(), listeners: () => listeners };
}

test("waiting for every layer listens to the end once, however often a value comes meanwhile", async () => {
  const hearing = new Hearing(["centre global", "centre service"], noMetrics);
  const late = counted();
  let whole = false;
  const waiting = hearing.whole(late.signal).then(() => (whole = true));
  for (let round = 0; round < 50; round += 1) {
    hearing.take("centre global", { kind: "value", found: null });
    await Promise.resolve();
    await Promise.resolve();
  }
  expect([late.listeners(), whole]).toEqual([1, false]);
  hearing.take("centre service", { kind: "value", found: null });
  expect(await waiting).toBe(true);
});

test("and ends with the signal where a layer is never heard", async () => {
  const hearing = new Hearing(["centre service"], noMetrics);
  const late = counted();
  const waiting = hearing.whole(late.signal);
  late.abort();
  await waiting;
  expect(hearing.known()).toEqual({ "centre global": null });
});
