import { describe, expect, onTestFinished, test } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import { type Election, openElection, type Term } from "../../src/kube/lease.ts";
import type { KubeLog } from "../../src/kube/log.ts";
import { formatMicroTime } from "../../src/kube/micro-time.ts";
import type { KubeRequest, Rng } from "../../src/lib/seams.ts";
import { instantOf, millisOf, minutes, plus, seconds } from "../../src/lib/time.ts";
import { statusAnswer } from "../support/fake-kube-transport.ts";
import { type FakeLeaseServer, openFakeLeaseServer } from "../support/fake-lease-server.ts";
import { ManualClock, NOON } from "../support/manual-clock.ts";

/** No jitter: polls are exactly two seconds apart. */
const punctual: Rng = { float: () => 0, id: () => "" };
const NOW = millisOf(0);
const lost = new NoAnswer("Ambiguous", "Timeout");
const refused = new NoAnswer("Refused", "ECONNREFUSED");

interface Candidate {
  readonly said: readonly string[];
  readonly election: Election;
  readonly warnings: string[];
  readonly stop: AbortController;
  /** null until the lease is held. */
  term: Term | null;
}

/** Each candidate has a clock of its own, like processes on different machines. */
function campaign(server: FakeLeaseServer, identity: string, clock: ManualClock, rng = punctual): Candidate {
  const [said, warnings]: [string[], string[]] = [[], []];
  const log: KubeLog = {
    info: (_fields, text) => said.push(text),
    warn: (_fields, text) => warnings.push(text),
    error: () => undefined,
  };
  const client = openClient(server.kube, { clock });
  const election = openElection({
    client,
    namespace: "system",
    name: "leader",
    identity,
    clock,
    rng,
    log,
    wall: () => clock.now(),
  });
  const candidate: Candidate = { election, said, warnings, stop: new AbortController(), term: null };
  election.campaign(candidate.stop.signal).then(
    (term) => (candidate.term = term),
    () => undefined,
  );
  onTestFinished(() => candidate.stop.abort());
  return candidate;
}

const held = (by: string, at = NOON): Readonly<Record<string, unknown>> => ({
  holderIdentity: by,
  leaseDurationSeconds: 15,
  acquireTime: formatMicroTime(at),
  renewTime: formatMicroTime(at),
  leaseTransitions: 3,
});

describe("taking the lease", () => {
  test("one that does not exist is created and held at once", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    expect([a.term === null, a.election.isLeader, a.election.observedHolder]).toEqual([false, true, "a"]);
    expect(server.spec).toEqual({ ...held("a"), leaseTransitions: 0, acquireTime: "2026-06-01T12:00:00.000000Z" });
    expect(server.kube.requests.every(({ lane }) => lane === "lease")).toBe(true);
    expect(server.kube.requests.at(-1)?.point).toEqual({ class: "api/lease", subject: null });
  });

  test("one that nobody holds is taken at once; the change of holder is counted", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put({ ...held("b", instantOf(NOON - 60_000)), holderIdentity: "" });
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    expect(a.election.isLeader).toBe(true);
    expect(server.spec).toMatchObject({ leaseTransitions: 4, holderIdentity: "a", acquireTime: formatMicroTime(NOON) });
  });

  test("a restarted process takes its own identity's lease back at once, as the same holder", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put(held("a", instantOf(NOON - 60_000)));
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    expect(a.election.isLeader).toBe(true);
    expect(server.spec).toMatchObject({ leaseTransitions: 3, acquireTime: formatMicroTime(instantOf(NOON - 60_000)) });
  });

  test("[L7] a holder that is silent is succeeded 15 s after it was first seen so, not before, and within 17 s", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put(held("b"));
    const a = campaign(server, "a", clock);
    await clock.advance(millisOf(14_999));
    expect([a.election.isLeader, a.election.observedHolder, a.election.hasEnded("b")]).toEqual([false, "b", false]);
    await clock.advance(seconds(1));
    expect([a.election.isLeader, a.election.hasEnded("b")]).toEqual([true, true]);
  });

  test.each([
    ["ten years old", -10 * 365 * 86_400_000],
    ["ten years ahead", 10 * 365 * 86_400_000],
  ])("[L7] times in the record that are %s decide nothing", async (_what, shift) => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put(held("b", instantOf(NOON + shift)));
    const a = campaign(server, "a", clock);
    await clock.advance(seconds(14));
    expect(a.election.isLeader).toBe(false);
    await clock.advance(seconds(2));
    expect(a.election.isLeader).toBe(true);
  });

  test("[L7] candidates look every second and a half or, so that they spread, up to a fifth sooner; never later", async () => {
    for (const [float, polls] of [
      [0, 9],
      [1 - Number.EPSILON, 11],
    ] as const) {
      const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
      server.put(held("b"));
      campaign(server, "a", clock, { float: () => float, id: () => "" });
      await clock.advance(seconds(13));
      expect(server.kube.requests).toHaveLength(polls);
    }
  });

  test("who waits says once for whom, and says when it leads", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put(held("b"));
    const a = campaign(server, "a", clock);
    await clock.advance(seconds(4));
    server.put(held("c"));
    await clock.advance(minutes(1));
    expect(a.said).toEqual(["b leads, a waits", "c leads, a waits", "a leads"]);
  });

  test("a holder that renews is never succeeded", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    const b = campaign(server, "b", clock);
    await clock.advance(minutes(5));
    expect([a.election.isLeader, b.election.isLeader, b.election.observedHolder, b.election.hasEnded("a")]).toEqual([
      true,
      false,
      "a",
      false,
    ]);
  });

  test("of two that find it free one gets it: the other meets a conflict", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put({ ...held("x"), holderIdentity: "" });
    const candidates = ["a", "b", "c"].map((identity) => campaign(server, identity, clock));
    await clock.advance(seconds(10));
    expect(candidates.map(({ election }) => election.isLeader).filter(Boolean)).toHaveLength(1);
    expect(candidates.flatMap(({ warnings }) => warnings)).toEqual([]);
  });

  test("an answer that was lost is read after: the own write is found, no second one is made", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.fail("POST", { reply: lost, committed: true });
    const a = campaign(server, "a", clock);
    await clock.advance(seconds(2));
    expect([a.election.isLeader, server.spec.leaseTransitions]).toEqual([true, 0]);
  });

  test("an API server that is away is asked again until it comes back", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.fail("GET", ...Array.from({ length: 40 }, () => ({ reply: refused })));
    const a = campaign(server, "a", clock);
    await clock.advance(seconds(58));
    expect(a.election.isLeader).toBe(false);
    await clock.advance(seconds(4));
    expect(a.election.isLeader).toBe(true);
  });

  test("ends with its signal", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    server.put(held("b"));
    const a = campaign(server, "a", clock);
    await clock.advance(seconds(3));
    a.stop.abort();
    await clock.advance(minutes(5));
    expect([a.election.isLeader, clock.sleeping]).toEqual([false, 0]);
  });
});

