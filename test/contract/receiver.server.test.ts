import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import { createReceiver } from "../../src/receiver/receiver.ts";
import type { ReceiverStore } from "../../src/receiver/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { fenceOf, TENANT } from "../support/receiver-build.ts";
import { openReceiverRig, type ReceiverRig, TOKEN } from "../support/receiver-server.ts";
import { until } from "../support/egress/until.ts";

const isApplying = (rig: ReceiverRig, opId: string) => until(() => rig.applying.has(opId), Boolean);
/** Timers of the receiver: one for an operation that is applied, one for each that waits. */
const timers = (rig: ReceiverRig, count: number) =>
  until(
    () => rig.clock.sleeping,
    (sleeping) => sleeping === count,
  );

async function readAll(socket: ReturnType<ReceiverRig["raw"]>): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

const headersOf = (length: string, token = TOKEN): string =>
  [
    `PUT /turnout/v1/tenants/${TENANT} HTTP/1.1`,
    "host: x",
    `authorization: Bearer ${token}`,
    `turnout-tenant: ${TENANT}`,
    `turnout-fence: ${fenceOf(5)}`,
    `turnout-base: ${fenceOf(4)}`,
    "idempotency-key: op",
    "content-type: application/json",
    length,
    "\r\n",
  ].join("\r\n");

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

describe("[SEC-30] who may speak", () => {
  test("a stranger gets 401 on every path, before anything is looked at", async () => {
    await using rig = await openReceiverRig();
    expect((await rig.put({ seq: 5, token: "x".repeat(32) })).status).toBe(401);
    const socket = rig.raw();
    socket.write("GET /elsewhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 401 /);
  });

  test("the body of a stranger is not waited for", async () => {
    await using rig = await openReceiverRig();
    const socket = rig.raw();
    socket.write(headersOf("content-length: 1000", "nobody"));
    await until(
      () => rig.events.length,
      (count) => count === 1,
    );
    await timers(rig, 1);
    await rig.clock.advance(seconds(1)); // it may still send what nobody reads, for this long
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 401 [^]*connection: close/i);
  });

  test.each([
    ["cannot know", () => Promise.reject(new Error("token file is gone"))],
    [
      "throws",
      () => {
        throw new Error("bug");
      },
    ],
  ])("where the check %s, nobody may", async (_what, authenticate) => {
    await using rig = await openReceiverRig({ authenticate });
    expect(await rig.put({ seq: 5 })).toMatchObject({ status: 503, code: "AuthenticationUnavailable" });
    expect(rig.applied).toEqual([]);
  });

  test("a check that never ends is given up", async () => {
    await using rig = await openReceiverRig({ authenticate: () => new Promise(() => undefined) });
    const answer = rig.put({ seq: 5 });
    await timers(rig, 1);
    await rig.clock.advance(seconds(5));
    expect(await answer).toMatchObject({ status: 503, code: "AuthenticationUnavailable" });
  });
});

describe("[SEC-41] bodies", () => {
  test("one that comes too slowly is given up", async () => {
    await using rig = await openReceiverRig();
    const socket = rig.raw();
    socket.write(`${headersOf("content-length: 1000")}{`);
    await timers(rig, 1);
    await rig.clock.advance(seconds(5));
    await until(
      () => rig.events.length,
      (count) => count === 1,
    );
    expect(rig.events).toMatchObject([{ verdict: "BodyLate" }]);
    await timers(rig, 1);
    await rig.clock.advance(seconds(1));
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 408 /);
  });

  test("one that is announced too large is not read at all", async () => {
    await using rig = await openReceiverRig();
    const socket = rig.raw();
    socket.write(headersOf("content-length: 262145"));
    await timers(rig, 1);
    await rig.clock.advance(seconds(1));
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 413 [^]*{"code":"BodyTooLarge"}$/);
  });

  test("one that grows without an announcement is cut off, and its sender still gets to read why", async () => {
    await using rig = await openReceiverRig();
    const socket = rig.raw();
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    socket.write(headersOf("transfer-encoding: chunked"));
    for (let i = 0; i < 6; i += 1) socket.write(chunk);
    socket.write("0\r\n\r\n");
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 413 [^]*{"code":"BodyTooLarge"}$/);
  });

  test("one without an end is read for a MiB at most", async () => {
    await using rig = await openReceiverRig();
    const socket = rig.raw();
    const chunk = `100000\r\n${"x".repeat(0x100000)}\r\n`;
    socket.write(headersOf("transfer-encoding: chunked"));
    const flood = () => {
      if (!socket.destroyed) socket.write(chunk);
    };
    socket.on("drain", flood);
    flood();
    socket.resume();
    await until(() => socket.destroyed, Boolean);
    expect(rig.events).toMatchObject([{ verdict: "BodyTooLarge" }]);
    expect(rig.requests[0]?.socket.bytesRead).toBeLessThan(4 * 1024 * 1024);
  });

  test("a caller that hangs up in its body ends quietly", async () => {
    await using rig = await openReceiverRig();
    const socket = rig.raw();
    socket.write(`${headersOf("content-length: 1000")}{`);
    await timers(rig, 1);
    socket.destroy();
    await timers(rig, 0);
    await until(
      () => rig.events.length,
      (count) => count === 1,
    );
    expect((await rig.put({ seq: 5 })).status).toBe(200);
  });
});

