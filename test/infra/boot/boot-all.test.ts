import { describe, expect, test } from "vitest";
import { type Boot, bootAll, type Started, type Step } from "../../../src/infra/boot/boot-all.ts";
import { openLog } from "../../../src/infra/clog/log.ts";
import { openHealth } from "../../../src/infra/health/health.ts";
import { InfraError } from "../../../src/lib/infra-error.ts";
import { type Millis, millisOf, seconds } from "../../../src/lib/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const hangs = (): Promise<never> => new Promise(() => undefined);
const broken = new InfraError({
  component: "cache",
  type: "CONFIG",
  code: "AuthRefused",
  message: "cache: AUTH: Redis refuses the user",
  retryable: false,
});

function rig(budget?: Millis) {
  const clock = new ManualClock();
  const lines: Record<string, unknown>[] = [];
  const log = openLog({
    level: "debug",
    clock,
    destination: { write: (line) => void lines.push(JSON.parse(line) as never) },
  });
  const health = openHealth({ clock });
  const stop = new AbortController();
  const events: string[] = [];
  const step = (name: string, about: Partial<Step<string>> = {}): Step<string> => ({
    name,
    phase: 2,
    todo: `mend ${name}`,
    open: () => {
      events.push(`open ${name}`);
      return name;
    },
    close: () => void events.push(`close ${name}`),
    ...about,
  });
  const start = <K>(compose: (boot: Boot) => Promise<K>): Promise<Started<K>> =>
    bootAll(compose, { clock, log, health, signal: stop.signal, ...(budget === undefined ? {} : { budget }) });
  return { clock, health, stop, events, step, start, said: () => lines.map(({ message }) => String(message)) };
}

const ORDER = ["log", "coord", "config", "clog", "metrics", "cache", "server"];
const phaseOf = (name: string): 1 | 2 => (name === "log" || name === "coord" ? 1 : 2);

describe("[R131][R144] order", () => {
  test("steps open one after the other and close in reverse; both orders are logged", async () => {
    const { start, step, events, said, health } = rig();
    const started = await start(async (boot) => {
      for (const name of ORDER) await boot.required(step(name, { phase: phaseOf(name) }));
      expect(health.started).toBe(false);
    });
    expect(events).toEqual(ORDER.map((name) => `open ${name}`));
    expect(health.started).toBe(true);
    if (!started.ok) throw new Error("not started");
    expect(await started.close()).toEqual({ stuck: [] });
    expect(events.slice(ORDER.length)).toEqual(ORDER.toReversed().map((name) => `close ${name}`));
    expect(said()).toEqual([
      ...ORDER.map((name) => `${name} is open`),
      "started in 0s",
      ...ORDER.toReversed().map((name) => `${name} is closed`),
    ]);
  });

  test("closing twice closes once", async () => {
    const { start, step, events } = rig();
    const started = await start((boot) => boot.required(step("coord", { phase: 1 })));
    if (!started.ok) throw new Error("not started");
    await Promise.all([started.close(), started.close()]);
    await started.close();
    expect(events).toEqual(["open coord", "close coord"]);
  });

  test("what belongs to the first phase does not open in the second", async () => {
    const { start, step, events } = rig();
    const started = await start(async (boot) => {
      await boot.required(step("cache"));
      await boot.required(step("coord", { phase: 1 }));
    });
    expect(started).toMatchObject({ ok: false, failure: { step: "boot" } });
    expect(events).toEqual(["open cache", "close cache"]);
  });
});

describe("[R131] a required step that fails", () => {
  test.each(ORDER)("%s: names itself, cause and what to do; what was open is closed in reverse", async (bad) => {
    const { start, step, events, said, health } = rig();
    const started = await start(async (boot) => {
      for (const name of ORDER) {
        const open = name === bad ? { open: () => Promise.reject(broken) } : {};
        await boot.required(step(name, { phase: phaseOf(name), ...open }));
      }
    });
    const before = ORDER.slice(0, ORDER.indexOf(bad));
    expect(started).toEqual({
      ok: false,
      closed: { stuck: [] },
      failure: {
        step: bad,
        phase: phaseOf(bad),
        type: "CONFIG",
        cause: "cache: AUTH: Redis refuses the user",
        todo: `mend ${bad}`,
      },
    });
    expect(events).toEqual([...before.map((n) => `open ${n}`), ...before.toReversed().map((n) => `close ${n}`)]);
    expect(said()).toContain(`cannot start: ${bad}: cache: AUTH: Redis refuses the user; mend ${bad}`);
    expect(health.started).toBe(false);
  });

  test("what others say is not quoted: their class or error code stands for it", async () => {
    const { start, step, said } = rig();
    const open = (): never => {
      throw Object.assign(new Error("listen EADDRINUSE password=hunter2"), { code: "EADDRINUSE" });
    };
    const started = await start((boot) => boot.required(step("server", { open })));
    expect(started).toMatchObject({ failure: { step: "server", type: "INTERNAL", cause: "EADDRINUSE" } });
    expect(said().join()).not.toContain("hunter2");
  });
});

