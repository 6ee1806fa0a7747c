import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { openAnswering, type Reply } from "../support/stage-rig-answers.ts";
import { openHttpStage, putInto } from "../support/stage-rig-http.ts";
import { BLUE, GREEN } from "../support/stage-rig-plan.ts";
import { BLUE_41, bothReceivers, GREEN_42, reachOf, verdicts } from "./both-receivers.ts";

const both = bothReceivers();
const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });

describe("several instances", () => {
  test("all acknowledge", async () => {
    await using it = await both.onBoth();
    expect(await it.stage.run(FIRST)).toEqual({ is: "done", outputs: { instances: 2 } });
    expect(await both.served(it)).toEqual([GREEN_42, GREEN_42]);
  });

  test("[R54] partial failure names who did and who did not, by code", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "refuse", status: 422, tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject(terminal("HttpRejected"));
    expect(reachOf(outcome)).toEqual({
      acked: [it.instances[0]],
      failures: [{ address: it.instances[1], code: "HttpRejected" }],
    });
    expect(await both.served(it)).toEqual([GREEN_42, BLUE_41]);
  });

  test("[R54] a list of failures in a 200 counts as failure of that instance", async () => {
    await using it = await both.onBoth({ success: { emptyAt: "/data/failList" } });
    await both.green.process.tell({ mode: "partial", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject(terminal("FailListNotEmpty"));
    expect(reachOf(outcome)).toMatchObject({ acked: [it.instances[0]] });
  });

  test("[http/down] only those that did not acknowledge are called again, with the same operation", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "refuse", status: 503, tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "retryable", reach: { acked: [it.instances[0]] } });
    const before = (await verdicts(both.blue, it.tenant)).length;
    expect(await it.stage.run({ seq: 11, addresses: it.instances.slice(1) })).toMatchObject(done);
    expect(await verdicts(both.blue, it.tenant)).toHaveLength(before);
    const opIds = (await both.green.process.effects())
      .filter((line) => line["tenant"] === it.tenant && line["version"] === 42)
      .map((line) => line["opId"]);
    expect(new Set(opIds)).toEqual(new Set([it.stage.call("Forward", null, FIRST).opId]));
  });

  test("[S26] doubt about one outranks refusal by another", async () => {
    await using it = await both.onBoth();
    await both.blue.process.tell({ mode: "refuse", status: 422, tenant: it.tenant, times: 1 });
    await both.green.process.tell({ mode: "lose-answer", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "unknown", fault: { code: "AnswerLost" } });
    expect(reachOf(outcome)).toEqual({
      acked: [],
      failures: [
        { address: it.instances[0], code: "HttpRejected" },
        { address: it.instances[1], code: "AnswerLost" },
      ],
    });
  });

  test("[S30] one that has seen more than we know stops everything", async () => {
    await using it = await both.onBoth();
    await putInto(both.green, it.tenant, { seq: 50, opId: "later", unit: GREEN, version: 50 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "fenced" });
    expect(await it.stage.run({ seq: 60, base: 40 })).toMatchObject({ is: "diverged" });
  });

  test("the longest Retry-After counts", async () => {
    const after = ["3", "9", "5"];
    await using one = await openAnswering(() => ({ status: 503, headers: { "retry-after": after[0] ?? "" } }));
    await using two = await openAnswering(() => ({ status: 429, headers: { "retry-after": after[1] ?? "" } }));
    await using three = await openAnswering(() => ({ status: 503, headers: { "retry-after": after[2] ?? "" } }));
    await using it = await openHttpStage({ ports: [one.port, two.port, three.port] });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "retryable", after: 9000 });
  });

  test("one that is gone is named, the others are called all the same", async () => {
    await using it = await both.onBoth();
    await it.proxies[0]?.[Symbol.asyncDispose]();
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "retryable", fault: { code: "ConnectRefused" } });
    expect(reachOf(outcome)).toEqual({
      acked: [it.instances[1]],
      failures: [{ address: it.instances[0], code: "ConnectRefused" }],
    });
  });
});

