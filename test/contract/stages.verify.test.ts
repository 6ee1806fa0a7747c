import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Outcome } from "../../src/domain/task.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { millisOf } from "../../src/lib/time.ts";
import type { At } from "../support/stage-rig.ts";
import { type Answering, openAnswering, type Reply } from "../support/stage-rig-answers.ts";
import { type HttpStage, openHttpStage, openReceiver, putInto, type Receivers } from "../support/stage-rig-http.ts";
import { BLUE, GREEN } from "../support/stage-rig-plan.ts";

let receiver: Receivers;
beforeAll(async () => {
  receiver = await openReceiver();
});
afterAll(() => receiver[Symbol.asyncDispose]());

const says = (version: Json, more: JsonObject = {}): Reply => ({ status: 200, json: { version, ...more } });
const RIGHT = says(42);

interface Fleet extends HttpStage {
  readonly services: readonly Answering[];
  /** Rounds one after the other under one claim, as polls are: until one is not `waiting`, or so many. */
  rounds(most: number, at?: Partial<At>): Promise<readonly Outcome[]>;
}

/** Instances that answer by their number and the number of the round. */
async function fleet(
  size: number,
  config: JsonObject,
  reply: (nth: number, round: number) => Reply,
  about: { readonly previous?: object } = {},
): Promise<Fleet> {
  const services = await Promise.all(
    Array.from({ length: size }, async (_, nth) => {
      let round = 0;
      return openAnswering(() => {
        round += 1;
        return reply(nth, round);
      });
    }),
  );
  const it = await openHttpStage({ kind: "verify", ports: services.map(({ port }) => port), config, ...about });
  return {
    ...it,
    services,
    rounds: async (most, at = {}) => {
      const outcomes: Outcome[] = [];
      let memo: Json = null;
      for (let i = 0; i < most; i += 1) {
        const outcome = await it.stage.run({ seq: 10, timeout: millisOf(500), ...at, memo });
        outcomes.push(outcome);
        if (outcome.is !== "waiting") break;
        ({ memo } = outcome);
      }
      return outcomes;
    },
    [Symbol.asyncDispose]: async () => {
      await it[Symbol.asyncDispose]();
      for (const service of services) await service[Symbol.asyncDispose]();
    },
  };
}
const last = (outcomes: readonly Outcome[]): Outcome | undefined => outcomes.at(-1);
const messageOf = (outcome: Outcome | undefined): string =>
  outcome !== undefined && "fault" in outcome ? outcome.fault.message : "";
const verified = (instances: number): object => ({ is: "done", outputs: { instances, version: 42 } });

describe("[R56] all instances must report the version in the same round", () => {
  test("all do", async () => {
    await using it = await fleet(10, {}, () => RIGHT);
    expect(await it.rounds(1)).toEqual([verified(10)]);
  });

  test("instance 7 of 10 is late: asked again, all of them, until it is right", async () => {
    await using it = await fleet(10, {}, (nth, round) => (nth === 6 && round < 4 ? says(41) : RIGHT));
    const outcomes = await it.rounds(10);
    expect(outcomes.map(({ is }) => is)).toEqual(["waiting", "waiting", "waiting", "done"]);
    expect(it.services.map(({ came }) => came.length)).toEqual(Array.from({ length: 10 }, () => 4));
    expect(outcomes[0]).toMatchObject({
      again: 3000,
      reason: "AwaitingVersions",
      message: "stage it: 1 of 10 instances do not report version 42 yet",
    });
  });

  test("one never is: after 10 rounds it fails and is named", async () => {
    await using it = await fleet(10, {}, (nth) => (nth === 6 ? says(41) : RIGHT));
    const outcomes = await it.rounds(12);
    expect(outcomes).toHaveLength(10);
    expect(last(outcomes)).toMatchObject({ is: "terminal", fault: { code: "VersionsLate" } });
    expect(messageOf(last(outcomes))).toContain("1 of 10 instances do not report version 42");
    expect(messageOf(last(outcomes))).toContain(`${it.instances[6]?.slice("gateway|".length)} 41`);
    expect(last(outcomes)).toHaveProperty("reach", {
      acked: [],
      failures: [{ address: it.instances[6], code: "VersionsLate" }],
    });
  });

  test("right one after the other, never together, is not enough", async () => {
    await using it = await fleet(2, { rounds: 6 }, (nth, round) => (nth === round % 2 ? RIGHT : says(41)));
    const outcomes = await it.rounds(10);
    expect(outcomes.map(({ is }) => is)).toEqual(["waiting", "waiting", "waiting", "waiting", "waiting", "terminal"]);
  });

  test("successThreshold rounds in a row: a wrong one in between starts the count anew", async () => {
    await using it = await fleet(1, { successThreshold: 3, interval: "300ms" }, (_nth, round) =>
      round === 3 ? says(41) : RIGHT,
    );
    const outcomes = await it.rounds(10);
    expect(outcomes.map(({ is }) => is)).toEqual(["waiting", "waiting", "waiting", "waiting", "waiting", "done"]);
    expect(outcomes[0]).toMatchObject({ again: 300 });
  });

  test("a streak that has begun in the last round may finish, and no more", async () => {
    await using it = await fleet(1, { successThreshold: 2, rounds: 2 }, (_nth, round) =>
      round === 1 ? says(41) : RIGHT,
    );
    expect((await it.rounds(10)).map(({ is }) => is)).toEqual(["waiting", "waiting", "done"]);
    await using other = await fleet(1, { successThreshold: 2, rounds: 2 }, (_nth, round) =>
      round === 2 ? RIGHT : says(41),
    );
    expect((await other.rounds(10)).map(({ is }) => is)).toEqual(["waiting", "waiting", "terminal"]);
  });

  test("nobody asked is nobody right", async () => {
    await using it = await fleet(1, { rounds: 1 }, () => RIGHT);
    expect(last(await it.rounds(1, { addresses: [] }))).toMatchObject({
      is: "terminal",
      fault: { code: "VersionsLate" },
    });
  });

  test("[F19] every instance is asked, not the first for all", async () => {
    await using it = await fleet(3, { rounds: 1 }, (nth) => (nth === 0 ? RIGHT : says(41)));
    expect(last(await it.rounds(1))).toMatchObject({ is: "terminal" });
  });

  test("rounds are counted anew by a process that takes over", async () => {
    await using it = await fleet(1, { rounds: 2 }, () => says(41));
    expect((await it.rounds(1)).map(({ is }) => is)).toEqual(["waiting"]);
    expect((await it.rounds(10)).map(({ is }) => is)).toEqual(["waiting", "terminal"]);
  });
});

