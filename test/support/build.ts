import { formatFence, NO_FENCE } from "../../src/lib/fence.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { formatDuration, type Instant, millisOf, plus, seconds } from "../../src/lib/time.ts";
import type { Phase, StageState } from "../../src/domain/phase.ts";
import { isUnfenced } from "../../src/domain/basis.ts";
import { decide } from "../../src/domain/decide.ts";
import { planDigest } from "../../src/domain/plan.ts";
import { freshStatus, newEntry } from "../../src/domain/status.ts";
import {
  CLAIM_GRACE,
  type Control,
  type Current,
  type FrozenPlan,
  type Placement,
  type Previous,
  type StageEntry,
  type StageSpec,
  type Status,
  type TaskSpec,
  type TenantStatus,
} from "../../src/domain/stored.ts";
import type { Act, Decision, Mine, TaskView, TenantView } from "../../src/domain/task.ts";
import { KINDS, type KindName, SETTINGS, type TestConfig } from "./domain-kinds.ts";
import { NOON } from "./manual-clock.ts";

export { NOON } from "./manual-clock.ts";

/** Epoch of the lock that a task of {@link aTask} holds: NOON in seconds. */
export const EPOCH = NOON / 1000;
export const UID = "11111111-1111-1111-1111-111111111111";
/** Names of claims: of the process that decides, and of one that is gone. */
export const MINE = "mine";
export const THEIRS = "theirs";

export const at = (after: number): Instant => plus(NOON, seconds(after));

const UNITS = { blue: 1, green: 2, red: 3 } as const;

/** A colour with two gateways; `blue` serves at first. */
export function aPlacement(name: keyof typeof UNITS, about: Partial<Placement> = {}): Placement {
  const net = UNITS[name];
  return {
    deployUnit: { id: net, name, version: 7 },
    endpoints: [1, 2].map((host) => ({ key: "gateway", host: `10.${net}.0.${host}`, port: 8080 })),
    parameters: {},
    default: false,
    ...about,
  };
}

export const aPrevious = (about: Partial<Previous> = {}): Previous => ({
  ...aPlacement("blue"),
  planVersion: 41,
  task: { name: "acme-blue", uid: "before" },
  ...about,
});

const inStore = (name: string): TestConfig => ({ endpoint: "store", key: `k:${name}` });
const toReceivers = (): TestConfig => ({ endpoint: "receivers" });
const nowhere = (): TestConfig => ({});
const DEFAULT_CONFIG: Readonly<Record<KindName, (name: string) => TestConfig>> = {
  write: inStore,
  duo: inStore,
  tell: toReceivers,
  repeat: toReceivers,
  once: toReceivers,
  look: toReceivers,
  wait: nowhere,
  approval: nowhere,
};

export function aStage(
  name: string,
  kind: KindName,
  config: TestConfig = {},
  about: Partial<StageSpec> = {},
): StageSpec {
  const fields: JsonObject = { ...DEFAULT_CONFIG[kind](name), ...config };
  return {
    name,
    kind,
    config: fields,
    timeout: null,
    attemptTimeout: null,
    instanceTimeout: null,
    retry: null,
    onDrift: "Hold",
    ...about,
  };
}

/** Stage name → kind, or the whole stage. */
export type Pipeline = Readonly<Record<string, KindName | StageSpec>>;
const PIPELINE: Pipeline = { route: "write", notify: "tell", check: "look" };

const stagesOf = (pipeline: Pipeline): readonly StageSpec[] =>
  Object.entries(pipeline).map(([name, stage]) => (typeof stage === "string" ? aStage(name, stage) : stage));

/** acme goes from blue to green by plan 17, version 42. */
export function aSpec({ pipeline = PIPELINE, ...about }: Partial<TaskSpec> & { pipeline?: Pipeline } = {}): TaskSpec {
  return {
    tenantId: "acme",
    executionUnit: null,
    plan: { id: 17, version: 42 },
    target: aPlacement("green"),
    previous: null,
    requestedBy: "alice",
    serviceAccountName: null,
    stages: stagesOf(pipeline),
    onFailure: "Hold",
    retry: null,
    progressDeadline: null,
    rollbackWindow: seconds(3600),
    deletionPolicy: "Rollback",
    ttlAfterFinished: null,
    dryRun: false,
    ...about,
  };
}