describe("an optional step that fails", () => {
  test("is null, the rest opens, and health is degraded with cause and way out", async () => {
    const { start, step, events, health, said } = rig();
    const started = await start(async (boot) => {
      const cache = await boot.optional(step("cache", { open: () => Promise.reject(broken) }));
      const server = await boot.required(step("server"));
      return { cache, server };
    });
    expect(started).toMatchObject({ ok: true, value: { cache: null, server: "server" } });
    expect(events).toEqual(["open server"]);
    expect(await health.report()).toMatchObject({
      status: "degraded",
      components: {
        cache: { status: "unhealthy", message: "did not start: cache: AUTH: Redis refuses the user; mend cache" },
      },
    });
    expect(said()).toContain("going on without cache: cache: AUTH: Redis refuses the user; mend cache");
  });
});

describe("bounds", () => {
  test("a step that hangs fails after its own time, is told to stop, and what it opens later is closed", async () => {
    const { start, step, clock, events } = rig();
    let stopped = false;
    let openLate = (_value: string): void => undefined;
    const open = (signal: AbortSignal): Promise<string> => {
      signal.addEventListener("abort", () => (stopped = true));
      return new Promise((resolve) => (openLate = resolve));
    };
    const starting = start((boot) => boot.required(step("db", { open, within: seconds(2) })));
    await clock.advance(seconds(2));
    expect(await starting).toMatchObject({
      ok: false,
      failure: { step: "db", type: "TIMEOUT", cause: "not open within 2s" },
    });
    expect(stopped).toBe(true);
    openLate("db");
    await clock.advance(millisOf(1));
    expect(events).toEqual(["close db"]);
    expect(clock.sleeping).toBe(0);
  });

  test("[R151] the whole start has 10 s, whatever its steps may take", async () => {
    const { start, step, clock } = rig();
    const slow = { open: () => clock.sleep(seconds(4)).then(() => "slow") };
    const starting = start(async (boot) => {
      for (const name of ["one", "two", "three"]) await boot.required(step(name, slow));
    });
    await clock.advance(seconds(10));
    expect(await starting).toMatchObject({
      failure: { step: "three", type: "TIMEOUT", cause: "the whole start takes longer than 10s" },
    });
  });

  test("a step that does not close, or throws, is named and holds nobody up", async () => {
    const { start, step, clock, events, said } = rig();
    const started = await start(async (boot) => {
      await boot.required(step("coord", { phase: 1 }));
      await boot.required(step("hangs", { close: hangs, closeWithin: seconds(3) }));
      await boot.required(step("throws", { close: () => Promise.reject(new Error("no")) }));
    });
    if (!started.ok) throw new Error("not started");
    const closing = started.close();
    await clock.advance(seconds(3));
    expect(await closing).toEqual({ stuck: ["throws", "hangs"] });
    expect(events.at(-1)).toBe("close coord");
    expect(said()).toEqual(expect.arrayContaining(["throws failed to close", "hangs did not close within 3s"]));
    expect(clock.sleeping).toBe(0);
  });

  test("[R132] a signal during the start ends the step under way and closes what is open", async () => {
    const { start, step, stop, events, clock } = rig();
    const starting = start(async (boot) => {
      await boot.required(step("coord", { phase: 1 }));
      await boot.optional(step("db", { open: hangs }));
      await boot.required(step("server"));
    });
    await clock.advance(millisOf(1));
    stop.abort(new Error("stopped by SIGTERM"));
    expect(await starting).toMatchObject({ ok: false, failure: { step: "db" } });
    expect(events).toEqual(["open coord", "close coord"]);
    expect(clock.sleeping).toBe(0);
  });
});