describe("instances that cannot be reached", () => {
  const gone = (nth: number): Reply => (nth < 2 ? "cut" : RIGHT);
  test("fail the round by default", async () => {
    await using it = await fleet(5, { rounds: 1 }, gone);
    const outcome = last(await it.rounds(1));
    expect(outcome).toMatchObject({ is: "terminal", fault: { code: "VersionsLate" } });
    expect(messageOf(outcome)).toContain("AnswerLost");
  });
  test("are tolerated up to maxUnreachable", async () => {
    await using two = await fleet(5, { rounds: 1, maxUnreachable: 2 }, gone);
    expect(await two.rounds(1)).toEqual([verified(3)]);
    await using one = await fleet(5, { rounds: 1, maxUnreachable: 1 }, gone);
    expect(last(await one.rounds(1))).toMatchObject({ is: "terminal" });
  });
  test("are not confused with those that report something else", async () => {
    await using it = await fleet(5, { rounds: 1, maxUnreachable: 2 }, (nth) => (nth === 4 ? says(41) : RIGHT));
    expect(last(await it.rounds(1))).toMatchObject({ is: "terminal" });
  });
  test("must leave minAvailable", async () => {
    await using enough = await fleet(5, { rounds: 1, maxUnreachable: 4, minAvailable: 3 }, gone);
    expect(await enough.rounds(1)).toEqual([verified(3)]);
    await using few = await fleet(5, { rounds: 1, maxUnreachable: 4, minAvailable: 4 }, gone);
    expect(last(await few.rounds(1))).toMatchObject({ is: "terminal" });
  });
  test.each([
    ["503", { status: 503 }],
    ["429", { status: 429 }],
    ["500", { status: 500 }],
    ["silence", "silence"],
    ["a cut connection", "cut"],
  ] as const)("%s counts as unreachable", async (_what, reply) => {
    await using it = await fleet(2, { rounds: 1, maxUnreachable: 1 }, (nth) => (nth === 0 ? reply : RIGHT));
    expect(await it.rounds(1)).toEqual([verified(1)]);
  });
});

describe("[SEC-33] an answer", () => {
  const ROWS: Readonly<Record<string, readonly [Reply, string]>> = {
    "another version": [says(41), "41"],
    "a version that is text": [says("42"), "4 characters"],
    "a version that is endless text": [says("4".repeat(5000)), "5002 characters"],
    "a version that is no whole number": [says(42.5), "4 characters"],
    "a version beyond 2^31-1": [says(2_147_483_648), "10 characters"],
    "a negative version": [says(-42), "3 characters"],
    "a map": [says({ v: 42 }), "8 characters"],
    "no version": [{ status: 200, json: {} }, "no version"],
    "no JSON": [{ status: 200, text: "canary" }, "NotJson"],
    "an empty body": [{ status: 200 }, "NotJson"],
    "too much": [{ status: 200, text: `"${"x".repeat(70_000)}"` }, "AnswerTooLarge"],
    "401": [{ status: 401, json: { version: 42 } }, "HTTP 401"],
    "404": [{ status: 404, json: { version: 42 } }, "HTTP 404"],
    "302": [{ status: 302, headers: { location: "/" } }, "HTTP 302"],
    "204": [{ status: 204 }, "HTTP 204"],
  };
  test("no row is lost", () => expect(Object.keys(ROWS)).toHaveLength(15));
  test.each(Object.entries(ROWS))(
    "with %s is not the version, and is told without its text",
    async (_what, [reply, said]) => {
      await using it = await fleet(1, { rounds: 1 }, () => reply);
      const outcome = last(await it.rounds(1));
      expect(outcome).toMatchObject({ is: "terminal", fault: { code: "VersionsLate" } });
      expect(messageOf(outcome)).toContain(`${it.instances[0]?.slice("gateway|".length)} ${said}`);
      expect(JSON.stringify(outcome)).not.toContain("canary");
    },
  );

  test("names as many instances as fit, and how many more there are", async () => {
    await using it = await fleet(12, { rounds: 1 }, () => says(41));
    const message = messageOf(last(await it.rounds(1)));
    expect(message).toMatch(/last answers: (?:127\.0\.0\.1:\d+ 41, ){3,}.* and \d more$/);
    expect(message.length).toBeLessThanOrEqual(512);
  });
});

