import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { untilAborted, withDeadline } from "../../src/lib/deadline.ts";
import { ManualClock } from "../support/manual-clock.ts";

const forever = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }),
  );

describe("work with a deadline", () => {
  test("that ends in time leaves no timer", async () => {
    const clock = new ManualClock();
    const bound = { clock, timeout: seconds(3), signal: new AbortController().signal };
    await expect(withDeadline(bound, () => Promise.resolve(7))).resolves.toBe(7);
    expect(clock.sleeping).toBe(0);
  });

  test("that does not is aborted", async () => {
    const clock = new ManualClock();
    const work = withDeadline({ clock, timeout: seconds(3), signal: new AbortController().signal }, forever);
    const ended = work.catch((error: unknown) => error);
    await clock.advance(seconds(3));
    expect(await ended).toMatchObject({ name: "AbortError" });
    expect(clock.sleeping).toBe(0);
  });

  test("ends with its caller, and a failure of the work is its own", async () => {
    const clock = new ManualClock();
    const caller = new AbortController();
    const work = withDeadline({ clock, timeout: seconds(3), signal: caller.signal }, forever);
    caller.abort(new Error("stopped"));
    await expect(work).rejects.toThrow("stopped");
    const bound = { clock, timeout: seconds(3), signal: new AbortController().signal };
    await expect(withDeadline(bound, () => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
    expect(clock.sleeping).toBe(0);
  });
});

describe("waiting for work no longer than a signal", () => {
  test("the work comes first", async () => {
    await expect(untilAborted(Promise.resolve(7), new AbortController().signal)).resolves.toBe(7);
    await expect(untilAborted(Promise.reject(new Error("mine")), new AbortController().signal)).rejects.toThrow("mine");
  });

  test("the signal comes first, or was there before", async () => {
    const ending = new AbortController();
    const waited = untilAborted(new Promise(() => {}), ending.signal);
    ending.abort(new Error("stopped"));
    await expect(waited).rejects.toThrow("stopped");
    await expect(untilAborted(new Promise(() => {}), ending.signal)).rejects.toThrow("stopped");
  });
});