describe("holding it", () => {
  async function leading(): Promise<{ server: FakeLeaseServer; clock: ManualClock; a: Candidate; term: Term }> {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    return { server, clock, a, term: a.term! };
  }

  test("it is renewed every two seconds, without reads", async () => {
    const { server, clock, term } = await leading();
    await clock.advance(minutes(1));
    expect(server.kube.requests.slice(2).map(({ method }) => method)).toEqual(Array(30).fill("PUT"));
    expect([server.spec.renewTime, term.lost.aborted]).toEqual([formatMicroTime(plus(NOON, minutes(1))), false]);
  });

  test("[L7] not renewed for 10 s it is lost, well before others may take it", async () => {
    const { server, clock, a, term } = await leading();
    await clock.advance(seconds(2));
    server.fail("PUT", ...Array.from({ length: 20 }, () => ({ reply: refused })));
    await clock.advance(millisOf(9999));
    expect([a.election.isLeader, term.lost.aborted]).toEqual([true, false]);
    await clock.advance(millisOf(1));
    expect([a.election.isLeader, term.lost.aborted]).toEqual([false, true]);
    expect(a.warnings.at(-1)).toBe("the lease is lost: not renewed for 10 s");
  });

  test("[L7] silence ends it on time: no request of the holder lasts beyond his deadline", async () => {
    const { server, clock, term } = await leading();
    const silent = async ({ timeout }: KubeRequest): Promise<never> => {
      await clock.sleep(timeout);
      throw lost;
    };
    server.fail("PUT", ...Array.from({ length: 20 }, () => ({ reply: silent })));
    server.fail("GET", ...Array.from({ length: 20 }, () => ({ reply: silent })));
    await clock.advance(millisOf(9999));
    expect(term.lost.aborted).toBe(false);
    await clock.advance(millisOf(1));
    expect(term.lost.aborted).toBe(true);
  });

  test("[L7] a process that was stopped does not lead when it wakes, before it has noticed, nor gives free what is not its own", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const stopped = openElection({
      client: openClient(server.kube, { clock }),
      namespace: "system",
      name: "leader",
      identity: "z",
      // Its timers do not come, as in a stopped process; time goes on.
      clock: {
        now: () => clock.now(),
        monotonic: () => clock.monotonic(),
        sleep: (_after, signal) => clock.sleep(minutes(60), signal),
      },
      rng: punctual,
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
      wall: () => clock.now(),
    });
    const term = await stopped.campaign(new AbortController().signal);
    await clock.advance(millisOf(9999));
    expect(stopped.isLeader).toBe(true);
    await clock.advance(millisOf(1));
    expect(stopped.isLeader).toBe(false);
    await term.release();
    expect([server.writes, server.spec.holderIdentity]).toEqual([1, "z"]);
  });

  test("a renewal of unknown outcome is read after, and goes on from what stands", async () => {
    const { server, clock, a } = await leading();
    server.fail("PUT", { reply: lost, committed: true }, { reply: lost });
    await clock.advance(minutes(1));
    expect([a.election.isLeader, server.spec.holderIdentity]).toEqual([true, "a"]);
  });

  test("a record that somebody touched, without taking it, is renewed over", async () => {
    const { server, clock, a } = await leading();
    server.put({ ...server.spec, strategy: "touched" });
    await clock.advance(seconds(6));
    expect([a.election.isLeader, server.spec.strategy]).toEqual([true, "touched"]);
  });

  test.each([
    ["another one took it", (server: FakeLeaseServer) => server.put(held("b")), "b holds it"],
    [
      "it was given free in our name",
      (server: FakeLeaseServer) => server.put({ ...held("a"), holderIdentity: "" }),
      "nobody holds it",
    ],
  ])("%s: it is lost as soon as that is seen", async (_what, change, why) => {
    const { server, clock, a, term } = await leading();
    change(server);
    await clock.advance(seconds(2));
    expect(a.election.observedHolder).toBe(server.spec.holderIdentity === "" ? null : "b");
    expect([a.election.isLeader, term.lost.aborted, String(term.lost.reason)]).toEqual([
      false,
      true,
      `Error: the lease system/leader is lost: ${why}`,
    ]);
  });

  test("a lease that was deleted is made again", async () => {
    const { server, clock, a } = await leading();
    server.remove();
    await clock.advance(seconds(4));
    expect([a.election.isLeader, server.spec.holderIdentity]).toEqual([true, "a"]);
  });

  test("a refused renewal alone loses nothing", async () => {
    const { server, clock, a } = await leading();
    server.fail(
      "PUT",
      { reply: statusAnswer(500, "InternalError") },
      { reply: statusAnswer(429, "TooManyRequests") },
      { reply: refused },
    );
    server.fail("GET", { reply: refused });
    await clock.advance(seconds(9));
    expect(a.election.isLeader).toBe(true);
  });
});

