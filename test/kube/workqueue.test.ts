import { describe, expect, test } from "vitest";

import { type Lane, openWorkqueue, type Workqueue } from "../../src/kube/workqueue.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { ManualClock } from "../support/manual-clock.ts";

const never = new AbortController().signal;

/** Takes and finishes keys until none is queued; gives their order. */
async function drain(queue: Workqueue): Promise<string[]> {
  const keys: string[] = [];
  while (queue.depth() > 0) {
    const { key } = await queue.take(never);
    keys.push(key);
    queue.done(key);
  }
  return keys;
}

const open = (): { clock: ManualClock; queue: Workqueue } => {
  const clock = new ManualClock();
  return { clock, queue: openWorkqueue({ clock }) };
};

describe("one key", () => {
  test("added often it is queued once, first come first served", async () => {
    const { queue } = open();
    for (const key of ["ns/a", "ns/b", "ns/a", "ns/c", "ns/a"]) queue.add(key, "continuation");
    expect([queue.depth(), queue.adds]).toEqual([3, 3]);
    expect(await drain(queue)).toEqual(["ns/a", "ns/b", "ns/c"]);
  });

  test("is worked on by one worker at a time, and queued again if it was added meanwhile", async () => {
    const { queue } = open();
    queue.add("ns/a", "start-up");
    const first = await queue.take(never);
    queue.add("ns/a", "start-up");
    queue.add("ns/a", "user");
    queue.add("ns/a", "continuation");
    expect(queue.depth()).toBe(0);
    queue.done("ns/a");
    expect([first.lane, queue.depth("user")]).toEqual(["start-up", 1]);
    expect(await drain(queue)).toEqual(["ns/a"]);
    expect([queue.depth(), queue.adds]).toEqual([0, 2]);
  });

  test("queued twice keeps the better lane and its age", async () => {
    const { clock, queue } = open();
    queue.add("ns/a", "start-up");
    await clock.advance(seconds(5));
    queue.add("ns/a", "user");
    queue.add("ns/a", "start-up");
    expect([queue.depth("user"), queue.depth("start-up"), queue.oldest()]).toEqual([1, 0, seconds(5)]);
    expect(await queue.take(never)).toEqual({ key: "ns/a", lane: "user", waited: seconds(5) });
  });

  test("done for a key that nobody works on does nothing", async () => {
    const { queue } = open();
    queue.done("ns/a");
    queue.add("ns/a", "user");
    queue.done("ns/a");
    expect(await drain(queue)).toEqual(["ns/a"]);
  });
});

describe("lanes", () => {
  test("a person's key goes before all that was begun or found at the start", async () => {
    const { queue } = open();
    for (let i = 0; i < 3; i += 1) queue.add(`ns/start-${i}`, "start-up");
    for (let i = 0; i < 3; i += 1) queue.add(`ns/go-on-${i}`, "continuation");
    queue.add("ns/person", "user");
    expect((await drain(queue)).slice(0, 3)).toEqual(["ns/person", "ns/go-on-0", "ns/go-on-1"]);
  });

  test("of every eight picks one goes to each lower lane, so that nothing starves", async () => {
    const { queue } = open();
    const lanes: readonly Lane[] = ["user", "continuation", "start-up"];
    for (const lane of lanes) for (let i = 0; i < 100; i += 1) queue.add(`ns/${lane}-${i}`, lane);
    const taken: Record<Lane, number> = { user: 0, continuation: 0, "start-up": 0 };
    for (let i = 0; i < 80; i += 1) taken[(await queue.take(never)).lane] += 1;
    expect(taken).toEqual({ user: 60, continuation: 10, "start-up": 10 });
  });
});

describe("[S24] [L6] namespaces", () => {
  test("one key beside 10,000 of another namespace is the second to be taken", async () => {
    const { queue } = open();
    for (let i = 0; i < 10_000; i += 1) queue.add(`crowd/t-${i}`, "continuation");
    queue.add("small/only", "continuation");
    const order = await drain(queue);
    expect(order.indexOf("small/only")).toBeLessThanOrEqual(1);
    expect(order).toHaveLength(10_001);
  });

  test("take turns, each in its own order, also when they come and go", async () => {
    const { queue } = open();
    for (const key of ["a/1", "a/2", "a/3", "b/1", "c/1", "c/2"]) queue.add(key, "user");
    const first = [await queue.take(never), await queue.take(never)].map(({ key }) => key);
    queue.add("b/2", "user");
    expect([...first, ...(await drain(queue))]).toEqual(["a/1", "b/1", "c/1", "a/2", "b/2", "c/2", "a/3"]);
  });

  test("a key that leaves for a better lane leaves its namespace's turn to others", async () => {
    const { queue } = open();
    for (const key of ["a/1", "b/1", "b/2"]) queue.add(key, "start-up");
    queue.add("a/1", "user");
    expect([queue.depth("start-up"), await drain(queue)]).toEqual([2, ["a/1", "b/1", "b/2"]]);
  });
});

