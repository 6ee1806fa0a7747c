import { expect, test } from "vitest";
import { liveCoord } from "../../../src/infra/boot/live-coord.ts";
import { coordSettings } from "../../../src/infra/config/coord-settings.ts";
import type { CallLimits } from "../../../src/infra/coord/coord.ts";
import type { Health } from "../../../src/infra/health/health.ts";
import { seconds } from "../../../src/lib/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const NEVER = new AbortController().signal;
const settings = (raw: object): ReturnType<typeof coordSettings.parse> => coordSettings.parse(raw);

function rig(status: Health["status"] = "healthy") {
  const clock = new ManualClock();
  const state = { asked: 0, status, limits: null as CallLimits | null };
  const coord = {
    check: async (): Promise<Health> => {
      state.asked += 1;
      return { status: state.status, message: state.status };
    },
    limit: (limits: CallLimits): void => void (state.limits = limits),
  };
  return { clock, state, live: liveCoord(coord, settings({ healthCheckInterval: "30s" }), clock) };
}

test("[R120] etcd is asked how it is as often as healthCheckInterval says, and as often as it says from now on", async () => {
  const { clock, state, live } = rig();
  for (let i = 0; i < 3; i += 1) await live.check(NEVER);
  await clock.advance(seconds(29));
  await live.check(NEVER);
  expect(state.asked).toBe(1);
  await clock.advance(seconds(1));
  await live.check(NEVER);
  expect(state.asked).toBe(2);
  expect(live.reload(settings({ healthCheckInterval: "1s" }))).toEqual({
    applied: ["healthCheckInterval"],
    needsRestart: [],
  });
  await clock.advance(seconds(1));
  await live.check(NEVER);
  expect(state.asked).toBe(3);
});

test("an etcd that is not well is asked each time, so that nobody waits to hear that it is back", async () => {
  const { state, live } = rig("unhealthy");
  for (let i = 0; i < 3; i += 1) expect(await live.check(NEVER)).toMatchObject({ status: "unhealthy" });
  expect(state.asked).toBe(3);
  state.status = "healthy";
  expect(await live.check(NEVER)).toMatchObject({ status: "healthy" });
});

test("[R120] bounds of calls go on to the client; what leads to etcd is said to need a restart, until it is as it was", async () => {
  const { state, live } = rig();
  const next = settings({ timeout: "1s", retry: { maxRetries: 7 }, endpoints: ["127.0.0.1:1"], ttl: "10s" });
  expect(live.reload(next)).toEqual({ applied: ["timeout", "retry"], needsRestart: ["endpoints", "ttl"] });
  expect(state.limits).toMatchObject({ timeout: 1000, retry: { maxRetries: 7, factor: 2, max: 30_000 } });
  expect(await live.check(NEVER)).toMatchObject({ details: { restartNeeded: "endpoints, ttl" } });
  live.reload(settings({}));
  expect(await live.check(NEVER)).toEqual({ status: "healthy", message: "healthy" });
});
