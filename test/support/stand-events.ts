import { localClock } from "../../deployment/local/clock.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import { SEQUENCE_ANNOTATION } from "../../src/api/group.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { EVENTS } from "../../src/kube/event.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";

/** An Event as a person reads it. */
export interface EventSeen {
  readonly sequence: number;
  readonly type: string;
  readonly reason: string;
  /** Durations stand as `…`: they differ from run to run. */
  readonly note: string;
  /** `1 Normal Created: 3 stages: route, notify, check` */
  readonly line: string;
}

export interface Asked {
  readonly namespace: string;
  readonly name: string;
  readonly count: number;
}

/** Events regarding the newest object of that name, by sequence. Heartbeats, whose count moves, are left out. */
export async function eventsOf(client: KubeClient, { namespace, name, count }: Asked): Promise<readonly EventSeen[]> {
  let seen: readonly EventSeen[] = [];
  const look = async (): Promise<boolean> => {
    const { items } = await client.list(EVENTS, { namespace, fieldSelector: `regarding.name=${name}` });
    seen = items
      .filter((event) => event["series"] === undefined)
      .map(eventSeen)
      .toSorted((a, b) => a.sequence - b.sequence);
    return seen.length >= count;
  };
  await poll(look, {
    clock: localClock,
    timeout: seconds(15),
    every: millisOf(50),
    what: `${count} Events of ${name}`,
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${seen.map(({ line }) => line).join("\n")}`, { cause: error });
  });
  return seen;
}

const DURATION = /\b(?:\d+(?:ms|[smhd]))+\b/g;

function eventSeen(event: KubeObject): EventSeen {
  const sequence = Number(event.metadata.annotations?.[SEQUENCE_ANNOTATION]);
  const [type, reason, note] = [event["type"], event["reason"], event["note"]].map(String);
  const plain = (note ?? "").replaceAll(DURATION, "…");
  const line = `${sequence} ${type} ${reason}: ${plain}`;
  return { sequence, type: type ?? "", reason: reason ?? "", note: plain, line };
}
