import { expect, inject, test } from "vitest";
import { SWITCH_TASKS } from "../../src/api/group.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { aSwitch, type Document, openTestStand } from "../support/stand.ts";

const TRIES = 50;

/** The value that `share` of all values do not exceed. */
const rank = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)] ?? 0;

const shown = (values: readonly number[], unit: number): string =>
  [0.5, 0.99]
    .map((share) => `${rank(values, share).toFixed(1)} ms = ${(rank(values, share) / unit).toFixed(1)} RTTw`)
    .join(", p99 ");

test(
  "[R69] a pause at an idle boundary is answered Done, and its end resumed, each of fifty times (times are printed)",
  { timeout: 150_000 },
  async () => {
    await using stand = await openTestStand(inject("env"));
    await stand.operator();
    const { client, namespace } = stand;
    const ref = { namespace, name: "acme-green" };
    const patch = (body: unknown): Promise<unknown> =>
      client.mergePatch(SWITCH_TASKS, ref, body, { point: { class: "api/create", subject: null } });
    await stand.create(aSwitch(stand, { stages: [{ name: "gate", approval: {} }] }));
    await stand.waits("acme-green", "AwaitingApproval");

    const writes: number[] = [];
    const timed = async (work: () => Promise<unknown>): Promise<number> => {
      const from = performance.now();
      await work();
      return performance.now() - from;
    };
    // RTTw: a write of this object by this client, answered.
    for (let i = 0; i < TRIES; i += 1)
      writes.push(await timed(() => patch({ metadata: { annotations: { tick: String(i) } } })));
    const paused: number[] = [];
    const resumed: number[] = [];
    for (let i = 0; i < TRIES; i += 1) {
      const answered =
        (value: boolean, phase: string) =>
        (task: Document): boolean =>
          at(task, "/status/commands/paused/value") === String(value) &&
          at(task, "/status/commands/paused/result") === "Done" &&
          at(task, "/status/phase") === phase;
      const asks = (value: boolean, phase: string): Promise<number> =>
        timed(async () => {
          await patch({ spec: { control: { paused: value } } });
          await until(() => answered(value, phase)(stand.versions("acme-green").at(-1) ?? {}), {
            clock: localClock,
            timeout: seconds(20),
            every: millisOf(1),
            what: `paused ${value} to be answered`,
          });
        });
      paused.push(await asks(true, "Paused"));
      resumed.push(await asks(false, "Running"));
    }
    const unit = rank(writes, 0.5);
    console.log(
      `RTTw ${unit.toFixed(1)} ms; paused → Done: median ${shown(paused, unit)}; resumed → Running: median ${shown(resumed, unit)}`,
    );
    const history = at(await stand.task("acme-green"), "/status/history");
    expect(history).toHaveLength(20);
    expect(paused).toHaveLength(TRIES);
  },
);
