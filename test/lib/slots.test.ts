import { expect, test } from "vitest";
import { Slots } from "../../src/lib/slots.ts";

const never = new AbortController().signal;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a slot is given to the next in line, and giving it back twice gives one", async () => {
  const slots = new Slots(1, 10);
  const give = await slots.take(never);
  const got: string[] = [];
  for (const name of ["a", "b"]) void slots.take(never).then(() => got.push(name));
  give();
  give();
  await settle();
  expect({ got, held: slots.held, waiting: slots.waiting }).toEqual({ got: ["a"], held: 1, waiting: 1 });
});

test("more slots let the next in line in at once; fewer take nothing from who holds one, and none is given until it fits", async () => {
  const slots = new Slots(1, 10);
  const gives = [await slots.take(never)];
  for (let i = 0; i < 3; i += 1) void slots.take(never).then((give) => gives.push(give));
  slots.resize(3);
  await settle();
  expect({ held: slots.held, waiting: slots.waiting }).toEqual({ held: 3, waiting: 1 });
  slots.resize(1);
  gives[0]?.();
  gives[1]?.();
  await settle();
  expect({ held: slots.held, waiting: slots.waiting }).toEqual({ held: 1, waiting: 1 });
  gives[2]?.();
  await settle();
  expect({ held: slots.held, waiting: slots.waiting, given: gives.length }).toEqual({ held: 1, waiting: 0, given: 4 });
});

test("one may be tried for without waiting", () => {
  const slots = new Slots(1, 0);
  const give = slots.tryTake();
  expect([give === null, slots.tryTake()]).toEqual([false, null]);
  give?.();
  expect(slots.tryTake()).not.toBeNull();
});