describe("letting go", () => {
  test("[L7] released, it is taken by the next within three seconds, and the old holder is known to have ended", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    const b = campaign(server, "b", clock);
    await clock.advance(seconds(5));
    await a.term?.release();
    expect([a.election.isLeader, server.spec.holderIdentity, server.spec.leaseDurationSeconds]).toEqual([false, "", 1]);
    await clock.advance(seconds(3));
    expect([b.election.isLeader, b.election.hasEnded("a"), b.election.hasEnded("b"), b.election.hasEnded("c")]).toEqual(
      [true, true, true, false],
    );
    expect(server.spec.leaseTransitions).toBe(1);
  });

  test("what was lost is not given free", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    server.put(held("b"));
    await clock.advance(seconds(2));
    const { writes } = server;
    await a.term?.release();
    expect([server.writes, server.spec.holderIdentity]).toEqual([writes, "b"]);
  });

  test("that cannot be written ends all the same, and says so", async () => {
    const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
    const a = campaign(server, "a", clock);
    await clock.advance(NOW);
    server.fail("PUT", { reply: refused });
    await a.term?.release();
    expect([a.election.isLeader, a.warnings.at(-1), clock.sleeping]).toEqual([
      false,
      expect.stringContaining("not given free"),
      0,
    ]);
  });
});

test("an identity whose lease ended and that leads again has not ended", async () => {
  const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
  server.put(held("b"));
  const a = campaign(server, "a", clock);
  await clock.advance(seconds(2));
  server.put(held("c"));
  await clock.advance(seconds(2));
  expect([a.election.hasEnded("b"), a.election.hasEnded("c")]).toEqual([true, false]);
  server.put(held("b"));
  await clock.advance(seconds(2));
  expect([a.election.hasEnded("b"), a.election.hasEnded("c")]).toEqual([false, true]);
});

test("ended holders are remembered, but not without bound", async () => {
  const [server, clock] = [openFakeLeaseServer(), new ManualClock()];
  server.put(held("b-0"));
  const a = campaign(server, "a", clock);
  for (let i = 1; i <= 70; i += 1) {
    server.put(held(`b-${i}`));
    await clock.advance(seconds(2));
  }
  expect([a.election.hasEnded("b-69"), a.election.hasEnded("b-6"), a.election.hasEnded("b-1")]).toEqual([
    true,
    true,
    false,
  ]);
});
