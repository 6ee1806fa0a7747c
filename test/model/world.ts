import type { Fence } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import type { decide } from "../../src/domain/decide.ts";
import type { settle } from "../../src/domain/settle.ts";
import type { Direction, Status, TaskSpec, TenantStatus } from "../../src/domain/stored.ts";
import type { Act, Found, Outcome, Rival, TaskView } from "../../src/domain/task.ts";
import type { decideTenant, ForceRelease } from "../../src/domain/tenant.ts";

// The world of a model check: plain values, each kept once and known by a number, so that a state of the world is a row of numbers.
// Nothing here decides anything; the rules are those of src/domain, the moves are in moves.ts.

/** Every value that is kept has a number; the same value has the same one. */
export interface Kept {
  readonly id: number;
}

export class Pool<T extends object> {
  readonly #known = new Map<string, T & Kept>();

  keep(value: T, key: string = JSON.stringify(value)): T & Kept {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const kept = { ...value, id: this.#known.size };
    this.#known.set(key, kept);
    return kept;
  }

  get size(): number {
    return this.#known.size;
  }
}

export interface World {
  readonly tasks: readonly TaskObject[];
  readonly tenant: TenantObject;
  readonly receivers: Receivers & Kept;
  /** Sent and not yet there: each may arrive at any later moment, or never. */
  readonly flights: readonly Flight[];
  /** Writes to the API server whose answer was given up and that may still get there. */
  readonly late: readonly LateWrite[];
  readonly processes: readonly Process[];
  readonly may: Budget & Kept;
  readonly past: Past & Kept;
}

export interface TaskFields {
  readonly index: number;
  readonly uid: string;
  readonly exists: boolean;
  readonly status: Status | null;
  readonly finalizer: boolean;
  readonly done: boolean;
  readonly rollback: boolean;
  readonly cancel: boolean;
  readonly deleted: boolean;
}
export type TaskObject = TaskFields & Kept;

export interface TenantFields {
  readonly exists: boolean;
  readonly status: TenantStatus | null;
  readonly release: ForceRelease | null;
}
export type TenantObject = TenantFields & Kept;

/** Address → what is behind it. */
export interface Receivers {
  readonly at: Readonly<Record<string, Receiver>>;
}
export type Receiver = Service | Store;
export interface Service {
  readonly is: "service";
  readonly fenced: boolean;
  readonly seen: Fence;
  readonly opId: string | null;
  readonly value: Json;
}
export interface Store {
  readonly is: "store";
  readonly value: Json;
  /** The companion record; null: there is none. */
  readonly record: CompanionRecord | null;
}
export interface CompanionRecord {
  readonly seen: Fence;
  /** Operation that came with the greatest fence. */
  readonly last: string;
  /** Operation in force; null: nothing of ours is. */
  readonly opId: string | null;
  readonly before: Json;
  readonly written: Json;
  /** One level: the record that it took the place of. */
  readonly replaced: Omit<CompanionRecord, "replaced"> | null;
  readonly undo: string | null;
}

/** One request to one receiver. */
export interface Message {
  readonly to: string;
  readonly store: boolean;
  readonly fenced: boolean;
  readonly task: number;
  readonly uid: string;
  readonly stage: string;
  readonly does: Act["does"];
  readonly direction: Direction;
  readonly part: string | null;
  readonly seq: number;
  readonly fence: Fence;
  readonly base: Fence;
  readonly opId: string;
  readonly undoes: Act["undoes"];
  readonly value: Json;
}
export type Verdict = "applied" | "again" | "fenced" | "diverged" | "conflict";

export interface FlightFields {
  readonly message: Message;
  /** Who sent it, and for which act: its answer counts only for those. */
  readonly from: number;
  readonly act: number;
  /** Ticks since it was sent. */
  readonly age: number;
}
export type Flight = FlightFields & Kept;

export type LateFields =
  | {
      readonly on: "task";
      readonly after: TaskObject;
      readonly checked: boolean;
      readonly from: number;
      readonly inHand: InHand | null;
    }
  | { readonly on: "tenant"; readonly after: TenantObject; readonly checked: boolean; readonly from: number };
export type LateWrite = LateFields & Kept;

/** A copy of an object, and whether a write on it would still be taken. */
export interface Copy<T> {
  readonly of: T;
  readonly current: boolean;
  /** Old, and good for nothing but being refused: what exactly it says makes no difference. */
  readonly blind?: true;
}
export interface ProcessFields {
  readonly index: number;
  readonly copies: readonly Copy<TaskObject>[];
  readonly tenant: Copy<TenantObject>;
  readonly memories: readonly Memory[];
}
export type Process = ProcessFields & Kept;

export type KeptAct = { readonly act: Act } & Kept;
export interface InHandFields {
  readonly act: KeptAct;
  readonly outcome: Outcome | Found;
}
export type InHand = InHandFields & Kept;
export type Answer = "acked" | "fenced" | "diverged" | "conflict" | "unknown" | "refused";
export interface DoingFields {
  readonly act: KeptAct;
  readonly step: "probe" | "send" | "wait";
  /** By address; null: still awaited. */
  readonly answers: Readonly<Record<string, Answer | null>>;
  /** Ticks since its claim was sent. */
  readonly age: number;
  /** Ours only by assumption: no claim of this process stands behind it. */
  readonly adopted: boolean;
}
export type Doing = DoingFields & Kept;
export type Rivals = { readonly list: readonly Rival[] } & Kept;

/** What a process remembers of a task between turns; gone with it. */
export interface MemoryFields {
  readonly doing: Doing | null;
  readonly inHand: InHand | null;
  /** The nonce of the read whose claim is ours. */
  readonly polling: string | null;
  /** The tenant was read, or written by this process, in this turn. */
  readonly fresh: boolean;
  readonly rivals: Rivals | null;
  /** A write got no answer: the task is read before anything else. */
  readonly reread: { readonly claimed: KeptAct | null; readonly tenant: boolean } | null;
  /** The open claim that is not ours, and ticks since it was first seen. */
  readonly seen: { readonly nonce: string; readonly age: number } | null;
  /** What this process took the tenant's place to be when it first saw the task wait (only a looser reading looks at it). */
  readonly place: Readonly<Record<string, unknown>> | null;
}
export type Memory = MemoryFields & Kept;

/** How often each thing that people, networks and machines do may still happen. */
export interface Budget {
  readonly crashes: number;
  /** Answers lost, requests given up, writes that arrive later. */
  readonly losses: number;
  /** Requests that certainly did not arrive. */
  readonly refusals: number;
  /** Take-overs from a process that is still there. */
  readonly early: number;
  /** Commands, by task. */
  readonly rollbacks: readonly number[];
  readonly cancels: readonly number[];
  readonly releases: number;
  /** TenantState deleted with its finalizer taken off by hand. */
  readonly vanishings: number;
  /** A task deleted and made again under its name. */
  readonly again: readonly number[];
}

/** What a check must know of the way here; a function of few facts, so that it hardly multiplies states. */
export interface Past {
  /** By task: what stores held when its first claim was stored. */
  readonly before: readonly (Readonly<Record<string, Json>> | null)[];
  /** By task: since it was told to go back there was a moment at which that had to be refused. */
  readonly refusable: readonly boolean[];
  /** What tasks that were deleted left behind: their greatest fence, and the plan version that the tenant was left at with it. */
  readonly gone: { readonly fence: Fence; readonly planVersion: Json } | null;
  readonly vanished: boolean;
  readonly released: boolean;
}

/** The shipped functions and the outside as it is told to be; a looser reading of the protocol puts one other in place. */
export interface Rules {
  readonly decide: typeof decide;
  readonly settle: typeof settle;
  readonly decideTenant: typeof decideTenant;
  readonly receive: (
    receiver: Receiver,
    message: Message,
  ) => { readonly receiver: Receiver; readonly verdict: Verdict };
  /** What a process sees, where it does not look at all of it. */
  readonly sees: (view: TaskView, about: Sight) => TaskView;
  /** Who is told. */
  readonly audience: (act: Act, view: TaskView) => readonly string[];
  /** Whether the metadata PATCH carries the version that was decided upon. */
  readonly patchChecked: boolean;
  /** Whether a process may go on under a claim that it finds, without one of its own. */
  readonly adopts: boolean;
}
export interface Sight {
  readonly memory: MemoryFields;
}

export interface Scenario {
  readonly name: string;
  readonly specs: readonly TaskSpec[];
  readonly tenant: TenantStatus | null;
  readonly processes: number;
  readonly may: Partial<Budget>;
  /** Time passes in ticks; otherwise every wait may be over at any moment. */
  readonly timed?: boolean;
  /** Process 1 alone runs to here, without faults, before the search begins. */
  readonly from?: (world: World) => boolean;
  /** Tasks that the run up to there is made of, in order; default: the first. */
  readonly first?: readonly number[];
  readonly rules?: Partial<Rules>;
  /** Only these are looked for: `[S8]` and so on; default: all. */
  readonly only?: readonly string[];
}
