import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import type { ReceiverStore } from "../../src/receiver/store.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { openReceiverRig } from "../support/receiver-server.ts";
import { until } from "../support/egress/until.ts";
import { headersOf, isApplying, readAll, timers } from "./receiver-waits.ts";

describe("one operation per tenant", () => {
  test("[SEC-32] the next waits until the one before has ended; other tenants do not", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    const second = rig.put({ seq: 6 });
    await timers(rig, 2);
    const elsewhere = rig.put({ seq: 7, tenant: "prod/umbrella" });
    await isApplying(rig, "op7");
    expect([...rig.applying.keys()]).toEqual(["op5", "op7"]);
    for (const opId of ["op7", "op5"]) rig.end(opId);
    await isApplying(rig, "op6");
    rig.end("op6");
    expect((await Promise.all([first, second, elsewhere])).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(rig.applied).toEqual(["op7", "op5", "op6"]);
    expect(rig.clock.sleeping).toBe(0);
  });

  test("who waits too long is told to come back, and leaves nothing behind", async () => {
    await using rig = await openReceiverRig({ holds: true, limits: { applyTimeout: seconds(60) } });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    const second = rig.put({ seq: 6 });
    await timers(rig, 2);
    await rig.clock.advance(seconds(2));
    expect(await second).toMatchObject({ status: 503, code: "Busy" });
    rig.end("op5");
    expect(await first).toMatchObject({ status: 200, body: { fence: fenceOf(5) } });
  });

  test("more than may wait are told to come back at once, with the time after which to", async () => {
    await using rig = await openReceiverRig({ holds: true, limits: { waiting: 0 } });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    const socket = rig.raw();
    const body = JSON.stringify({ deployUnit: { id: 1, name: "blue", version: 1 }, version: 1 });
    socket.write(headersOf(`connection: close\r\ncontent-length: ${body.length}`) + body);
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 503 [^]*retry-after: 1\r\n[^]*{"code":"Busy"}$/);
    rig.end("op5");
    expect((await first).status).toBe(200);
  });

  test("too many operations at once, over all tenants, are told to come back before their body is read", async () => {
    await using rig = await openReceiverRig({ holds: true, limits: { operations: 1 } });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    expect(await rig.put({ seq: 6, tenant: "prod/umbrella" })).toMatchObject({ status: 503, code: "Busy" });
    expect((await rig.get()).status).toBe(404); // asking is still possible
    rig.end("op5");
    expect((await first).status).toBe(200);
    const next = rig.put({ seq: 7 });
    await isApplying(rig, "op7");
    rig.end("op7");
    expect((await next).status).toBe(200);
  });

  test("a caller that hangs up while it waits has no effect", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    const socket = rig.raw();
    const body = JSON.stringify({ deployUnit: { id: 1, name: "blue", version: 1 }, version: 1 });
    socket.write(headersOf(`content-length: ${body.length}`).replace(fenceOf(5), fenceOf(6)) + body);
    await timers(rig, 2);
    socket.destroy();
    await timers(rig, 1);
    rig.end("op5");
    await first;
    expect(rig.applied).toEqual(["op5"]);
    expect((await rig.get()).body).toMatchObject({ fence: fenceOf(5) });
  });
});

describe("an operation that takes too long", () => {
  test("[S26] is answered as unknown, told to stop, and keeps its turn until it has really ended", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    await rig.clock.advance(seconds(5));
    expect(await first).toMatchObject({ status: 500, code: "ApplyTimeout" });
    expect(rig.applying.get("op5")?.aborted).toBe(true);
    const undo = rig.put({ seq: 6 });
    await timers(rig, 1);
    expect([...rig.applying.keys()]).toEqual(["op5"]);
    rig.end("op5");
    await isApplying(rig, "op6");
    rig.end("op6");
    expect((await undo).status).toBe(200);
    expect(rig.applied).toEqual(["op5", "op6"]);
  });

  test("is in force all the same once it succeeded", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    await rig.clock.advance(seconds(5));
    await first;
    rig.end("op5");
    expect(await rig.put({ seq: 6, opId: "op5", version: 5 })).toMatchObject({ status: 200, body: { opId: "op5" } });
    expect(rig.applied).toEqual(["op5"]);
  });
});

describe("failures", () => {
  test("[SEC-37] what apply throws is not quoted, and reaches the log", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    const cause = new Error("password hunter2 is wrong");
    rig.end("op5", cause);
    expect(await first).toEqual({ status: 500, code: "ApplyFailed", body: { code: "ApplyFailed" } });
    expect(rig.events).toMatchObject([{ verdict: "ApplyFailed", operation: { opId: "op5" }, cause }]);
  });

  const brokenStore = (broken: Partial<ReceiverStore>): ReceiverStore => ({ ...openMemoryStore(), ...broken });
  const gone = () => Promise.reject(new Error("redis://:secret@10.0.0.1 is gone"));

  test("a store that cannot be read means that nothing happened", async () => {
    await using rig = await openReceiverRig({ store: brokenStore({ load: gone }) });
    expect(await rig.put({ seq: 5 })).toMatchObject({ status: 503, code: "StoreUnavailable" });
    expect(await rig.get()).toEqual({ status: 503, code: "StoreUnavailable", body: { code: "StoreUnavailable" } });
    expect(rig.applied).toEqual([]);
  });

  test("a store that is lost after the effect means that nobody knows", async () => {
    const disk = openMemoryStore();
    const store: ReceiverStore = {
      ...disk,
      save: (tenant, next) => (next.unsettled === "no" ? gone() : disk.save(tenant, next)),
    };
    await using rig = await openReceiverRig({ store });
    expect(await rig.put({ seq: 5 })).toMatchObject({ status: 500, code: "StoreFailed" });
    expect(rig.applied).toEqual(["op5"]);
  });

  test("a bug after the effect is answered as unknown, ends no process and leaves the tenant free", async () => {
    await using rig = await openReceiverRig();
    const now = rig.clock.now.bind(rig.clock);
    rig.clock.now = () => {
      throw new Error("bug");
    };
    expect(await rig.put({ seq: 5 })).toMatchObject({ status: 500, code: "Internal" });
    expect(rig.applied).toEqual(["op5"]);
    rig.clock.now = now;
    expect((await rig.put({ seq: 6, opId: "op5", version: 5 })).status).toBe(200);
    await rig.receiver.close();
  });

  test("a log that throws changes no answer", async () => {
    await using rig = await openReceiverRig({
      report: () => {
        throw new Error("disk full");
      },
    });
    expect((await rig.put({ seq: 5 })).status).toBe(200);
  });
});

test("a caller that hangs up while its operation is applied changes nothing", async () => {
  await using rig = await openReceiverRig({ holds: true });
  const socket = rig.raw();
  const body = JSON.stringify({ deployUnit: { id: 1, name: "blue", version: 1 }, version: 1 });
  socket.write(headersOf(`content-length: ${body.length}`) + body);
  await isApplying(rig, "op");
  socket.destroy();
  await until(
    () => rig.requests[0]?.socket.destroyed,
    (destroyed) => destroyed === true,
  );
  rig.end("op");
  await until(
    () => rig.events.length,
    (count) => count === 1,
  );
  expect((await rig.get()).body).toMatchObject({ opId: "op", fence: fenceOf(5) });
});
