import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LARGEST_REPLY, ReplyScanner, type Violation } from "../../../src/infra/cache/resp-gate.ts";
import { retryAfterOf } from "../../../src/infra/egress/http-answer.ts";
import { withDeadline } from "../../../src/lib/deadline.ts";
import { Slots } from "../../../src/lib/slots.ts";
import { seconds } from "../../../src/lib/time.ts";
import { anyText } from "../../support/any-text.ts";
import { ManualClock, NOON } from "../../support/manual-clock.ts";

const never = new AbortController().signal;

describe("slots", () => {
  test("as many as there are hold one, the others follow in order", async () => {
    const slots = new Slots(2, 10);
    const order: number[] = [];
    const first = await slots.take(never);
    const second = await slots.take(never);
    const rest = [1, 2, 3].map(async (n) => {
      const give = await slots.take(never);
      order.push(n);
      give();
    });
    expect({ held: slots.held, waiting: slots.waiting }).toEqual({ held: 2, waiting: 3 });
    first();
    first();
    await Promise.all(rest);
    second();
    expect({ order, held: slots.held, waiting: slots.waiting }).toEqual({ order: [1, 2, 3], held: 0, waiting: 0 });
  });

  test("who leaves the queue takes nothing with it, and a full queue refuses", async () => {
    const slots = new Slots(1, 1);
    const give = await slots.take(never);
    const leaving = new AbortController();
    const waiting = slots.take(leaving.signal);
    await expect(slots.take(never)).rejects.toThrow("too many wait");
    leaving.abort();
    await expect(waiting).rejects.toThrow(/abort/);
    await expect(slots.take(leaving.signal)).rejects.toThrow(/abort/);
    give();
    expect({ held: slots.held, waiting: slots.waiting }).toEqual({ held: 0, waiting: 0 });
    (await slots.take(never))();
  });
});

describe("deadlines", () => {
  const aborted = (ended: AbortSignal): Promise<string> =>
    new Promise((resolve) => ended.addEventListener("abort", () => resolve("ended")));

  test("end the work, and leave no timer when the work is first", async () => {
    const clock = new ManualClock();
    const late = withDeadline({ clock, timeout: seconds(3), signal: never }, aborted);
    await clock.advance(seconds(3));
    expect(await late).toBe("ended");
    expect(await withDeadline({ clock, timeout: seconds(3), signal: never }, () => Promise.resolve("done"))).toBe(
      "done",
    );
    await expect(
      withDeadline({ clock, timeout: seconds(3), signal: never }, () => Promise.reject(new Error("no"))),
    ).rejects.toThrow("no");
    expect(clock.sleeping).toBe(0);
  });

  test("the caller's own end counts too", async () => {
    const clock = new ManualClock();
    const caller = new AbortController();
    const work = withDeadline({ clock, timeout: seconds(3), signal: caller.signal }, aborted);
    caller.abort();
    expect(await work).toBe("ended");
    expect(clock.sleeping).toBe(0);
  });
});

describe("Retry-After", () => {
  test.each([
    ["7", 7000],
    ["0", 0],
    ["999999999", 3_600_000],
    ["Mon, 01 Jun 2026 12:00:30 GMT", 30_000],
    ["Mon, 01 Jun 2026 11:00:00 GMT", 0],
    ["Mon, 01 Jun 2099 11:00:00 GMT", 3_600_000],
    ["-5", null],
    ["soon", null],
    ["1e9", null],
    ["x".repeat(100), null],
    [undefined, null],
  ])("%s is %s", (text, wait) => {
    expect(retryAfterOf(text, NOON)).toBe(wait);
  });
});

describe("[SEC-41] the scanner of Redis replies", () => {
  type Reply = string | number | null | Reply[];
  const simple = fc.oneof(fc.integer(), anyText(30), fc.constant(null));
  const reply = fc.letrec<{ reply: Reply }>((tie) => ({
    reply: fc.oneof({ maxDepth: 4 }, simple, fc.array(tie("reply"), { maxLength: 5 })),
  })).reply;
  const encode = (value: Reply): string => {
    if (value === null) return "$-1\r\n";
    if (typeof value === "number") return `:${value}\r\n`;
    if (typeof value === "string") return `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
    return `*${value.length}\r\n${value.map(encode).join("")}`;
  };
  /** Feeds the bytes in pieces; the first violation, or null. */
  const scan = (bytes: Buffer, owed: number, piece: number): Violation | null => {
    const scanner = new ReplyScanner();
    for (let i = 0; i < owed; i += 1) scanner.expect();
    for (let at = 0; at < bytes.byteLength; at += piece) {
      const wrong = scanner.push(bytes.subarray(at, at + piece));
      if (wrong !== null) return wrong;
    }
    return null;
  };

  test("whole replies pass however they are cut, and one byte more does not", () => {
    fc.assert(
      fc.property(
        fc.array(reply, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 40 }),
        (replies, piece) => {
          const bytes = Buffer.from(replies.map(encode).join(""));
          expect(scan(bytes, replies.length, piece)).toBeNull();
          expect(scan(Buffer.concat([bytes, Buffer.from("+")]), replies.length, piece)).toBe("unasked");
          expect(scan(bytes, replies.length + 1, piece)).toBeNull();
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("what passes does not depend on how it was cut", () => {
    const noise = fc.string({
      unit: fc.constantFrom("+", "-", ":", "$", "*", "1", "2", "0", "\r", "\n", "a", ">"),
      maxLength: 40,
    });
    fc.assert(
      fc.property(noise, fc.integer({ min: 1, max: 10 }), (text, piece) => {
        const bytes = Buffer.from(text);
        expect(scan(bytes, 3, piece)).toBe(scan(bytes, 3, 1000));
      }),
      { numRuns: 5000 },
    );
  });

  test.each<readonly [title: string, violation: Violation | null, bytes: string]>([
    ["8 levels", null, `${"*1\r\n".repeat(8)}:1\r\n`],
    ["9 levels", "size", `${"*1\r\n".repeat(9)}:1\r\n`],
    ["4,096 elements", null, `*4096\r\n${":1\r\n".repeat(4096)}`],
    ["4,097 elements", "size", "*4097\r\n"],
    ["64 KiB of text", null, `$${LARGEST_REPLY - 12}\r\n${"x".repeat(LARGEST_REPLY - 12)}\r\n`],
    ["a reply of more than 64 KiB", "size", `*2\r\n${`$40000\r\n${"x".repeat(40_000)}\r\n`.repeat(2)}`],
    ["an empty array", null, "*0\r\n"],
    ["no array", null, "*-1\r\n"],
    ["a length with zeros", "form", "$05\r\nhello\r\n"],
  ])("%s: %s", (...[, violation, bytes]) => {
    expect(scan(Buffer.from(bytes), 1, 4096)).toBe(violation);
  });
});
