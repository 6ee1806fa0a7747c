import { SWITCH_TASKS } from "../../src/api/group.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { fanOut } from "../../src/stages/stage.ts";
import { median } from "./figures.ts";
import { createNamespace, createTask, POINT } from "./tasks.ts";

const IN_FLIGHT = 16;

/**
 * L: how many status PUTs of such an object one client gets through per second, `IN_FLIGHT` at a time and nothing else in between: the
 * raw ceiling that a controller can reach at best. The objects are of the same kind, size and number of stages as those measured.
 */
export async function rawCeiling(client: KubeClient, objects: readonly KubeObject[], seconds: number): Promise<number> {
  const until = systemClock.monotonic() + seconds * 1000;
  let written = 0;
  const started = systemClock.monotonic();
  await Promise.all(
    Array.from({ length: Math.min(IN_FLIGHT, objects.length) }, async (_, i) => {
      let object = objects[i] as KubeObject;
      for (let turn = 0; systemClock.monotonic() < until; turn += 1) {
        object = await client.replaceStatus(SWITCH_TASKS, changed(object, turn), { point: POINT });
        written += 1;
      }
    }),
  );
  return written / ((systemClock.monotonic() - started) / 1000);
}

/** `count` tasks with the status of `model`, in a namespace of their own that no operator watches. */
export async function rawTasks(
  client: KubeClient,
  model: KubeObject,
  count: number,
): Promise<readonly [KubeObject, ...KubeObject[]]> {
  const namespace = `${model.metadata.namespace ?? ""}-raw`;
  await createNamespace(client, namespace);
  const make = async (i: number): Promise<KubeObject> => {
    const made = await createTask(client, { namespace, name: `raw-${i}` }, { stages: 12, gather: 0 });
    return client.replaceStatus(SWITCH_TASKS, { ...made, status: model["status"] }, { point: POINT });
  };
  const first = await make(0);
  const others = await fanOut(
    Array.from({ length: count - 1 }, (_, i) => i + 1),
    4,
    make,
  );
  return [first, ...others];
}

/** RTTw: milliseconds of one write when nothing else runs (median of `count`). */
export async function writeRoundTrip(
  client: KubeClient,
  first: KubeObject,
  count: number,
): Promise<{ readonly median: number; readonly object: KubeObject }> {
  const took: number[] = [];
  let object = first;
  for (let turn = 0; turn < count; turn += 1) {
    const since = systemClock.monotonic();
    object = await client.replaceStatus(SWITCH_TASKS, changed(object, turn), { point: POINT });
    took.push(systemClock.monotonic() - since);
  }
  return { median: median(took), object };
}

/** The same object with another seq: a write that changes nothing would cost nothing. */
function changed(object: KubeObject, turn: number): KubeObject {
  const status = object["status"] as Readonly<Record<string, unknown>>;
  return { ...object, status: { ...status, seq: 1000 + (turn % 1000) } };
}
