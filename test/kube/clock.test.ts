import { describe, expect, test } from "vitest";

import { API_TIME_RESOLUTION, apiTime, breathe, systemClock, systemRng } from "../../src/kube/clock.ts";
import { instantOf, millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { ManualClock, NOON } from "../support/manual-clock.ts";

const header = (at: number): string => new Date(at).toUTCString();

describe("API-server time", () => {
  test("is the Date header plus monotonic time since, whatever the local wall clock says", async () => {
    const clock = new ManualClock(instantOf(0));
    const time = apiTime(clock);
    time.observe(header(NOON));
    await clock.advance(millisOf(2500));
    expect(time.now()).toBe(NOON + 2500);
  });

  test("is not known before the first answer, and then never guessed from the wall clock", () => {
    const time = apiTime(new ManualClock());
    expect(time.known).toBe(false);
    expect(() => time.now()).toThrow("not known");
    time.observe("no date at all");
    expect(time.known).toBe(false);
    time.observe(header(NOON));
    expect(time.known).toBe(true);
  });

  test("[S19] lies behind the server's clock by less than its resolution, never ahead, and is steady between headers", async () => {
    const clock = new ManualClock();
    const time = apiTime(clock);
    const server = (): number => NOON + 700 + clock.monotonic(); // the header cuts the 700 ms off
    const behind: number[] = [];
    for (let i = 0; i < 50; i += 1) {
      time.observe(header(server()));
      behind.push(server() - time.now());
      await clock.advance(millisOf(130));
    }
    expect(Math.min(...behind)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...behind)).toBeLessThan(API_TIME_RESOLUTION);
    // After some headers the best bound is found, and stays.
    expect(new Set(behind.slice(10)).size).toBe(1);
  });

  test("an answer that took long does not pull it back", async () => {
    const clock = new ManualClock();
    const time = apiTime(clock);
    time.observe(header(NOON));
    const [sentAt, written] = [clock.monotonic(), header(NOON)];
    await clock.advance(seconds(14));
    time.observe(written, sentAt);
    expect(time.now()).toBe(NOON + 14_000);
  });

  test("never goes back, even where the server's clock does, and follows it from there", async () => {
    const clock = new ManualClock();
    await clock.advance(minutes(3));
    const time = apiTime(clock);
    time.observe(header(NOON));
    const before = time.now();
    time.observe(header(NOON - minutes(10)));
    expect(time.now()).toBe(before);
    await clock.advance(minutes(5));
    expect(time.now()).toBe(before);
    await clock.advance(minutes(6));
    expect(time.now()).toBe(NOON - minutes(10) + API_TIME_RESOLUTION + minutes(11));
  });

  test("a server's clock that goes ahead is followed at once", () => {
    const time = apiTime(new ManualClock());
    time.observe(header(NOON));
    time.observe(header(NOON + minutes(10)));
    expect(time.now()).toBe(NOON + minutes(10));
  });
});

describe("the system's own", () => {
  test("[S19] sleep never ends early by the monotonic clock", async () => {
    for (let i = 0; i < 20; i += 1) {
      const since = systemClock.monotonic();
      await systemClock.sleep(millisOf(1.3));
      expect(systemClock.monotonic() - since).toBeGreaterThanOrEqual(1.3);
    }
  });

  test("a sleep ends at once with the signal's reason, before or during it", async () => {
    const reason = new Error("enough");
    await expect(systemClock.sleep(minutes(1), AbortSignal.abort(reason))).rejects.toBe(reason);
    const stop = new AbortController();
    const asleep = systemClock.sleep(minutes(1), stop.signal);
    stop.abort(reason);
    await expect(asleep).rejects.toBe(reason);
  });

  test("a sleep longer than a timer can take does not end at once", async () => {
    const stop = new AbortController();
    let ended = false;
    const asleep = systemClock.sleep(minutes(100_000), stop.signal).then(
      () => (ended = true),
      () => false,
    );
    await systemClock.sleep(millisOf(20));
    expect(ended).toBe(false);
    stop.abort();
    expect(await asleep).toBe(false);
  });

  test("the wall clock is the machine's", () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
  });

  test("randomness is uniform in [0, 1), identifiers have 26 characters and do not repeat", () => {
    const floats = Array.from({ length: 2000 }, () => systemRng.float());
    expect(floats.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(Math.abs(floats.reduce((a, b) => a + b, 0) / 2000 - 0.5)).toBeLessThan(0.05);
    const ids = Array.from({ length: 1000 }, () => systemRng.id());
    expect(ids.every((id) => /^[0-9a-z]{26}$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(1000);
  });

  test("breathe lets the event loop have a turn", async () => {
    let turned = false;
    setImmediate(() => (turned = true));
    await breathe();
    expect(turned).toBe(true);
  });
});
