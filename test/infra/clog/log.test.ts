import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type LogOptions, noLog, openLog, type OpenedLog } from "../../../src/infra/clog/log.ts";
import { withLogContext } from "../../../src/infra/clog/log-context.ts";
import { cleanFields, cleanText } from "../../../src/infra/clog/log-fields.ts";
import { TurnoutError } from "../../../src/lib/errors.ts";
import { fault } from "../../../src/lib/failures.ts";
import { seconds } from "../../../src/lib/time.ts";
import { anyText } from "../../support/any-text.ts";
import { ManualClock } from "../../support/manual-clock.ts";

type Line = Readonly<Record<string, unknown>>;

function open(about: Partial<LogOptions> = {}): {
  readonly log: OpenedLog;
  readonly raw: string[];
  readonly lines: () => Line[];
} {
  const raw: string[] = [];
  const log = openLog({
    level: "debug",
    clock: new ManualClock(),
    destination: { write: (line) => void raw.push(line) },
    ...about,
  });
  return { log, raw, lines: () => raw.map((line) => JSON.parse(line) as Line) };
}

const written = (fields: Readonly<Record<string, unknown>>): Line => {
  const { log, lines } = open();
  log.info(fields, "x");
  return lines()[0] ?? {};
};

describe("a line", () => {
  test("is one JSON object with time, level, module, fields and message", async () => {
    const clock = new ManualClock();
    const { log, raw } = open({ clock, initialFields: { service: "turnout", version: "0.1.0" } });
    await clock.advance(seconds(1.5));
    log.module("egress").warn({ endpoint: "gateway", attempts: 3, rule: null, gone: undefined }, "refused");
    expect(raw).toEqual([
      '{"level":"warn","timestamp":"2026-06-01T12:00:01.500Z","service":"turnout","version":"0.1.0","module":"egress","endpoint":"gateway","attempts":3,"rule":null,"message":"refused"}\n',
    ]);
  });

  test("its own fields cannot be overwritten", () => {
    expect(written({ timestamp: 1, level: "fatal", module: "x", message: "y" })).toEqual({
      timestamp: "2026-06-01T12:00:00.000Z",
      level: "info",
      module: "main",
      message: "x",
      timestamp_: 1,
      level_: "fatal",
      module_: "x",
      message_: "y",
    });
  });

  test("percent signs are no format", () => {
    const { log, lines } = open();
    log.info({ a: 1 }, "100%s %d %j %%");
    expect(lines()[0]?.message).toBe("100%s %d %j %%");
  });
});

describe("levels", () => {
  test("what is below the level is not written; a change counts at once, in every module", () => {
    const { log, lines } = open({ level: "warn" });
    const child = log.module("a").module("b");
    const all = (): void => {
      child.debug({}, "debug");
      child.info({}, "info");
      child.warn({}, "warn");
      child.error({}, "error");
    };
    all();
    log.level("error");
    all();
    child.level("debug");
    all();
    expect(lines().map(({ message }) => message)).toEqual(["warn", "error", "error", "debug", "info", "warn", "error"]);
    expect(lines()[0]?.module).toBe("b");
  });
});

describe("context", () => {
  test("goes along through awaits, is laid over, and never mixes", async () => {
    const { log, lines } = open();
    const work = (task: string, wait: number): Promise<void> =>
      withLogContext({ task, tenant: "prod/acme" }, async () => {
        for (let i = 0; i < wait; i += 1) await Promise.resolve();
        withLogContext({ stage: `${task}-stage` }, () => log.info({ wait }, "inner"));
        log.info({ task: "own" }, "outer");
      });
    await Promise.all([work("one", 3), work("two", 1)]);
    log.info({}, "outside");
    const said = lines().map(({ task, tenant, stage, message }) => ({ task, tenant, stage, message }));
    expect(said).toEqual([
      { task: "two", tenant: "prod/acme", stage: "two-stage", message: "inner" },
      { task: "own", tenant: "prod/acme", stage: undefined, message: "outer" },
      { task: "one", tenant: "prod/acme", stage: "one-stage", message: "inner" },
      { task: "own", tenant: "prod/acme", stage: undefined, message: "outer" },
      { task: undefined, tenant: undefined, stage: undefined, message: "outside" },
    ]);
  });
});