export const NO_CONTROL: Control = {
  paused: null,
  rollback: false,
  cancel: false,
  retry: null,
  approvals: {},
  skip: {},
};

export const aCurrent = (about: Partial<Current> = {}): Current => ({
  ...aPrevious(),
  since: at(-3600),
  restorable: true,
  ...about,
});

/** The tenant is on blue and nobody holds it. */
export const aTenant = (about: Partial<TenantStatus> = {}): TenantStatus => ({
  current: aCurrent(),
  unknown: null,
  diverged: null,
  holder: null,
  epoch: EPOCH - 1000,
  fence: formatFence(EPOCH - 1000, 7),
  executions: [],
  released: null,
  ...about,
});

/** The same tenant, held by the task of {@link aTask}. */
export const heldTenant = (about: Partial<TenantStatus> = {}): TenantStatus =>
  aTenant({
    holder: { task: "acme-green", uid: UID, unit: null, direction: "Forward", since: NOON },
    epoch: EPOCH,
    ...about,
  });

/** A state alone: `Running` was claimed by a process that is gone; `Mine` is the same, claimed by this one. */
export type StageAbout = StageState | "Mine" | Partial<StageEntry>;

export interface About {
  readonly phase?: Phase;
  readonly pipeline?: Pipeline;
  readonly stages?: Readonly<Record<string, StageAbout>>;
  readonly spec?: Partial<TaskSpec>;
  readonly control?: Partial<Control>;
  readonly status?: Partial<Status>;
  /** null: no status yet, or it lost it. */
  readonly tenant?: TenantStatus | null;
  readonly tenantView?: Partial<TenantView>;
  readonly mine?: Partial<Mine>;
  readonly view?: Partial<TaskView>;
}

/** A healthy Running task that holds its tenant; nothing is claimed. Phases before the lock hold nothing. */
export function aTask(about: About = {}): TaskView {
  const phase = about.phase ?? "Running";
  const spec = aSpec({ ...(about.pipeline === undefined ? {} : { pipeline: about.pipeline }), ...about.spec });
  const early = phase === "Created" || phase === "Validating" || phase === "Pending";
  const over = phase === "Completed" || phase === "RolledBack" || phase === "Cancelled" || phase === "ValidationFailed";
  const status = aStatus(phase, spec, about);
  const tenant = about.tenant === undefined ? (early || over ? aTenant() : heldTenant()) : about.tenant;
  const stored = phase === "Created" && about.status === undefined ? null : status;
  return {
    ref: { namespace: "prod", name: "acme-green", uid: UID },
    generation: 3,
    deletedAt: null,
    finalizer: !early && !over,
    done: false,
    rerun: null,
    spec,
    issues: [],
    control: { ...NO_CONTROL, ...about.control },
    stored,
    status,
    tenant: { name: "acme", exists: true, fresh: false, deleting: false, status: tenant, ...about.tenantView },
    rivals: null,
    settings: SETTINGS,
    kinds: KINDS,
    mine: mineOf(about),
    self: { by: "turnout-0", nonce: MINE, jitter: 0.5 },
    claimSeenFor: millisOf(0),
    claimantGone: false,
    rewound: false,
    namespaceTerminating: false,
    policiesMissing: false,
    crowd: { holding: 0, most: 100 },
    eventsPending: false,
    ...about.view,
  };
}

function mineOf({ stages = {}, mine }: About): Mine | null {
  const has = mine !== undefined || Object.values(stages).includes("Mine");
  return has ? { nonce: MINE, elapsed: millisOf(0), waitLeft: null, memo: null, ...mine } : null;
}

