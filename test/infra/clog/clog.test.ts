import { describe, expect, test } from "vitest";
import { withLogContext } from "../../../src/infra/clog/log-context.ts";
import { openClog } from "../../../src/infra/clog/open-clog.ts";
import { prettyLine } from "../../../src/infra/clog/pretty-line.ts";
import { type ClogSettings, clogSettings } from "../../../src/infra/config/clog-settings.ts";
import { InfraError } from "../../../src/lib/infra-error.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const settingsOf = (raw: Readonly<Record<string, unknown>>): ClogSettings => clogSettings.parse(raw);

async function open(raw: Readonly<Record<string, unknown>> = {}) {
  const [out, err]: [string[], string[]] = [[], []];
  const clog = await openClog(settingsOf(raw), {
    service: "im-repo",
    environment: "test",
    version: "1.2.3",
    clock: new ManualClock(),
    stdout: { write: (line) => void out.push(line) },
    stderr: { write: (line) => void err.push(line) },
  });
  return { clog, out, err, json: () => out.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe("[R107][R134] a line", () => {
  test("has time, level, service, environment, version, module, message, and the ids of the work it belongs to", async () => {
    const { clog, json } = await open();
    const ids = { trace_id: "a".repeat(32), request_id: "r1", user_id: "u1", task: "ns/t", tenant: "ns/acme" };
    await withLogContext(ids, async () => {
      await Promise.resolve();
      clog.module("cache").info({ key: "k" }, "stored");
    });
    clog.info({}, "outside");
    expect(json()).toEqual([
      {
        timestamp: "2026-06-01T12:00:00.000Z",
        level: "info",
        service: "im-repo",
        environment: "test",
        version: "1.2.3",
        module: "cache",
        message: "stored",
        key: "k",
        ...ids,
      },
      expect.not.objectContaining({ trace_id: expect.anything() }),
    ]);
  });

  test("the settings' own fields outrank those of the process", async () => {
    const { clog, json } = await open({ initialFields: { service: "renamed" } });
    clog.info({}, "x");
    expect(json()[0]).toMatchObject({ service: "renamed", environment: "test" });
  });

  test("secrets are masked, errors of the kit say component, type, code and message, others' messages are not quoted", async () => {
    const { clog, json } = await open({ enableStacktrace: false });
    const cause = new SyntaxError("unexpected hunter2");
    const error = new InfraError(
      { component: "cache", type: "TIMEOUT", code: "CommandTimeout", message: "cache: no answer", retryable: true },
      { cause },
    );
    clog.error({ error, password: "hunter2", inner: { Token: "hunter2" } }, "failed");
    clog.error({ error: cause }, "failed");
    const lines = json();
    expect(lines[0]?.error).toEqual({
      component: "cache",
      code: "CommandTimeout",
      type: "TIMEOUT",
      message: "cache: no answer",
      cause: "SyntaxError",
    });
    expect(JSON.stringify(lines)).not.toContain("hunter2");
  });

  test("errors carry frames unless switched off", async () => {
    const { clog, json } = await open();
    clog.error({ error: new TypeError("no") }, "failed");
    expect(json()[0]?.error).toMatchObject({ stack: expect.stringMatching(/^at /) });
  });

  test("names the source that wrote it where asked", async () => {
    const { clog, json } = await open({ enableCaller: true });
    clog.module("a").module("b").warn({}, "here");
    expect(json()[0]?.caller).toMatch(/^test\/infra\/clog\/clog\.test\.ts:\d+$/);
    const plain = await open();
    plain.clog.info({}, "x");
    expect(plain.json()[0]).not.toHaveProperty("caller");
  });
});

describe("settings", () => {
  test("[R120] the level changes while in use, for every module taken before", async () => {
    const { clog, json } = await open({ level: "warn" });
    const cache = clog.module("cache");
    cache.info({}, "one");
    expect(clog.reload(settingsOf({ level: "debug", format: "pretty" }))).toEqual({
      applied: ["level"],
      needsRestart: ["format"],
    });
    cache.debug({}, "two");
    clog.reload(settingsOf({ level: "error" }));
    cache.warn({}, "three");
    expect(json().map(({ message }) => message)).toEqual(["two"]);
  });

  test("pretty is for people: time, level, module, message, fields", async () => {
    const { clog, out } = await open({ format: "pretty" });
    clog.module("cache").warn({ key: "a b", millis: 31, list: [1] }, "slow command");
    expect(out).toEqual(['12:00:00.000 WARN   cache  slow command  key="a b" millis=31 list=[1]\n']);
    expect(prettyLine('{"level":"info","message":"x","module":"m","timestamp":"2026-06-01T12:00:00.000Z"}\n')).toBe(
      "12:00:00.000 INFO   m  x\n",
    );
  });

  test("output names where lines go", async () => {
    const { clog, out, err } = await open({ output: "stderr" });
    clog.info({}, "x");
    expect([out.length, err.length]).toEqual([0, 1]);
  });

  test("the log is well while lines are written, degraded after some were lost, and closes twice", async () => {
    const refusing = await openClog(settingsOf({}), {
      service: "s",
      environment: "test",
      version: "1",
      clock: new ManualClock(),
      stdout: {
        write: () => {
          throw new Error("full");
        },
      },
      stderr: { write: () => undefined },
    });
    expect(refusing.check().status).toBe("healthy");
    refusing.info({}, "lost");
    expect(refusing.check()).toMatchObject({ status: "degraded", details: { dropped: 1 } });
    expect(refusing.check()).toMatchObject({ status: "healthy", details: { dropped: 1 } });
    await refusing.close();
    await refusing.close();
  });
});
