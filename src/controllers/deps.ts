// controllers: the thin shell that holds both ends, servers on one side and domain's decisions on the other. Policy lives in domain/.
// act.ts is the only file that writes a status, of any kind.

import type { Clock, Rng } from "../lib/seams.ts";
import type { Millis } from "../lib/time.ts";
import type { EndpointFacts } from "../domain/plan.ts";
import type { EffectiveDefaults, Status } from "../domain/stored.ts";
import type { TaskView } from "../domain/task.ts";
import type { DecodedSpec } from "../api/decode-task.ts";
import type { KubeClient } from "../kube/client.ts";
import type { ApiTime } from "../kube/clock.ts";
import type { EventRecorder } from "../kube/events.ts";
import type { KubeObject } from "../kube/resource.ts";
import type { Store } from "../kube/store.ts";
import type { Ports, StageKind } from "../stages/stage.ts";
import type { Log } from "../infra/clog/log.ts";
import type { Memories } from "./memory.ts";
import type { Turns } from "./turns.ts";

/** What is called after each stored transition; one that throws disturbs no other (R77). */
export type Listener = (before: Status | null, after: Status, view: TaskView) => void;

/** Settings in force; a running plan keeps what it was frozen with. */
export interface SettingsInForce {
  readonly endpoints: Readonly<Record<string, EndpointFacts>>;
  readonly defaults: EffectiveDefaults;
}

export interface ControllerDeps {
  readonly client: KubeClient;
  /** Tasks of the first watch (unfinished) and of the second (Completed that are told to go back). */
  readonly tasks: {
    get(key: string): KubeObject | undefined;
    refresh(object: KubeObject): void;
    lastManager(key: string): string | null;
  };
  readonly tenants: Pick<Store, "get" | "apply" | "refresh">;
  readonly memories: Memories;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly time: ApiTime;
  /** Lease identity of this process: `by` of its claims. */
  readonly identity: string;
  /** Whether that claimant's lease was seen to end, or is ours again. Always false where nobody is elected. */
  readonly hasEnded: (identity: string) => boolean;
  readonly settings: () => SettingsInForce;
  readonly kinds: Readonly<Record<string, StageKind>>;
  readonly decodeSpec: (spec: unknown) => DecodedSpec;
  readonly ports: Ports;
  /** SEC-14; answers from a short-lived memory. */
  readonly policiesMissing: () => Promise<boolean>;
  readonly namespaceTerminating: (namespace: string) => Promise<boolean>;
  readonly turns: Turns;
  /** Tasks of the namespace that hold a tenant, and how many may. */
  readonly crowd: (namespace: string) => TaskView["crowd"];
  readonly events: EventRecorder;
  readonly listeners: readonly Listener[];
  /** A tenant was given back after it was held so long. */
  readonly onRelease: (held: Millis) => void;
  readonly log: Log;
}
