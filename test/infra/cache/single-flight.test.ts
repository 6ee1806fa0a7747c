import { expect, test } from "vitest";
import { SingleFlight } from "../../../src/infra/cache/single-flight.ts";

const never = new AbortController().signal;

test("[R121] callers of one key share the work, those of another do not; what has landed is not kept", async () => {
  const flights = new SingleFlight<string>();
  let works = 0;
  const gate = Promise.withResolvers<void>();
  const work = async (): Promise<string> => {
    works += 1;
    const own = works;
    await gate.promise;
    return `result ${own}`;
  };
  const all = [flights.run("a", never, work), flights.run("a", never, work), flights.run("b", never, work)];
  expect(flights.size).toBe(2);
  gate.resolve();
  expect(await Promise.all(all)).toEqual(["result 1", "result 1", "result 2"]);
  expect(flights.size).toBe(0);
  expect(await flights.run("a", never, work)).toBe("result 3");
});

test("work that fails fails every caller, and is forgotten", async () => {
  const flights = new SingleFlight<string>();
  const failing = (): Promise<string> => Promise.reject(new Error("no"));
  const ends = await Promise.allSettled([flights.run("a", never, failing), flights.run("a", never, failing)]);
  expect(ends.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(flights.size).toBe(0);
});

test("the work is told to stop when its last caller leaves, not before", async () => {
  const flights = new SingleFlight<string>();
  let stopped = false;
  const work = (signal: AbortSignal): Promise<string> =>
    new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => {
        stopped = true;
        reject(signal.reason as Error);
      }),
    );
  const [one, two] = [new AbortController(), new AbortController()];
  const [first, second] = [flights.run("a", one.signal, work), flights.run("a", two.signal, work)];
  one.abort(new Error("one"));
  await expect(first).rejects.toThrow("one");
  expect(stopped).toBe(false);
  two.abort(new Error("two"));
  await expect(second).rejects.toThrow("two");
  expect(stopped).toBe(true);
  await expect(flights.run("a", one.signal, work)).rejects.toThrow("one");
});

test("who comes after a forgotten key does not join what was under way, which still ends for its own callers", async () => {
  const flights = new SingleFlight<string>();
  const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const before = flights.run("a", never, () => gates[0]!.promise);
  flights.forget("a");
  const after = flights.run("a", never, () => gates[1]!.promise);
  gates[0]!.resolve("old");
  expect(await before).toBe("old");
  expect(flights.size).toBe(1);
  gates[1]!.resolve("new");
  expect(await after).toBe("new");
});
