import { expect, test } from "vitest";

import { openAgenda } from "../../src/kube/agenda.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { ManualClock, seededRng } from "../support/manual-clock.ts";

test("appointments run in order of their due time, never before it", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const ran: string[] = [];
  agenda.in(seconds(3), () => ran.push(`c@${clock.monotonic()}`));
  agenda.in(seconds(1), () => ran.push(`a@${clock.monotonic()}`));
  agenda.in(seconds(2), () => ran.push(`b@${clock.monotonic()}`));
  await clock.advance(millisOf(999));
  expect(ran).toEqual([]);
  await clock.advance(seconds(3));
  expect(ran).toEqual(["a@1000", "b@2000", "c@3000"]);
});

test("what is due at one moment runs in the order of asking", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const ran: number[] = [];
  for (let i = 0; i < 20; i += 1) agenda.in(seconds(1), () => ran.push(i));
  await clock.advance(seconds(1));
  expect(ran).toEqual(Array.from({ length: 20 }, (_, i) => i));
});

test("10,000 appointments cost one timer", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const rng = seededRng(3);
  const due = Array.from({ length: 10_000 }, () => Math.floor(rng.float() * 100_000));
  const ran: number[] = [];
  for (const at of due) agenda.in(millisOf(at), () => ran.push(at));
  expect(clock.sleeping).toBe(1);
  await clock.advance(seconds(100));
  expect(ran).toEqual(due.toSorted((a, b) => a - b));
  expect(clock.sleeping).toBe(0);
});

test("a cancelled appointment never runs, and cancelling twice, or too late, does nothing", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const ran: string[] = [];
  const first = agenda.in(seconds(1), () => ran.push("first"));
  const second = agenda.in(seconds(2), () => ran.push("second"));
  first.cancel();
  first.cancel();
  await clock.advance(seconds(5));
  second.cancel();
  agenda.in(seconds(1), () => ran.push("third"));
  await clock.advance(seconds(5));
  expect(ran).toEqual(["second", "third"]);
});

test("many cancelled appointments are forgotten before they are due, the others keep their order", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const ran: number[] = [];
  const all = Array.from({ length: 500 }, (_, i) => agenda.in(millisOf(1000 - i), () => ran.push(1000 - i)));
  for (const [i, one] of all.entries()) if (i % 10 !== 0) one.cancel();
  expect(agenda.size).toBeLessThanOrEqual(50 + 65);
  await clock.advance(seconds(2));
  expect(ran).toEqual(Array.from({ length: 50 }, (_, i) => 1000 - i * 10).toReversed());
});

test("an appointment may make another one that is due at once", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const ran: string[] = [];
  agenda.in(seconds(1), () => {
    ran.push("outer");
    agenda.in(millisOf(0), () => ran.push("inner"));
  });
  await clock.advance(seconds(1));
  expect(ran).toEqual(["outer", "inner"]);
});

test("a closed agenda runs nothing and holds no timer", async () => {
  const clock = new ManualClock();
  const agenda = openAgenda(clock);
  const ran: string[] = [];
  agenda.in(seconds(1), () => ran.push("before"));
  agenda.close();
  expect([clock.sleeping, agenda.size]).toEqual([0, 0]);
  agenda.in(millisOf(500), () => ran.push("after"));
  expect(clock.sleeping).toBe(0);
  await clock.advance(seconds(5));
  expect(ran).toEqual([]);
});
