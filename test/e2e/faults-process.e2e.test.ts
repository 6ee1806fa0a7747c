import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { seconds } from "../../src/lib/time.ts";
import { control, create, SAME_STAGES } from "../support/fault-walk.ts";
import { type Left, leftBy } from "../support/stand-outcome.ts";
import { doubled, effectsAt } from "../support/stand-read.ts";
import { fired } from "../support/stand-trace.ts";
import { aSwitch, NOTIFY, openTestStand, type Space, type TestStand } from "../support/stand.ts";

let stand: TestStand;
let undisturbed: Left;
/** A claim whose process says nothing lives for attemptTimeout + 5 s. */
const SHORT = { defaults: { attemptTimeout: "2s", instanceTimeout: "1s" } };

beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: 8, operator: SHORT });
  const space = await stand.space();
  const operator = await space.operator();
  await begin(space);
  undisturbed = await end(space);
  await operator.kill();
});
afterAll(() => stand[Symbol.asyncDispose]());

async function begin(space: Space): Promise<void> {
  await stand.redis.hset(`${space.namespace}:acme`, { unit: "blue", version: "41", owner: "ops" });
  await create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages: SAME_STAGES }));
}
async function end(space: Space): Promise<Left> {
  await space.over("acme-green", "Completed", seconds(50));
  return leftBy(stand, space, "acme-green");
}

describe.concurrent("a process that stands still while it holds a claim", () => {
  test.for(["effect/redis#1.before", "effect/http#1.before", "api/status#3.before"])(
    "[process/stop] [S8] stopped at %s: a second finishes; woken, the first changes nothing",
    async (point, { expect }) => {
      const space = await stand.space();
      const trace = join(stand.folder, `stop-${space.namespace}`);
      const first = await space.operator({ identity: "first", boundary: `${point}=stop,trace:${trace}` });
      await begin(space);
      await until(async () => (await fired(trace)).length === 1, { ...POLL, what: "the first to stop" });
      const second = await space.operator({ identity: "second" });
      const left = await end(space);
      expect(left).toEqual(undisturbed);
      const versions = space.versions("acme-green").length;
      process.kill(first.pid, "SIGCONT");
      // It goes on with what it had begun, and with the next task.
      await create(space, aSwitch({ ...stand, namespace: space.namespace }, { name: "next", tenantId: "next" }));
      await second.kill();
      await space.over("next", "Completed", seconds(40));
      expect(await leftBy(stand, space, "acme-green")).toEqual(undisturbed);
      expect(space.versions("acme-green")).toHaveLength(versions);
      await first.kill();
    },
  );

  test("[process/blocked] [S8] its event loop blocked for 20 s: as if stopped", async ({ expect }) => {
    const space = await stand.space();
    const first = await space.operator({ identity: "first", env: { TURNOUT_TEST_BLOCK: "effect/redis@20s" } });
    await begin(space);
    await space.until("acme-green", "to be claimed", (task) => JSON.stringify(task).includes('"by":"first"'));
    const since = localClock.monotonic();
    const second = await space.operator({ identity: "second" });
    expect(await end(space)).toEqual(undisturbed);
    // It was over before the first woke up.
    expect(localClock.monotonic() - since).toBeLessThan(20_000);
    await second.kill();
    await create(space, aSwitch({ ...stand, namespace: space.namespace }, { name: "next", tenantId: "next" }));
    await space.over("next", "Completed", seconds(40));
    expect(await leftBy(stand, space, "acme-green")).toEqual(undisturbed);
    expect(doubled(await effectsAt([stand.green], `${space.namespace}/acme`))).toEqual([]);
    await first.kill();
  });
});

describe("a bug that one object meets", () => {
  test("[process/throws] [S24] [L10] that object backs off alone and is left alone; the others go on, and so does it once it changes", async ({
    expect,
  }) => {
    const space = await stand.space();
    const bug = join(stand.folder, "bug");
    await writeFile(bug, "");
    const operator = await space.operator({ env: { TURNOUT_TEST_THROW: `${space.namespace}/bad@${bug}` } });
    const make = (name: string): Promise<void> =>
      create(space, aSwitch({ ...stand, namespace: space.namespace }, { name, tenantId: name, stages: [NOTIFY] }));
    await make("bad");
    const log = (): Promise<string> => readFile(operator.log, "utf8");
    await until(async () => (await log()).includes("bad: reconcile failed (quarantined)"), {
      ...POLL,
      what: "it to be left alone",
    });
    await Promise.all(Array.from({ length: 10 }, (_, i) => make(`good-${i}`)));
    await Promise.all(Array.from({ length: 10 }, (_, i) => space.over(`good-${i}`, "Completed")));
    expect((await log()).match(/good-\d+: reconcile failed/g)).toBeNull();
    expect((await log()).match(/bad: reconcile failed/g)).toHaveLength(3);
    await rm(bug);
    await control(space, "bad", { paused: false });
    await space.over("bad", "Completed", seconds(10));
    await operator.kill();
  });
});

const POLL = { clock: localClock, timeout: seconds(30) } as const;