describe("the deploy unit", () => {
  const unit = { unit: "/deployUnit", rounds: 1 };
  test.each([
    ["whole", { ...GREEN.deployUnit }],
    ["by name", "green"],
    ["by id", 2],
  ])("may be reported %s", async (_how, deployUnit) => {
    await using it = await fleet(1, unit, () => says(42, { deployUnit }));
    expect(await it.rounds(1)).toEqual([verified(1)]);
  });
  test.each([
    ["another one", { ...GREEN.deployUnit, version: 8 }],
    ["another name", "blue"],
    ["another id", 1],
    ["its version", 7],
    ["none", null],
  ])("%s is not the unit, although the version is right", async (_how, deployUnit) => {
    await using it = await fleet(2, unit, (nth) => says(42, { deployUnit: nth === 0 ? deployUnit : "green" }));
    expect(last(await it.rounds(1))).toMatchObject({
      is: "terminal",
      fault: { code: "UnitDiffers", message: "1 of 2 instances report another deploy unit" },
      reach: { failures: [{ address: it.instances[0], code: "UnitDiffers" }] },
    });
  });
  test("is not looked at unless asked for", async () => {
    await using it = await fleet(1, { rounds: 1 }, () => says(42, { deployUnit: "blue" }));
    expect(await it.rounds(1)).toEqual([verified(1)]);
  });
});

test("version and path may stand elsewhere", async () => {
  await using it = await fleet(1, { path: "/state/${tenantId}", version: "/data/0/v" }, () => ({
    status: 200,
    json: { data: [{ v: 42 }] },
  }));
  expect(await it.rounds(1)).toEqual([verified(1)]);
  expect(it.services[0]?.came[0]).toMatchObject({ method: "GET", path: `/state/${it.tenantId}` });
});

test("a poll carries neither fence nor operation, and no effect", async () => {
  await using it = await fleet(1, {}, () => RIGHT);
  await it.rounds(1);
  const headers = Object.keys(it.services[0]?.came[0]?.headers ?? {});
  expect(headers.filter((name) => /turnout-|idempotency/.test(name))).toEqual([]);
});

describe("while undoing, the previous unit is asked for the previous version", () => {
  const part = async (it: Fleet): Promise<Outcome> => it.stage.kind.run(it.stage.call("Back", "verify", { seq: 20 }));
  test("and passes where it says that", async () => {
    await using it = await fleet(2, { unit: "/deployUnit" }, () => says(41, { deployUnit: BLUE.deployUnit }));
    expect(await part(it)).toEqual({ is: "done", outputs: { instances: 2, version: 41 } });
  });
  test("and does not where it still says the new one", async () => {
    await using it = await fleet(2, {}, () => says(42));
    expect(await part(it)).toMatchObject({ is: "waiting", reason: "AwaitingVersions" });
  });
  test("and a smaller unit than minAvailable needs all of its instances", async () => {
    await using it = await fleet(1, { minAvailable: 1 }, () => says(41));
    expect(await part(it)).toMatchObject({ is: "done" });
  });
});

describe("the demo's receiver", () => {
  test("[http/reborn] that reports an old version is waited for", async () => {
    await using it = await openHttpStage({ kind: "verify", ports: [receiver.process.port], token: receiver.token });
    await putInto(receiver, it.tenant, { seq: 1, opId: "a", unit: BLUE, version: 41 });
    await putInto(receiver, it.tenant, { seq: 2, opId: "b", unit: GREEN, version: 42 });
    await receiver.process.tell({ mode: "lag", tenant: it.tenant, times: 2 });
    const outcomes = [
      await it.stage.run({ seq: 10 }),
      await it.stage.run({ seq: 10 }),
      await it.stage.run({ seq: 10 }),
    ];
    expect(outcomes.map(({ is }) => is)).toEqual(["waiting", "waiting", "done"]);
  });
});