describe("[SEC-58] whatever is logged, a line is one line of plain text", () => {
  const HOSTILE =
    'a\n{"level":"error"}\r\t\0\u001b[2J\u007f\u0085\u009b31m\u00ad\u200b\u202e\u2028\u2029\u2066\ufeff\ud800z';

  test("controls, bidirectional marks and separators are written out", () => {
    expect(cleanText(HOSTILE)).toBe(
      'a\\u{a}{"level":"error"}\\u{d}\\u{9}\\u{0}\\u{1b}[2J\\u{7f}\\u{85}\\u{9b}31m\\u{ad}\\u{200b}\\u{202e}\\u{2028}\\u{2029}\\u{2066}\\u{feff}\\u{d800}z',
    );
    expect(cleanText("grüße 東京 😀")).toBe("grüße 東京 😀");
  });

  test("in messages, fields, names, modules, errors and context", () => {
    const { log, raw } = open({ initialFields: { [HOSTILE]: HOSTILE } });
    withLogContext({ task: HOSTILE }, () =>
      log.module(HOSTILE).error({ [HOSTILE]: [HOSTILE, { a: HOSTILE }], e: new Error(HOSTILE) }, HOSTILE),
    );
    expect(raw).toHaveLength(1);
    expect(raw[0]?.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    expect(JSON.stringify(JSON.parse(raw[0] ?? ""))).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  });

  test("any value at all", () => {
    const { log, raw } = open();
    fc.assert(
      fc.property(
        fc.dictionary(anyText(40), fc.anything({ withBigInt: true, withDate: true, withMap: true })),
        anyText(40),
        (fields, message) => {
          raw.length = 0;
          log.info(fields, message);
          expect(raw).toHaveLength(1);
          expect(raw[0]?.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
          expect(() => JSON.parse(raw[0] ?? "") as unknown).not.toThrow();
          expect(({} as Record<string, unknown>).polluted).toBeUndefined();
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe("bounds", () => {
  test("texts of 2 KiB, four levels, 32 items, 64 keys", () => {
    expect(cleanText("x".repeat(2048))).toHaveLength(2048);
    expect(cleanText("x".repeat(1_000_000))).toHaveLength(2048);
    expect(cleanText("\0".repeat(2048)).length).toBeLessThanOrEqual(2048);
    expect(written({ a: { b: { c: { d: { e: 1 } } } } }).a).toEqual({ b: { c: { d: "[deeper]" } } });
    expect(written({ a: Array.from({ length: 100 }, (_, i) => i) }).a).toHaveLength(32);
    expect(
      Object.keys(cleanFields(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i])), new Set())),
    ).toHaveLength(64);
  });

  test("cycles end, functions and symbols are named, big numbers are text", () => {
    const cycle: Record<string, unknown> = { n: 1n, f: () => 1, s: Symbol("x"), nan: Number.NaN };
    cycle.self = cycle;
    expect(written({ cycle }).cycle).toMatchObject({ n: "1", f: "[function]", s: "[symbol]", nan: null });
  });

  test("a destination that throws costs the line only", async () => {
    const { log } = open({
      destination: {
        write: () => {
          throw new Error("full");
        },
      },
    });
    log.info({}, "lost");
    expect(log.dropped()).toBe(1);
    await log.close();
  });
});

describe("[SEC-36] [SEC-37] errors and secrets", () => {
  test("ours: code, type, message, frames and the class of the cause", () => {
    const error = new TurnoutError(fault("RecordMissing", { endpoint: "routing", key: "tenant:acme" }), {
      cause: new SyntaxError("password=1"),
    });
    expect(written({ error }).error).toEqual({
      code: "RecordMissing",
      type: "Conflict",
      message: "routing: the record beside tenant:acme is gone",
      stack: expect.stringMatching(/^at .*log\.test\.ts/) as unknown,
      cause: "SyntaxError",
    });
  });

  test("a parser's and a client's message is dropped, since it quotes what it was given", () => {
    class ClientError extends Error {
      readonly code = "ECLIENT";
    }
    const errors = [new ClientError("AUTH hunter2 failed"), parseError('{"password": hunter2}')];
    for (const error of errors) {
      const line = written({ error });
      expect(JSON.stringify(line)).not.toContain("hunter2");
      expect(line.error).toMatchObject({ type: error.constructor.name, message: "" });
    }
  });

  test("fields named like secrets are masked, at any depth and in any case", () => {
    const line = written({
      password: "a",
      nested: { Token: "b", AUTHORIZATION: { x: "c" }, list: [{ secret: "d" }] },
      tokens: 5,
    });
    expect(line).toMatchObject({
      password: "[redacted]",
      nested: { Token: "[redacted]", AUTHORIZATION: "[redacted]" },
      tokens: 5,
    });
    const { log, lines } = open({ redact: ["Dsn"] });
    log.info({ dsn: "mysql://u:p@h" }, "x");
    expect(lines()[0]?.dsn).toBe("[redacted]");
  });
});

test("no log takes everything and says nothing", () => {
  expect(noLog.module("x")).toBe(noLog);
  for (const level of ["debug", "info", "warn", "error"] as const) expect(noLog[level]({}, "x")).toBeUndefined();
  expect(noLog.level("debug")).toBeUndefined();
});

function parseError(text: string): Error {
  try {
    JSON.parse(text);
    return new Error("parsed");
  } catch (error) {
    return error as Error;
  }
}
