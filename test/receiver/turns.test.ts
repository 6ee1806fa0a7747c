import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { openTurns } from "../../src/receiver/turns.ts";
import { ManualClock } from "../support/manual-clock.ts";

const forever = new AbortController().signal;

function someTurns() {
  const clock = new ManualClock();
  const turns = openTurns({ waiting: 2, waitTimeout: seconds(2) }, clock);
  const order: string[] = [];
  const ask = async (name: string, tenant = "acme", signal = forever) => {
    const end = await turns.take(tenant, signal);
    order.push(end === null ? `${name} refused` : name);
    return end;
  };
  return { clock, turns, order, ask };
}

describe("one operation per tenant at a time", () => {
  test("the next one begins when the one before has ended, in the order in which they came", async () => {
    const { clock, order, ask } = someTurns();
    const end = await ask("first");
    const [second, third] = [ask("second"), ask("third")];
    await clock.advance(millisOf(100));
    expect(order).toEqual(["first"]);
    end?.();
    (await second)?.();
    (await third)?.();
    expect(order).toEqual(["first", "second", "third"]);
    expect(clock.sleeping).toBe(0);
  });

  test("ending a turn twice lets only one in", async () => {
    const { clock, order, ask } = someTurns();
    const end = await ask("first");
    void ask("second");
    void ask("third");
    end?.();
    end?.();
    await clock.advance(millisOf(1));
    expect(order).toEqual(["first", "second"]);
  });

  test("other tenants do not wait", async () => {
    const { order, ask } = someTurns();
    await ask("first");
    await ask("elsewhere", "umbrella");
    expect(order).toEqual(["first", "elsewhere"]);
  });

  test("more than may wait are refused at once", async () => {
    const { order, ask } = someTurns();
    await ask("first");
    void ask("second");
    void ask("third");
    await ask("fourth");
    expect(order).toEqual(["first", "fourth refused"]);
  });

  test("who waits too long is refused, and leaves its place to the next", async () => {
    const { clock, order, ask } = someTurns();
    const end = await ask("first");
    const second = ask("second");
    await clock.advance(seconds(1));
    const third = ask("third");
    await clock.advance(seconds(1));
    expect(await second).toBeNull();
    end?.();
    await third;
    expect(order).toEqual(["first", "second refused", "third"]);
  });

  test("who hangs up is forgotten", async () => {
    const { clock, order, ask } = someTurns();
    const caller = new AbortController();
    const end = await ask("first");
    const second = ask("second", "acme", caller.signal);
    await clock.advance(millisOf(1));
    caller.abort();
    expect(await second).toBeNull();
    end?.();
    (await ask("third"))?.();
    expect(order).toEqual(["first", "second refused", "third"]);
    expect(clock.sleeping).toBe(0);
  });

  test("a turn that comes in the moment of giving up is not lost", async () => {
    const { clock, order, ask } = someTurns();
    const caller = new AbortController();
    const end = await ask("first");
    const second = ask("second", "acme", caller.signal);
    await clock.advance(millisOf(1));
    caller.abort();
    end?.(); // before the abort is heard of
    (await second)?.();
    (await ask("third"))?.();
    expect(order.at(-1)).toBe("third");
  });
});
