import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { seconds } from "../../src/lib/time.ts";
import { create, type FaultSpace, openFaultSpace, SAME_STAGES, walk } from "../support/fault-walk.ts";
import type { Fault, Match } from "../support/http-proxy.ts";
import {
  BOMB,
  bodyOf,
  cutBody,
  DEEP,
  endlessBody,
  instead,
  kubeStatus,
  late,
  loseAnswer,
  loseRequest,
  NOT_UTF8,
  PAGE,
  POISONED,
  redirect,
  twice,
} from "../support/http-proxy-faults.ts";
import { conditionOf } from "../support/person.ts";
import type { Left } from "../support/stand-outcome.ts";
import { effectsAt } from "../support/stand-read.ts";
import { aSwitch, NOTIFY, openTestStand, SOAK, type Space, type TestStand } from "../support/stand.ts";
import { claims, reads, statusWrites, writes } from "../support/watch-proxy.ts";

const any: Match = () => true;
const nothing: Fault = () => undefined;
const BUSY = kubeStatus(429, "TooManyRequests", { headers: { "retry-after": "1" } });
const meeting =
  (match: Match, fault: Fault) =>
  ({ proxy }: FaultSpace): (() => void) => {
    const rule = proxy.meet(match, fault);
    return () => rule.clear();
  };

let stand: TestStand;
let undisturbed: Left;

beforeAll(async () => {
  const defaults = { attemptTimeout: "8s", instanceTimeout: "4s" };
  // Clocks that run at five times the speed end waits early, as they may.
  const breaks = ["S19"];
  stand = await openTestStand(inject("env"), { spaces: EXCHANGES.length + 16, operator: { defaults }, breaks });
  await using space = await openFaultSpace(stand);
  await space.operator();
  undisturbed = await walk(stand, space);
});
afterAll(() => stand[Symbol.asyncDispose]());

/** Two of three go well. */
function everyThird(match: Match): Match {
  let n = 0;
  return (asked) => match(asked) && (n += 1) % 3 === 0;
}

const EXCHANGES: readonly (readonly [what: string, fault: Fault])[] = [
  ["[kube-apiserver/lost] carried out, the answer is lost", loseAnswer],
  ["[kube-apiserver/lost] lost on the way there", loseRequest],
  ["[kube-apiserver/lost] delivered twice", twice],
  ["[kube-apiserver/lost] the answer ends in its middle", cutBody],
  ["[kube-apiserver/hostile] the answer never ends", endlessBody],
  ["[kube-apiserver/hostile] a page of HTML", PAGE],
  ["[kube-apiserver/hostile] bytes that are no UTF-8", NOT_UTF8],
  ["[kube-apiserver/hostile] 20,000 levels deep", DEEP],
  ["[kube-apiserver/hostile] a poisoned key", POISONED],
  ["[kube-apiserver/hostile] a bomb", BOMB],
  ["[kube-apiserver/hostile] a list where an object should be", bodyOf('{"items":[]}')],
  ["[kube-apiserver/busy] 500, not carried out", kubeStatus(500, "InternalError")],
  ["[kube-apiserver/busy] 504, not carried out", instead({ status: 504, body: "gateway" })],
  ["[kube-apiserver/late] 409 that is no conflict", kubeStatus(409, "Conflict")],
];

describe.concurrent("[S26] [S6] every third write goes wrong, and the read after it now and then too", () => {
  test.for(EXCHANGES)("%s", async ([what, fault], { expect }) => {
    await using space = await openFaultSpace(stand);
    const rule = space.proxy.meet(everyThird(writes), fault);
    if (!what.includes("409")) space.proxy.meet(everyThird(reads("switchtasks")), fault, 3);
    await space.operator();
    expect(await walk(stand, space)).toEqual(undisturbed);
    expect(rule.met).toBeGreaterThan(5);
  });
});

/** Nonces under which a stage was ever claimed. */
const noncesOf = (space: Space, stage: number): readonly unknown[] => [
  ...new Set(
    space.versions("acme-green").flatMap((version) => at(version, `/status/stages/${stage}/claim/nonce`) ?? []),
  ),
];

describe.concurrent("a claim", () => {
  const begin = async (space: FaultSpace): Promise<void> => {
    await space.operator();
    await create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages: SAME_STAGES }));
  };

  test("[kube-apiserver/lost] whose answer is lost is read, known by its nonce, and acted on: no second claim", async ({
    expect,
  }) => {
    await using space = await openFaultSpace(stand);
    const rule = space.proxy.meet(claims("route"), loseAnswer, 1);
    await begin(space);
    await space.over("acme-green", "Completed");
    expect(rule.met).toBe(1);
    expect(noncesOf(space, 0)).toHaveLength(1);
  });

  test("[kube-apiserver/late] that arrives after its successor is refused and changes nothing", async ({ expect }) => {
    await using space = await openFaultSpace(stand);
    const held = late();
    space.proxy.meet(claims("route"), held.fault, 1);
    await begin(space);
    await held.caught;
    const done = await space.over("acme-green", "Completed");
    const versions = space.versions("acme-green").length;
    expect((await held.deliver()).status).toBe(409);
    expect(await space.task("acme-green")).toEqual(done);
    expect(space.versions("acme-green")).toHaveLength(versions);
    const effects = await effectsAt([stand.green], `${space.namespace}/acme`);
    expect(effects.map(({ verdict }) => verdict)).toEqual(["applied"]);
  });
});

const effectsOf = async ({ namespace }: Space): Promise<number> =>
  (await effectsAt([stand.blue, stand.green], `${namespace}/acme`)).length;