function aStatus(phase: Phase, spec: TaskSpec, { stages = {}, status = {} }: About): Status {
  const entries = spec.stages.flatMap(({ name }) => {
    const given = stages[name] ?? "Pending";
    return given === "Pending" ? [] : [given];
  });
  const named = spec.stages.filter(({ name }) => (stages[name] ?? "Pending") !== "Pending");
  const journal = entries.map((given, i) => anEntry(named[i] as StageSpec, given, i + 1));
  const seq = Math.max(0, ...journal.map((entry) => entry.seq));
  const running = entries.length > 0 || phase === "Running" || phase === "Failed";
  const back = phase === "RollingBack" || phase === "RollbackFailed" || phase === "RolledBack";
  return {
    ...freshStatus(3),
    phase,
    direction: back ? "Back" : "Forward",
    turnedBackBy: back ? "Rollback" : null,
    startedAt: running ? NOON : null,
    plan: running ? aPlan(spec) : null,
    epoch: seq > 0 ? EPOCH : 0,
    seq,
    stages: journal,
    instances: [],
    ...status,
  };
}

export const aPlan = (spec: TaskSpec, previous: Previous | null = aPrevious()): FrozenPlan => ({
  digest: planDigest(spec, previous, SETTINGS.defaults),
  frozenAt: NOON,
  previous,
  effective: SETTINGS.defaults,
  unfenced: spec.stages.filter(({ config }) => isUnfenced(SETTINGS, config)).map(({ name }) => name),
});

const SETTLED: readonly StageState[] = ["Completed", "Skipped", "Failed", "RolledBack"];

/** The journal of a stage that got to `given` at the first attempt, one second after NOON. */
export function anEntry(stage: StageSpec, given: Exclude<StageAbout, "Pending">, seq = 1): StageEntry {
  const state: StageState =
    given === "Mine" ? "Running" : typeof given === "string" ? given : (given.state ?? "Running");
  const open = given === "Mine" || given === "Running";
  const settled = SETTLED.includes(state);
  const timed = stage.kind !== "look" && stage.kind !== "wait" && stage.kind !== "approval";
  return {
    ...newEntry(stage.name),
    state,
    attempts: 1,
    seq,
    startedAt: NOON,
    finishedAt: settled ? at(1) : null,
    claim: open
      ? {
          nonce: given === "Mine" ? MINE : THEIRS,
          by: given === "Mine" ? "turnout-0" : "turnout-1",
          at: NOON,
          until: timed ? plus(NOON, millisOf(SETTINGS.defaults.attemptTimeout + CLAIM_GRACE)) : null,
        }
      : null,
    outputs: state === "Completed" || state === "RollingBack" ? {} : null,
    skipped: state === "Skipped" ? { by: "bob", reason: "not needed" } : null,
    ...(typeof given === "string" ? {} : given),
  };
}

/** What is decided once the commands are answered: the answers are a matter of their own. */
export function decided(view: TaskView, now: Instant): Decision {
  const decision = decide(view, now);
  return decision.because === "CommandAnswered" ? decided(after(view, decision), now) : decision;
}

/** An act as the claim of `decision` made it. */
export function actOf(decision: Decision): Act {
  if (decision.do !== "act") throw new Error(`no act: ${say(decision)}`);
  return decision.act;
}

/** The status that `decision` stores. */
export function storedBy(decision: Decision): Status {
  if (decision.do === "write") return decision.status;
  if (decision.do === "act" && decision.status !== null) return decision.status;
  throw new Error(`nothing is stored: ${say(decision)}`);
}

/** One line for a decision: what is done, and why. */
export function say(decision: Decision): string {
  switch (decision.do) {
    case "sleep":
      return `sleep${decision.after === null ? "" : ` ${formatDuration(decision.after)}`}: ${decision.because}`;
    case "write":
      return `write ${decision.status.phase}: ${decision.because}`;
    case "act":
      return `${verbOf(decision.act, decision.status)} ${decision.act.stage}${partOf(decision.act)}: ${decision.because}`;
    case "read":
      return `read ${decision.what}: ${decision.because}`;
    default:
      return `${decision.do}: ${decision.because}`;
  }
}

const partOf = ({ part }: Act): string => (part === null ? "" : `/${part}`);
const verbOf = (act: Act, status: Status | null): string => {
  if (status === null) return "poll";
  return act.probe === "no" ? act.does : act.probe === "only" ? "ask" : `probe, ${act.does}`;
};

/** The view after `decision` was stored by this process: what the API server then holds. */
export const after = (view: TaskView, decision: Decision): TaskView => withStored(view, storedBy(decision));
export const withStored = (view: TaskView, status: Status): TaskView => ({ ...view, stored: status, status });

export { NO_FENCE };
