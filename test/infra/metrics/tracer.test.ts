import { describe, expect, test } from "vitest";
import { parseTrace, presentTrace } from "../../../src/infra/metrics/trace-context.ts";
import { type Begin, passingTracer, relayTracer, type Tracer, tracerOf } from "../../../src/infra/metrics/tracer.ts";
import { InfraError } from "../../../src/lib/infra-error.ts";
import { seededRng } from "../../support/manual-clock.ts";

const [TRACE, SPAN] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
const HEADER = `00-${TRACE}-${SPAN}-01`;
const UNSAMPLED = `00-${TRACE}-${SPAN}-00`;

/** Notes what was begun below what, and how it ended. */
function noting() {
  const noted: string[] = [];
  const bound: string[] = [];
  let made = 0;
  const begin: Begin = (name, { kind, parent }) => {
    made += 1;
    const context = {
      traceId: parent?.traceId ?? TRACE,
      spanId: String(made).padStart(16, "0"),
      sampled: parent?.sampled ?? true,
    };
    noted.push(`${kind} ${name} below ${parent?.spanId.replace(/^0+/, "") ?? "nothing"}`);
    return { context, set: () => undefined, end: (failure) => void noted.push(`${name}: ${failure ?? "ok"}`) };
  };
  const bind = <T>(traceId: string, work: () => T): T => {
    bound.push(traceId);
    return work();
  };
  return { noted, bound, tracer: tracerOf({ begin, records: ({ sampled }) => sampled, bind }) };
}

describe("a piece of work", () => {
  test("is a span of the present trace, and what it calls is below it, also after an await", async () => {
    const { noted, bound, tracer } = noting();
    await tracer.span("outer", { kind: "server", from: null }, async () => {
      await Promise.resolve();
      await tracer.call("inner", { kind: "client" }, async () =>
        expect(presentTrace()?.spanId).toBe("2".padStart(16, "0")),
      );
      expect(tracer.header()).toBe(`00-${TRACE}-${"1".padStart(16, "0")}-01`);
    });
    expect(noted).toEqual(["server outer below nothing", "client inner below 1", "inner: ok", "outer: ok"]);
    // The id goes into the log once, where the trace begins.
    expect(bound).toEqual([TRACE]);
    expect(tracer.header()).toBeNull();
  });

  test.each([
    [
      "our own",
      new InfraError({ component: "x", type: "TIMEOUT", code: "TimedOut", message: "x: secret", retryable: true }),
      "TimedOut",
    ],
    ["anybody's", new Error("secret"), "Thrown"],
    ["no error at all", "secret", "Thrown"],
  ])("that fails with %s rejects as it did, and its span says the code alone", async (_title, error, code) => {
    const { noted, tracer } = noting();
    await expect(tracer.span("work", {}, () => Promise.reject(error as Error))).rejects.toBe(error);
    expect(noted).toEqual(["internal work below nothing", `work: ${code}`]);
  });

  test("goes on with the trace of who asked for it; an unreadable header begins one, whatever is present", async () => {
    const { noted, tracer } = noting();
    await tracer.span("present", { from: null }, async () => {
      tracer.open("asked", { from: HEADER });
      tracer.open("alone", { from: "nonsense" });
      tracer.open("below", {});
    });
    expect(noted.slice(1, -1)).toEqual([
      `internal asked below ${SPAN.replace(/^0+/, "")}`,
      "internal alone below nothing",
      "internal below below 1",
    ]);
  });
});

describe("a call", () => {
  test("that nobody asked for makes no trace, and one of a trace that is not kept makes no span", async () => {
    const { noted, tracer } = noting();
    expect(await tracer.call("probe", {}, async () => tracer.header())).toBeNull();
    expect(tracer.openCall("probe", {})).toBeNull();
    await tracer.span("unkept", { from: UNSAMPLED }, async () => {
      const header = tracer.header();
      expect(header).toMatch(/-00$/);
      expect(await tracer.call("within", {}, async () => tracer.header())).toBe(header);
    });
    expect(noted.filter((line) => /probe|within/.test(line))).toEqual([]);
  });
});

describe("without spans", () => {
  test("[R134] ids go on unchanged, or are drawn where there are none, and reach the log", async () => {
    const bound: string[] = [];
    const bind = <T>(traceId: string, work: () => T): T => {
      bound.push(traceId);
      return work();
    };
    const tracer = passingTracer(seededRng(3), bind);
    expect(await tracer.span("a", { from: HEADER }, async () => tracer.header())).toBe(HEADER);
    const own = await tracer.span("b", { from: null }, () => tracer.call("c", {}, async () => tracer.header()));
    expect(parseTrace(own ?? "")?.traceId).not.toBe(TRACE);
    expect(bound).toEqual([TRACE, parseTrace(own ?? "")?.traceId]);
    await expect(tracer.span("d", {}, () => Promise.reject(new Error("cut")))).rejects.toThrow("cut");
  });
});

test("who holds the relay uses whichever tracer it leads to now", async () => {
  const [first, second] = [noting(), noting()];
  const relay = relayTracer(first.tracer);
  const { tracer }: { readonly tracer: Tracer } = relay;
  const use = (): Promise<void> =>
    tracer.span("span", {}, async () => {
      await tracer.call("call", {}, async () => undefined);
      tracer.within(tracer.open("open", {}), () => expect(tracer.header()).not.toBeNull());
      tracer.openCall("openCall", {});
    });
  await use();
  relay.to(second.tracer);
  expect(relay.present()).toBe(second.tracer);
  await use();
  expect(second.noted).toEqual(first.noted);
  expect(first.noted).toHaveLength(6);
});
