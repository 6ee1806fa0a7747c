import { describe, expect, test } from "vitest";
import type { Boundary, Point } from "../../src/lib/seams.ts";
import { millisOf } from "../../src/lib/time.ts";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig } from "../support/egress/rig.ts";
import { openTrap } from "../support/egress/trap.ts";

const PUT: Point = { class: "effect/http", subject: "prod/acme" };

function recording(): { readonly boundary: Boundary; readonly passed: Point[] } {
  const passed: Point[] = [];
  const boundary: Boundary = {
    around: (point, send) => {
      passed.push(point);
      return send();
    },
  };
  return { boundary, passed };
}

test("the boundary stands round each request that changes something, and round nothing that is refused or only reads", async () => {
  const { boundary, passed } = recording();
  await using server = await openTrap({ serve: always(answer(200)) });
  await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })], boundary });
  const call = aCall({ address: server.address });
  await rig.http.send({ ...call, method: "PUT", point: PUT }, never);
  await rig.http.send(call, never);
  await rig.http.send({ ...call, method: "PUT", point: PUT, path: "/a/../b" }, never);
  expect(passed).toEqual([PUT]);
});

describe("answers", () => {
  test.each([200, 204, 301, 401, 403, 404, 409, 412, 429, 500, 503])(
    "%i is an answer: the stage says what it means",
    async (status) => {
      const body = status === 204 ? "" : '{"code":"Fenced","seen":"0000000002-00000001"}';
      await using server = await openTrap({ serve: always(answer(status, body, { "retry-after": "7" })) });
      await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })] });
      expect(await rig.http.send(aCall({ address: server.address }), never)).toEqual({
        kind: "answer",
        status,
        json: status === 204 ? null : { ok: true, value: { code: "Fenced", seen: "0000000002-00000001" } },
        bytes: Buffer.byteLength(body),
        retryAfter: millisOf(7000),
      });
    },
  );

  test("HEAD has no body to read", async () => {
    await using server = await openTrap({
      serve: always(Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")),
    });
    await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })] });
    const result = await rig.http.send(aCall({ address: server.address, method: "HEAD" }), never);
    expect(result).toMatchObject({ kind: "answer", status: 200, json: null, bytes: 0 });
  });
});

test("failures are counted by type, refusals by rule", async () => {
  await using server = await openTrap({ serve: (socket) => void socket.on("data", () => socket.resetAndDestroy()) });
  await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })] });
  await rig.http.send(aCall({ address: server.address }), never);
  await rig.http.send(aCall({ address: "127.0.0.1:1" }), never);
  const text = await rig.metrics.text();
  expect(text).toContain('infra_errors_total{component="egress",type="TIMEOUT"} 1');
  expect(text).toContain('infra_errors_total{component="egress",type="CONFIG"} 1');
  expect(text).toContain('turnout_egress_refused_total{rule="port"} 1');
});
