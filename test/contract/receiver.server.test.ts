import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import { createReceiver } from "../../src/receiver/receiver.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { fenceOf, TENANT } from "../support/receiver-build.ts";
import { openReceiverRig, TOKEN } from "../support/receiver-server.ts";
import { until } from "../support/egress/until.ts";
import { headersOf, isApplying, readAll, timers } from "./receiver-waits.ts";

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