describe("closing", () => {
  test("lets what is applied end, refuses what comes and what waits, and then resolves", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    const second = rig.put({ seq: 6 });
    await timers(rig, 2);
    const closed = rig.receiver.close().then(() => "closed");
    expect(await second).toMatchObject({ status: 503, code: "Closing" });
    expect(await rig.put({ seq: 7 })).toMatchObject({ status: 503, code: "Closing" });
    expect(await Promise.race([closed, setImmediate("open")])).toBe("open");
    rig.end("op5");
    expect((await first).status).toBe(200);
    expect(await closed).toBe("closed");
    expect(rig.clock.sleeping).toBe(0);
  });

  test("does not wait for ever", async () => {
    await using rig = await openReceiverRig({ holds: true, limits: { applyTimeout: seconds(60) } });
    void rig.put({ seq: 5 }).catch(() => undefined);
    await isApplying(rig, "op5");
    const closed = rig.receiver.close().then(() => "closed");
    await rig.clock.advance(millisOf(60_000));
    expect(await closed).toBe("closed");
  });
});

describe("closing while", () => {
  test("an operation that was given up still runs waits for it", async () => {
    await using rig = await openReceiverRig({ holds: true });
    const first = rig.put({ seq: 5 });
    await isApplying(rig, "op5");
    await rig.clock.advance(seconds(5));
    expect((await first).status).toBe(500);
    const closed = rig.receiver.close().then(() => "closed");
    await timers(rig, 1);
    expect(await Promise.race([closed, setImmediate("open")])).toBe("open");
    rig.end("op5");
    expect(await closed).toBe("closed");
  });

  test("somebody asks: the store may be closed at any moment, so nothing is read", async () => {
    await using rig = await openReceiverRig();
    await rig.put({ seq: 5 });
    await rig.receiver.close();
    expect(await rig.get()).toMatchObject({ status: 503, code: "Closing" });
  });
});

test("one connection carries one request after the other", async () => {
  await using rig = await openReceiverRig();
  const socket = rig.raw();
  const body = JSON.stringify({ deployUnit: { id: 1, name: "blue", version: 1 }, version: 1 });
  const put = headersOf(`content-length: ${body.length}`) + body;
  socket.write(put);
  await until(
    () => rig.events.length,
    (count) => count === 1,
  );
  socket.write(put + put.replace("content-length", "connection: close\r\ncontent-length"));
  expect((await readAll(socket)).match(/HTTP\/1.1 200 OK/g)).toHaveLength(3);
  expect(rig.applied).toEqual(["op"]);
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

test("answers carry what HTTP asks of them", async () => {
  await using rig = await openReceiverRig();
  const ask = async (line: string, token = TOKEN): Promise<string> => {
    const socket = rig.raw();
    socket.write(`${line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${token}\r\n\r\n`);
    return (await readAll(socket)).toLowerCase();
  };
  const path = `/turnout/v1/tenants/${TENANT}`;
  expect(await ask(`POST ${path}`)).toMatch(/^http\/1.1 405 [^]*\r\nallow: get, put\r\n/);
  expect(await ask(`GET ${path}`, "nobody")).toMatch(/^http\/1.1 401 [^]*\r\nwww-authenticate: bearer\r\n/);
  await rig.put({ seq: 5 });
  expect(await ask(`GET ${path}`)).toMatch(/^http\/1.1 200 [^]*\r\ncache-control: no-store\r\n/);
});

test("GET of a tenant of which only a fence is known says which", async () => {
  await using rig = await openReceiverRig({ holds: true });
  const first = rig.put({ seq: 5 });
  await isApplying(rig, "op5");
  expect(await rig.get()).toEqual({
    status: 404,
    code: "UnknownTenant",
    body: { code: "UnknownTenant", seen: fenceOf(5) },
  });
  rig.end("op5");
  expect((await first).status).toBe(200);
});

describe("what is embedded wrongly", () => {
  const clock = new ManualClock();
  const apply = async (): Promise<void> => undefined;

  test("a store that forgets fences must be known to", () => {
    const store = openMemoryStore();
    expect(() => createReceiver({ store, apply, clock, allowUnauthenticated: true })).toThrow(/forgets fences/);
    expect(createReceiver({ store, apply, clock, allowUnauthenticated: true, forgetsFences: true })).toBeTypeOf(
      "function",
    );
  });
});

test("each request is reported once, with what was understood of it", async () => {
  await using rig = await openReceiverRig();
  await rig.put({ seq: 5 });
  await rig.put({ seq: 5 });
  await rig.put({ seq: 4 });
  await rig.get();
  await rig.put({ seq: 6, headers: { "turnout-fence": "~" } });
  expect(rig.events.map(({ verdict, operation, seen }) => [verdict, operation?.fence, seen])).toEqual([
    ["applied", fenceOf(5), undefined],
    ["repeated", fenceOf(5), undefined],
    ["Fenced", fenceOf(4), fenceOf(5)],
    ["read", undefined, undefined],
    ["FenceMalformed", undefined, undefined],
  ]);
});
