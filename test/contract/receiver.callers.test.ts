import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { openReceiverRig } from "../support/receiver-server.ts";
import { until } from "../support/egress/until.ts";
import { headersOf, readAll, timers } from "./receiver-waits.ts";

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