describe("select", () => {
  const three = async (select: string, reply: (nth: number) => Reply) => {
    const services = await Promise.all([0, 1, 2].map((nth) => openAnswering(() => reply(nth))));
    const endpoints = services.map(({ port }) => ({ key: "gw", host: "127.0.0.1", port }));
    const it = await openHttpStage({
      ports: [],
      reachable: services.map(({ port }) => port),
      config: { to: { key: "gw", select } },
      target: { ...GREEN, endpoints },
      previous: { ...BLUE, endpoints: endpoints.slice(0, 1) },
    });
    const called = (): readonly number[] => services.map(({ came }) => came.length);
    const dispose = async (): Promise<void> => {
      await it[Symbol.asyncDispose]();
      for (const service of services) await service[Symbol.asyncDispose]();
    };
    return { ...it, services, called, [Symbol.asyncDispose]: dispose };
  };
  const fine: Reply = { status: 200, json: {} };

  test("Any is content with the first", async () => {
    await using it = await three("Any", () => fine);
    expect(await it.stage.run(FIRST)).toEqual({ is: "done", outputs: { instances: 1 } });
    expect(it.called()).toEqual([1, 0, 0]);
  });

  test("Any goes on where one certainly received nothing", async () => {
    await using it = await three("Any", (nth) => (nth === 1 ? fine : { status: 503 }));
    expect(await it.stage.run(FIRST)).toMatchObject(done);
    expect(it.called()).toEqual([1, 1, 0]);
  });

  test("Any stops where nobody knows whether one received it", async () => {
    await using it = await three("Any", (nth) => (nth === 0 ? "cut" : fine));
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown" });
    expect(it.called()).toEqual([1, 0, 0]);
  });

  test("Any stops at a refusal", async () => {
    await using it = await three("Any", (nth) => (nth === 0 ? { status: 422 } : fine));
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("HttpRejected"));
    expect(it.called()).toEqual([1, 0, 0]);
  });

  test("Any is tried again where all are busy, and names all", async () => {
    await using it = await three("Any", () => ({ status: 503 }));
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "retryable", fault: { code: "ReceiverBusy" } });
    expect(reachOf(outcome)).toMatchObject({ acked: [], failures: [{}, {}, {}] });
  });

  test("RoundRobin calls one, the same at each attempt of an operation, another for other operations", async () => {
    await using it = await three("RoundRobin", () => fine);
    for (const seq of [10, 11, 12]) await it.stage.run({ seq });
    expect(it.called().toSorted((a, b) => a - b)).toEqual([0, 0, 3]);
    for (let i = 0; i < 40; i += 1) await it.stage.run({ seq: 20 + i, opId: randomBytes(26).toString("hex") });
    expect(it.called().every((count) => count > 3)).toBe(true);
  });

  test.each(["Any", "RoundRobin"])("%s: in force at one of them is in force", async (select) => {
    let opId = "";
    await using it = await three(select, (nth) =>
      nth === 1
        ? { status: 200, json: { opId, fence: fenceOf(10) } }
        : { status: 404, json: { code: "UnknownTenant" } },
    );
    opId = it.stage.call("Forward", null, FIRST).opId;
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "in-force", outputs: { instances: 1 } });
    opId = "other";
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
  });

  test.each(["Any", "RoundRobin"])("%s: not in force is said only where all can be read", async (select) => {
    await using it = await three(select, (nth) =>
      nth === 2 ? { status: 503 } : { status: 404, json: { code: "UnknownTenant" } },
    );
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "unreadable" });
  });

  test("whatever was selected, the undo goes to everyone who may have received it and to the previous ones", async () => {
    let opId = "";
    await using it = await three("Any", () => ({ status: 200, json: { opId } }));
    await it.stage.run(FIRST);
    opId = it.stage.call("Back", "announce", { seq: 20 }).opId;
    expect(await it.stage.undo({ seq: 20 })).toMatchObject({ is: "done", outputs: { instances: 3 } });
    expect(it.services.map(({ came }) => came.filter(({ method }) => method === "PUT").length)).toEqual([2, 1, 1]);
  });
});

test("[R46] instances are called 16 at a time", async () => {
  const release = Promise.withResolvers<void>();
  await using service = await openAnswering(async () => {
    await release.promise;
    return { status: 200, json: {} };
  });
  await using it = await openHttpStage({ ports: Array.from({ length: 20 }, () => service.port), sockets: 64 });
  const running = it.stage.run({ ...FIRST, timeout: seconds(10) });
  await until(
    () => service.atOnce,
    (count) => count >= 16,
  );
  release.resolve();
  expect(await running).toMatchObject({ is: "done", outputs: { instances: 20 } });
  expect(service.atOnce).toBe(16);
});