describe("later", () => {
  test("a key that is put off comes then, not before; the earliest ask wins", async () => {
    const { clock, queue } = open();
    queue.addAfter("ns/a", seconds(10), "continuation");
    queue.addAfter("ns/a", seconds(5), "user");
    queue.addAfter("ns/a", seconds(8), "continuation");
    expect([queue.depth(), queue.delayed, clock.sleeping]).toEqual([0, 1, 1]);
    await clock.advance(millisOf(4999));
    expect(queue.depth()).toBe(0);
    await clock.advance(millisOf(1));
    expect([queue.depth("user"), queue.delayed]).toEqual([1, 0]);
    await drain(queue);
    await clock.advance(minutes(1));
    expect(queue.depth()).toBe(0);
  });

  test("10,000 keys put off cost one timer", async () => {
    const { clock, queue } = open();
    for (let i = 0; i < 10_000; i += 1) queue.addAfter(`ns/${i}`, millisOf(1000 + i), "continuation");
    expect([clock.sleeping, queue.delayed]).toEqual([1, 10_000]);
    await clock.advance(minutes(1));
    expect(queue.depth()).toBe(10_000);
  });

  test("taking a key answers what was asked before; what its worker asks counts", async () => {
    const { clock, queue } = open();
    queue.addAfter("ns/a", seconds(10), "continuation");
    queue.add("ns/a", "user");
    queue.addAfter("ns/a", seconds(1), "continuation");
    await queue.take(never);
    expect(queue.delayed).toBe(0);
    queue.addAfter("ns/a", seconds(20), "continuation");
    queue.done("ns/a");
    await clock.advance(seconds(19));
    expect(queue.depth()).toBe(0);
    await clock.advance(seconds(1));
    expect(queue.depth()).toBe(1);
  });

  test("due while it is worked on, the key is queued once the worker is done", async () => {
    const { clock, queue } = open();
    queue.add("ns/a", "user");
    await queue.take(never);
    queue.addAfter("ns/a", seconds(1), "continuation");
    await clock.advance(seconds(2));
    expect(queue.depth()).toBe(0);
    queue.done("ns/a");
    expect(queue.depth("continuation")).toBe(1);
  });

  test("a closed queue brings nothing that was put off", async () => {
    const { clock, queue } = open();
    queue.addAfter("ns/a", seconds(1), "user");
    queue.close();
    await clock.advance(minutes(1));
    expect([queue.depth(), clock.sleeping]).toEqual([0, 0]);
  });
});

describe("taking", () => {
  test("waits for a key, and gives each to one waiter", async () => {
    const { queue } = open();
    const waiters = [queue.take(never), queue.take(never)];
    queue.add("ns/a", "user");
    queue.add("ns/b", "user");
    expect((await Promise.all(waiters)).map(({ key }) => key)).toEqual(["ns/a", "ns/b"]);
    expect(queue.depth()).toBe(0);
  });

  test("ends with the signal, and loses no key to one who has gone", async () => {
    const { queue } = open();
    const stop = new AbortController();
    const gone = queue.take(stop.signal);
    stop.abort(new Error("stop"));
    await expect(gone).rejects.toThrow("stop");
    await expect(queue.take(stop.signal)).rejects.toThrow("stop");
    queue.add("ns/a", "user");
    expect((await queue.take(never)).key).toBe("ns/a");
  });
});

describe("who works on a key sees that it changed", () => {
  test("the next add resolves; one that came before asking resolves at once; all who wait are told", async () => {
    const { queue } = open();
    queue.add("ns/a", "user");
    await queue.take(never);
    const both = Promise.all([queue.changed("ns/a", 0), queue.changed("ns/a", 0)]);
    queue.add("ns/a", "continuation");
    expect(await both).toEqual([1, 1]);
    expect(await queue.changed("ns/a", 0)).toBe(1);
    const next = queue.changed("ns/a", 1);
    queue.add("ns/a", "continuation");
    expect(await next).toBe(2);
  });

  test("asking about a key that nobody works on is a bug", () => {
    const { queue } = open();
    expect(() => queue.changed("ns/a", 0)).toThrow("not worked on");
  });
});

test("a key is remembered while it is queued, put off or worked on, and no longer", async () => {
  const { clock, queue } = open();
  queue.add("ns/a", "user");
  queue.addAfter("ns/b", seconds(10), "user");
  await queue.take(never);
  expect(queue.known).toBe(2);
  queue.addAfter("ns/a", seconds(10), "user");
  queue.done("ns/a");
  queue.addAfter("ns/a", seconds(20), "user"); // the earlier ask stands
  expect([queue.known, queue.delayed]).toEqual([2, 2]);
  await clock.advance(seconds(10));
  expect([await drain(queue), queue.known, queue.delayed]).toEqual([["ns/b", "ns/a"], 0, 0]);
});

test("the oldest key over all namespaces and lanes is known", async () => {
  const { clock, queue } = open();
  await clock.advance(seconds(100));
  expect(queue.oldest()).toBe(0);
  queue.add("a/1", "start-up");
  await clock.advance(seconds(3));
  queue.add("b/1", "user");
  await clock.advance(seconds(1));
  expect(queue.oldest()).toBe(seconds(4));
});