/** What is spoilt, after how many turns that failed it is mended, and how. */
const BLIND: readonly (readonly [what: string, turns: number, spoil: (space: FaultSpace) => () => void])[] = [
  [
    "[kube-apiserver/down] that is away",
    4,
    ({ proxy }) => {
      proxy.refuse(true);
      return () => proxy.refuse(false);
    },
  ],
  ["[kube-apiserver/silent] that takes connections and says nothing", 1, meeting(any, nothing)],
  ["[kube-apiserver/busy] that says 429 to everything", 4, meeting(any, BUSY)],
  ["[kube-apiserver/busy] that says 500 to every write", 2, meeting(writes, kubeStatus(500, "InternalError"))],
  ["[kube-apiserver/denied] that says 401 to everything", 4, meeting(any, kubeStatus(401, "Unauthorized"))],
];

describe.concurrent("[S31] an API server", () => {
  test.for(BLIND)(
    "%s: no effect begins, nobody hammers; it resumes by itself",
    async ([, turns, spoil], { expect }) => {
      await using space = await openFaultSpace(stand);
      // Requests end after 15 s: here after three.
      const operator = await space.operator({ clock: "rate:5" });
      const stages = [SOAK("5s"), NOTIFY];
      await create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages }));
      await space.waits("acme-green", "Waiting");
      const mend = spoil(space);
      const before = space.proxy.seen.length;
      const failed = async (): Promise<number> =>
        (await readFile(operator.log, "utf8")).split("acme-green: the API server takes no requests").length - 1;
      await until(async () => (await failed()) >= turns, {
        ...POLL,
        timeout: seconds(40),
        what: `${turns} turns to fail`,
      });
      expect(await effectsOf(space)).toBe(0);
      expect(space.proxy.seen.length - before).toBeLessThan(60);
      mend();
      await space.over("acme-green", "Completed");
      expect(await effectsOf(space)).toBe(1);
      expect(await readFile(operator.log, "utf8")).not.toContain("(quarantined)");
    },
  );
});
const POLL = { clock: localClock } as const;

describe("lanes", () => {
  test("[kube-apiserver/busy] [L7] while every write of every task hangs, the lease is renewed and nobody else leads", async ({
    expect,
  }) => {
    await using space = await openFaultSpace(stand);
    const { namespace, proxy } = space;
    const operator = await space.operator({ lease: `lanes-${namespace}` });
    const hung = proxy.meet(statusWrites, nothing);
    for (let i = 0; i < 40; i += 1)
      await create(
        space,
        aSwitch({ ...stand, namespace }, { name: `task-${i}`, tenantId: `tenant-${i}`, stages: [NOTIFY] }),
      );
    const renewals = (): number =>
      proxy.seen.filter(({ method, path, status }) => method === "PUT" && path.includes("/leases/") && status === 200)
        .length;
    await until(() => hung.met >= 24, { ...POLL, timeout: seconds(20), what: "every connection of the lane to hang" });
    const before = renewals();
    // The lease would be lost after 10 s without.
    await until(() => renewals() >= before + 6, { ...POLL, timeout: seconds(25), what: "six renewals" });
    expect(await readFile(operator.log, "utf8")).not.toMatch(/lost|no longer leads/);
    hung.clear();
    proxy.cut();
    for (let i = 0; i < 40; i += 1) await space.over(`task-${i}`, "Completed");
  });
});

test("[kube-apiserver/denied] a right that is missing is named with its verb and resource; given back, the switch goes on", async () => {
  await using space = await openFaultSpace(stand);
  const message = 'tenantstates.turnout.dev is forbidden: User "operator" cannot create resource "tenantstates"';
  const creates: Match = ({ method, path }) => method === "POST" && path.includes("/tenantstates");
  const refused = space.proxy.meet(creates, kubeStatus(403, "Forbidden", { message }), 2);
  const operator = await space.operator();
  await create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages: SAME_STAGES }));
  await space.over("acme-green", "Completed");
  expect(refused.met).toBe(2);
  const [stalled] = space.versions("acme-green").filter((task) => conditionOf(task, "Stalled").status === "True");
  expect(conditionOf(stalled ?? {}, "Stalled")).toMatchObject({ reason: "PermissionMissing" });
  expect(conditionOf(stalled ?? {}, "Stalled").message).toMatch(
    /^create tenantstates\.turnout\.dev \S+\/acme: Forbidden .*; give the operator's account that right: kubectl apply/,
  );
  expect(conditionOf(await space.task("acme-green"), "Stalled").status).toBe("False");
  expect(await readFile(operator.log, "utf8")).toMatch(
    /create tenantstates\.turnout\.dev t[\d-]+\/acme: Forbidden \(403 Forbidden\): tenantstates\.turnout\.dev is forbidden/,
  );
});

test("[SEC-4] [SEC-23] [kube-apiserver/hostile] a redirect of any request is not followed; nothing reaches where it points", async () => {
  const reached: string[] = [];
  await using trap = createServer((request, response) => {
    reached.push(request.url ?? "");
    response.end();
  }).listen(0, "127.0.0.1");
  await once(trap, "listening");
  const { port } = trap.address() as AddressInfo;
  await using space = await openFaultSpace(stand);
  const rule = space.proxy.meet(everyThird(any), redirect(`http://127.0.0.1:${port}/`), 4);
  await space.operator();
  await create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages: SAME_STAGES }));
  await space.over("acme-green", "Completed");
  expect(rule.met).toBe(4);
  expect(reached).toEqual([]);
});
