import { expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { within } from "../../src/receiver/within.ts";
import { ManualClock } from "../support/manual-clock.ts";

const never = new Promise<string>(() => undefined);

test("gives what the work comes to, and leaves no timer behind", async () => {
  const clock = new ManualClock();
  expect(await within(Promise.resolve("done"), { timeout: seconds(1), clock }, "late")).toBe("done");
  expect(clock.sleeping).toBe(0);
});

test("throws what the work throws", async () => {
  const clock = new ManualClock();
  await expect(within(Promise.reject(new Error("no")), { timeout: seconds(1), clock }, "late")).rejects.toThrow("no");
  expect(clock.sleeping).toBe(0);
});

test("says late once the time has passed", async () => {
  const clock = new ManualClock();
  const found = within(never, { timeout: seconds(1), clock }, "late");
  await clock.advance(seconds(1));
  expect(await found).toBe("late");
});

test("says late as soon as the signal is aborted", async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const found = within(never, { timeout: seconds(1), clock, signal: stop.signal }, "late");
  stop.abort();
  expect(await found).toBe("late");
  expect(clock.sleeping).toBe(0);
});
