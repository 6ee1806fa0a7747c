import { expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { watchOthersTurns } from "../../src/receiver/others-turns.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { aRecord, TENANT } from "../support/receiver-build.ts";

const running = (revision: number) => aRecord({ revision, unsettled: "running" });

function watch(atMost = 10) {
  const clock = new ManualClock();
  return { clock, others: watchOthersTurns(seconds(10), atMost, clock) };
}

test("an operation that runs elsewhere is waited for from the moment it was first seen here", async () => {
  const { clock, others } = watch();
  expect(others.mayRun(TENANT, running(3))).toBe(true);
  await clock.advance(seconds(9));
  expect(others.mayRun(TENANT, running(3))).toBe(true);
  await clock.advance(seconds(1));
  expect(others.mayRun(TENANT, running(3))).toBe(false);
});

test("the next one is waited for anew", async () => {
  const { clock, others } = watch();
  others.mayRun(TENANT, running(3));
  await clock.advance(seconds(10));
  expect(others.mayRun(TENANT, running(4))).toBe(true);
});

test.each(["no", "failed"] as const)("an operation whose record says unsettled: %s runs nowhere", (unsettled) => {
  const { others } = watch();
  expect(others.mayRun(TENANT, aRecord({ unsettled }))).toBe(false);
});

test("our own that could not be settled is waited for by nobody here", () => {
  const { others } = watch();
  others.ended(TENANT, 3);
  expect(others.mayRun(TENANT, running(3))).toBe(false);
  expect(others.mayRun(TENANT, running(4))).toBe(true);
});

test("only so many tenants are watched; the one watched longest makes room", async () => {
  const { clock, others } = watch(2);
  for (const tenant of ["a", "b", "c"]) others.mayRun(tenant, running(3));
  await clock.advance(seconds(10));
  expect(others.mayRun("c", running(3))).toBe(false);
  expect(others.mayRun("a", running(3))).toBe(true);
});

test("a tenant at rest takes no place", async () => {
  const { clock, others } = watch(2);
  others.mayRun("a", running(3));
  others.mayRun("b", running(3));
  others.mayRun("b", aRecord({ unsettled: "no" }));
  others.mayRun("c", running(3));
  await clock.advance(seconds(10));
  expect(others.mayRun("a", running(3))).toBe(false); // still watched
});
