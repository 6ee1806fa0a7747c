import type { Json } from "../lib/json.ts";
import { type Millis, millisOf } from "../lib/time.ts";
import type { DecodedSpec } from "../api/decode-task.ts";
import type { StageEntry } from "../domain/stored.ts";
import type { Mine } from "../domain/task.ts";
import { compareVersions, type KubeObject } from "../kube/resource.ts";

/**
 * What one process remembers of one task between turns: nothing that the next process would need. Losing it costs a wait or a repeated
 * read, never an effect.
 */
export interface TaskMemory {
  readonly uid: string;
  /** The read or gate whose claim is ours. */
  polling: Polling | null;
  /** The open claim that is not ours, and when it was first seen (monotonic). */
  foreign: { readonly nonce: string; readonly since: Millis } | null;
  /** The spec, decoded once per generation. */
  decoded: { readonly generation: number; readonly spec: DecodedSpec } | null;
  rewound: boolean;
  /** The Event of its last transition was emitted by this process. */
  announced: boolean;
  heartbeat: { readonly stage: string; readonly at: Millis; readonly count: number } | null;
  /** The TenantState as the answer to our own release showed it. */
  released: KubeObject | null;
}
export interface Polling {
  readonly nonce: string;
  readonly since: Millis;
  /** Monotonic moment of the next poll; null: when the object changes. */
  readonly until: Millis | null;
  readonly memo: Json;
  /** Generation at the last poll: a gate looks again at once when a command came. */
  readonly generation: number;
}

export interface Memories {
  of(key: string, uid: string): TaskMemory;
  forget(key: string): void;
  readonly size: number;
}

export function createMemories(): Memories {
  const known = new Map<string, TaskMemory>();
  return {
    of(key, uid) {
      const before = known.get(key);
      if (before?.uid === uid) return before;
      const fresh: TaskMemory = {
        uid,
        polling: null,
        foreign: null,
        decoded: null,
        rewound: false,
        announced: false,
        heartbeat: null,
        released: null,
      };
      known.set(key, fresh);
      return fresh;
    },
    forget: (key) => void known.delete(key),
    get size() {
      return known.size;
    },
  };
}

/** A consistent read that is older than the copy in hand means that the API server's history went back (S30). */
export function noteRead(memory: TaskMemory, held: KubeObject, read: KubeObject): void {
  if (compareVersions(read.metadata.resourceVersion, held.metadata.resourceVersion) < 0) memory.rewound = true;
}

export function mineOf(memory: TaskMemory, generation: number, isGate: boolean, now: Millis): Mine | null {
  const { polling } = memory;
  if (polling === null) return null;
  const asked = isGate && polling.generation !== generation;
  const left = polling.until === null ? null : millisOf(polling.until - now);
  return {
    nonce: polling.nonce,
    elapsed: millisOf(now - polling.since),
    waitLeft: asked ? millisOf(0) : left,
    memo: polling.memo,
  };
}

/** Monotonic time since this process first saw the open claim that is not its own (never the claim's own `until`, ◆). */
export function seenFor(memory: TaskMemory, open: StageEntry | undefined, now: Millis): Millis {
  const nonce = open?.claim?.nonce;
  if (nonce === undefined || nonce === memory.polling?.nonce) {
    memory.foreign = null;
    return millisOf(0);
  }
  if (memory.foreign?.nonce !== nonce) memory.foreign = { nonce, since: now };
  return millisOf(now - memory.foreign.since);
}
