import { type Fence, NO_FENCE } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import type { Instant, Millis } from "../../src/lib/time.ts";
import type { PlanSettings } from "../../src/domain/plan.ts";
import type { Control, Direction, Previous, Status, TaskSpec, TenantStatus } from "../../src/domain/stored.ts";
import type { Act, Decision, Found, Outcome, Rival } from "../../src/domain/task.ts";

/**
 * Everything there is in a run of the policy: API server, receivers, what is under way to them, and the processes. Plain immutable data,
 * so that a model check can hash it and branch on it; nothing here decides anything.
 */
export interface World {
  /** API-server time; every clock of the run runs with it. */
  readonly now: Instant;
  readonly tasks: Readonly<Record<string, TaskObject>>;
  readonly tenant: TenantObject | null;
  readonly receivers: Readonly<Record<string, Receiver>>;
  /** Sent and not yet there: each may arrive at any later moment, or never. */
  readonly flying: readonly Message[];
  readonly processes: Readonly<Record<string, Process>>;
  readonly settings: PlanSettings;
  /** Claims so far: makes their names. */
  readonly nonces: number;
}

export interface TaskObject {
  readonly name: string;
  readonly uid: string;
  readonly version: number;
  readonly generation: number;
  readonly spec: TaskSpec;
  readonly control: Control;
  readonly finalizer: boolean;
  readonly done: boolean;
  readonly deletedAt: Instant | null;
  /** As the API server keeps it: `src/api` reads and writes it, so that a run proves what is stored, too. */
  readonly status: unknown;
}
export interface TenantObject {
  readonly version: number;
  readonly status: TenantStatus | null;
}

export interface Receiver {
  readonly fenced: boolean;
  readonly seen: Fence;
  readonly opId: string | null;
  readonly value: Json;
  /** Of a store: what was there before the task that owns it wrote. */
  readonly before: Json;
  readonly owner: string | null;
}

export interface Message {
  readonly to: string;
  readonly fenced: boolean;
  readonly uid: string;
  readonly stage: string;
  readonly kind: string;
  readonly does: Act["does"];
  readonly direction: Direction;
  readonly part: string | null;
  readonly fence: Fence;
  readonly base: Fence;
  readonly opId: string;
  readonly value: Json;
}

export interface Process {
  readonly identity: string;
  readonly tasks: Readonly<Record<string, TaskObject>>;
  readonly tenant: TenantObject | null;
  readonly memory: Readonly<Record<string, Memory>>;
}
/** What a process remembers of a task between turns; gone with it. */
export interface Memory {
  readonly inHand: { readonly act: Act; readonly outcome: Outcome | Found } | null;
  readonly polling: {
    readonly nonce: string;
    readonly since: Instant;
    readonly until: Instant | null;
    readonly memo: Json;
    readonly generation: number;
  } | null;
  readonly foreign: { readonly nonce: string; readonly since: Instant } | null;
  /** The tenant was read, or written by this process, in this turn. */
  readonly fresh: boolean;
  readonly rivals: readonly Rival[] | null;
}
export const NO_MEMORY: Memory = { inHand: null, polling: null, foreign: null, fresh: false, rivals: null };

/** What becomes of an act: of its messages, of its answer, of its process. */
export const FATES = [
  "ok",
  /** Certainly nothing arrived. */
  "refused",
  /** It arrived and was turned down. */
  "rejected",
  /** The first address has it, of the others nobody knows. */
  "partly",
  /** Nobody knows: nothing arrived, all arrived, or it arrives later. */
  "lost",
  "landed",
  "late",
  /** The process dies under the act. */
  "crash",
  "crash-landed",
  "crash-late",
  /** What a probe says. */
  "unreadable",
  "foreign",
] as const;
export type Fate = (typeof FATES)[number];

/** What becomes of the turn's write: stored and answered, stored without an answer, or not stored at all. */
export type Put = "ok" | "answer-lost" | "lost";

export type Move =
  | { readonly move: "turn"; readonly process: string; readonly task: string; readonly fate: Fate; readonly put: Put }
  | { readonly move: "sync"; readonly process: string }
  | { readonly move: "restart"; readonly process: string }
  | { readonly move: "patch"; readonly task: string; readonly control: Partial<Control> }
  | { readonly move: "delete"; readonly task: string }
  | { readonly move: "arrive"; readonly index: number }
  /** The operator's settings without one endpoint; null: all of them. */
  | { readonly move: "settings"; readonly without: string | null }
  | { readonly move: "pass"; readonly time: Millis };

/** What happened, in one order: what the checks read. */
export type Happening =
  | {
      readonly is: "version";
      readonly task: string;
      readonly uid: string;
      readonly process: string;
      readonly before: Status | null;
      readonly after: Status;
      readonly control: Control;
      readonly bytes: number;
      readonly now: Instant;
      /** What the writer had in hand when it wrote. */
      readonly inHand: Memory["inHand"];
    }
  | {
      readonly is: "lock";
      readonly process: string;
      readonly before: TenantStatus | null;
      readonly after: TenantStatus;
    }
  | { readonly is: "effect"; readonly message: Message; readonly verdict: Verdict }
  | { readonly is: "finalizer"; readonly task: string; readonly uid: string; readonly on: boolean }
  | { readonly is: "decision"; readonly task: string; readonly process: string; readonly decision: Decision };

export type Verdict = "accepted" | "again" | "fenced" | "diverged";

/** The receiver after the message came, and what it answered. Fencing as protocol.md says it. */
export function received(
  receiver: Receiver,
  message: Message,
): { readonly receiver: Receiver; readonly verdict: Verdict } {
  const refused = receiver.fenced ? refusal(receiver, message) : null;
  if (refused !== null) return { receiver, verdict: refused };
  const seen = message.fence > receiver.seen ? message.fence : receiver.seen;
  if (receiver.fenced && receiver.opId === message.opId) return { receiver: { ...receiver, seen }, verdict: "again" };
  const noted = { ...receiver, seen, opId: message.opId };
  const isStore = message.kind === "write" || (message.kind === "duo" && message.part !== "publish");
  if (!isStore) return { receiver: { ...noted, value: message.value }, verdict: "accepted" };
  if (message.does === "undo") {
    const ours = receiver.owner === message.uid;
    return {
      receiver: { ...noted, value: ours ? receiver.before : receiver.value, owner: null },
      verdict: "accepted",
    };
  }
  const before = receiver.owner === message.uid ? receiver.before : receiver.value;
  return { receiver: { ...noted, before, owner: message.uid, value: message.value }, verdict: "accepted" };
}

function refusal({ seen, opId }: Receiver, message: Message): Verdict | null {
  if (seen > message.fence) return "fenced";
  if (seen > message.base && seen < message.fence) return "diverged";
  return seen === message.fence && opId !== message.opId ? "diverged" : null;
}

/** Nothing was ever sent to it; `value` is what it serves. */
export const aReceiver = (fenced: boolean, value: Json): Receiver => ({
  fenced,
  seen: NO_FENCE,
  opId: null,
  value,
  before: null,
  owner: null,
});

/** What receivers serve while the tenant is at `previous`. */
export const servedAt = (previous: Previous | null): Json =>
  previous === null ? null : { version: previous.planVersion };
