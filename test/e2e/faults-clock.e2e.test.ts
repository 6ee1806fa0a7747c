import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { seconds } from "../../src/lib/time.ts";
import { create } from "../support/fault-walk.ts";
import { effectsAt, textAt } from "../support/stand-read.ts";
import { aSwitch, type Document, NOTIFY, openTestStand, SOAK, type Space, type TestStand } from "../support/stand.ts";

// The operator's machine has a clock that is wrong; the test's and the API server's are right.

const WAIT = 4000;
const ROWS: readonly (readonly [what: string, clock: string])[] = [
  ["[clock/step] ten minutes ahead in the middle of a wait", "step:+10m@3s"],
  ["[clock/step] ten minutes back in the middle of a wait", "step:-10m@3s"],
  ["[clock/step] ahead and back, twice", "step:+10m@2s,step:-10m@3s,step:+10m@4s,step:-10m@5s"],
  ["[clock/rate] one percent fast", "rate:1.01"],
  ["[clock/rate] one percent slow", "rate:0.99"],
];

let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: ROWS.length + 4 });
});
afterAll(() => stand[Symbol.asyncDispose]());

const begin = (space: Space, stages: readonly unknown[]): Promise<void> =>
  create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages }));
const effectsOf = async ({ namespace }: Space): Promise<number> =>
  (await effectsAt([stand.green], `${namespace}/acme`)).length;

describe.concurrent("[S19] a wait ends neither early nor never", () => {
  test.for(ROWS)("%s", async ([, clock], { expect }) => {
    const space = await stand.space();
    const operator = await space.operator({ clock });
    await begin(space, [SOAK(`${WAIT / 1000}s`), NOTIFY]);
    await space.waits("acme-green", "Waiting");
    const since = localClock.monotonic();
    const done = await space.over("acme-green", "Completed", seconds(25));
    // The claim was stored before it was seen: what is missing of the whole wait is the way of one event.
    expect(localClock.monotonic() - since).toBeGreaterThan(WAIT - 1000);
    const [began, ended] = ["startedAt", "finishedAt"].map((field) => Date.parse(textAt(done, `/status/${field}`)));
    expect((ended ?? 0) - (began ?? 0)).toBeGreaterThan(WAIT - 1000);
    expect(await effectsOf(space)).toBe(1);
    await operator.kill();
  });
});

describe.concurrent("a clock that goes back", () => {
  test("[clock/back] [L7] neither ends nor prolongs a lease: it is kept while its holder lives, and handed over when it is gone", async ({
    expect,
  }) => {
    const space = await stand.space();
    const lease = `back-${space.namespace}`;
    const first = await space.operator({ identity: "first", lease, clock: "step:-10m@2s" });
    await begin(space, [SOAK("6s"), NOTIFY]);
    await space.over("acme-green", "Completed", seconds(25));
    const holder = async (): Promise<unknown> => {
      const found = await space.client.get(LEASES, { namespace: LEASE_NAMESPACE, name: lease });
      return at(found as unknown as Document, "/spec/holderIdentity");
    };
    expect(await holder()).toBe("first");
    await first.kill();
    await space.operator({ identity: "second", lease, clock: "step:-10m@1s" });
    await until(async () => (await holder()) === "second", {
      clock: localClock,
      // L7: 17 s.
      timeout: seconds(34),
      what: "the second to lead",
    });
  });

  test("[clock/back] neither ends nor prolongs a claim's time: what was begun is settled, once", async ({ expect }) => {
    const space = await stand.space();
    await stand.green.tell({ mode: "slow", tenant: `${space.namespace}/acme`, ms: 1000, times: 3 });
    const operator = await space.operator({ clock: "step:-10m@2s,step:+20m@3s,step:-10m@4s" });
    const stages = ["a", "b", "c", "d"].map((name) => ({ ...(NOTIFY as object), name }));
    await begin(space, stages);
    await space.over("acme-green", "Completed", seconds(40));
    const effects = await effectsAt([stand.green], `${space.namespace}/acme`);
    const applied = effects.filter(({ verdict }) => verdict === "applied").map(({ opId }) => opId);
    expect(new Set(applied).size).toBe(applied.length);
    expect(applied).toHaveLength(4);
    await operator.kill();
  });
});

describe.concurrent("a machine in another zone", () => {
  test.for(["Pacific/Kiritimati", "America/St_Johns"])(
    "[clock/zone] %s writes the same instants",
    async (zone, { expect }) => {
      const space = await stand.space();
      const operator = await space.operator({ env: { TZ: zone } });
      await begin(space, [SOAK("1s"), NOTIFY]);
      const done = await space.over("acme-green", "Completed");
      const started = textAt(done, "/status/startedAt");
      expect(started).toMatch(/Z$/);
      const made = Date.parse(textAt(done, "/metadata/creationTimestamp"));
      expect(Math.abs(Date.parse(started) - made)).toBeLessThan(15_000);
      await operator.kill();
    },
  );
});

const LEASE_NAMESPACE = "turnout-system";
const LEASES = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
} as const;
