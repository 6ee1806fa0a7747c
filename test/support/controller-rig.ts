import { fault } from "../../src/lib/failures.ts";
import { type Fence, NO_FENCE } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { formatInstant, type Instant, instantOf, type Millis, millisOf, seconds } from "../../src/lib/time.ts";
import { FINALIZER, SWITCH_TASKS, TENANT_STATES } from "../../src/api/group.ts";
import { statusFrom } from "../../src/api/status-wire.ts";
import { tenantFrom, tenantTo } from "../../src/api/tenant-wire.ts";
import type { ControllerDeps } from "../../src/controllers/deps.ts";
import { createMemories } from "../../src/controllers/memory.ts";
import { reconcileTask } from "../../src/controllers/switch-task.ts";
import { reconcileTenant } from "../../src/controllers/tenant-state.ts";
import { createTurns } from "../../src/controllers/turns.ts";
import type { Phase } from "../../src/domain/phase.ts";
import type { Direction, Status, TaskSpec, TenantStatus } from "../../src/domain/stored.ts";
import type { Found, Outcome } from "../../src/domain/task.ts";
import { noLog } from "../../src/infra/clog/log.ts";
import { openClient } from "../../src/kube/client.ts";
import type { Attention, Next } from "../../src/kube/controller.ts";
import { createStore, type Store } from "../../src/kube/store.ts";
import type { Ports, StageCall, StageKind } from "../../src/stages/stage.ts";
import { aSpec, aTenant } from "./build.ts";
import { KINDS, SETTINGS } from "./domain-kinds.ts";
import { ManualClock, seededRng } from "./manual-clock.ts";
import { type MemoryKube, NAMESPACE, openMemoryKube } from "./memory-kube.ts";

/** Something that a receiver or store was sent. */
export interface Sent {
  readonly process: string;
  readonly uid: string;
  readonly stage: string;
  readonly direction: Direction;
  readonly part: string | null;
  readonly fence: Fence;
  readonly opId: string;
  /** Of the API server when it arrived. */
  readonly revision: number;
  readonly verdict: "accepted" | "fenced";
}

/** What a test does in the middle of an attempt. `goOn` carries it out; what is answered is what the operator gets to know. */
type Meanwhile = (goOn: () => Promise<Outcome>, call: StageCall<Json>) => Promise<Outcome>;

export const TASK = `${NAMESPACE}/acme-green`;

/** Its wall clock can be put wrong; the monotonic one and the API server's go on as they were. */
class SteppedClock extends ManualClock {
  #wrong = 0;
  step(by: Millis): void {
    this.#wrong += by;
  }
  override now(): Instant {
    return instantOf(super.now() + this.#wrong);
  }
  right(): Instant {
    return super.now();
  }
}

/** The shipped controllers over an API server, receivers and a clock that live in the test. */
export class ControllerRig {
  readonly clock = new SteppedClock();
  readonly kube: MemoryKube = openMemoryKube(() => formatInstant(this.clock.right()));
  readonly sent: Sent[] = [];
  /** Receiver or key → what is in force there. */
  readonly force = new Map<string, { readonly fence: Fence; readonly opId: string; readonly value: Json }>();
  /** Stage → what happens in the middle of its next attempts. */
  readonly meanwhile = new Map<string, Meanwhile[]>();

  /** What each process is told that asks for the admission policies. */
  policiesMissing = false;

  constructor(spec: Parameters<typeof aSpec>[0] = {}, tenant: TenantStatus | null = aTenant()) {
    if (tenant !== null) this.#place(tenant);
    this.create("acme-green", spec);
  }

  #place(tenant: TenantStatus): void {
    this.kube.apply(TENANT_STATES.plural, {
      metadata: { name: "acme", finalizers: [FINALIZER] },
      spec: { tenantId: "acme" },
    });
    this.kube.applyStatus(TENANT_STATES.plural, `${NAMESPACE}/acme`, tenantTo(undefined, tenant));
  }

  create(name: string, spec: Parameters<typeof aSpec>[0] = {}): void {
    this.kube.apply(SWITCH_TASKS.plural, {
      metadata: { name },
      spec: { tenantId: "acme", whole: JSON.stringify(aSpec(spec)) },
    });
  }
  control(control: Readonly<Record<string, unknown>>, name = "acme-green"): void {
    this.kube.apply(SWITCH_TASKS.plural, { metadata: { name }, spec: { control } });
  }
  status(key: string = TASK): Status | null {
    const task = this.kube.get(SWITCH_TASKS.plural, key);
    return task === undefined ? null : statusFrom(task["status"], task.metadata.generation ?? 0);
  }
  get tenant(): TenantStatus | null {
    return tenantFrom(this.kube.get(TENANT_STATES.plural, `${NAMESPACE}/acme`)?.["status"]);
  }
  /** Every stored version of a task's status, oldest first. */
  versions(key: string = TASK): readonly { readonly revision: number; readonly status: Status }[] {
    return this.kube.writes.flatMap(({ revision, path, object }) => {
      const status = path.includes(`/switchtasks/${key.split("/")[1]}`) ? statusFrom(object?.["status"], 0) : null;
      return status === null ? [] : [{ revision, status }];
    });
  }
  /** What the stage was sent in that direction. */
  told(stage: string, direction: Direction): readonly Sent[] {
    return this.sent.filter((one) => one.stage === stage && one.direction === direction);
  }

  process(identity = "turnout-0"): RigProcess {
    return new RigProcess(identity, this);
  }
}

const MOST_TURNS = 40;
const NEVER = new AbortController().signal;

/** One operator: caches that are as old as its last {@link RigProcess.sync}, and its own memory. */
export class RigProcess {
  readonly deps: ControllerDeps;
  readonly #rig: ControllerRig;
  readonly #tasks: Store = createStore();
  readonly #tenants: Store = createStore();
  /** Wakes whoever is in the middle of an act. */
  #wake = Promise.withResolvers<void>();

  constructor(identity: string, rig: ControllerRig) {
    this.#rig = rig;
    const { clock, kube } = rig;
    this.deps = {
      client: openClient(kube, { clock }),
      tasks: {
        get: (key) => this.#tasks.get(key),
        refresh: (object) => this.#tasks.refresh(object),
        lastManager: () => null,
      },
      tenants: this.#tenants,
      memories: createMemories(),
      clock,
      rng: seededRng(identity.length),
      time: { now: () => clock.right(), observe: () => undefined, known: true },
      identity,
      hasEnded: () => false,
      settings: () => SETTINGS,
      kinds: kindsOf(rig, identity),
      decodeSpec: (raw) => ({ spec: specOf(raw), issues: [] }),
      ports: {} as Ports,
      policiesMissing: async () => rig.policiesMissing,
      namespaceTerminating: async () => false,
      turns: createTurns(() => 10),
      crowd: () => ({ holding: 0, most: 100 }),
      events: { record: () => undefined, pending: () => false, depth: 0, close: async () => undefined },
      listeners: [],
      onRelease: () => undefined,
      log: noLog,
    };
  }

  /** The watch catches up; whoever acts is told. */
  sync(): void {
    for (const [plural, store] of [
      [SWITCH_TASKS.plural, this.#tasks],
      [TENANT_STATES.plural, this.#tenants],
    ] as const) {
      const now = this.#rig.kube.all(plural);
      for (const held of store.all()) {
        const { uid } = held.metadata;
        if (!now.some(({ metadata }) => metadata.uid === uid)) store.forget(`${NAMESPACE}/${held.metadata.name}`, uid);
      }
      for (const object of now) store.apply(object);
    }
    const woken = this.#wake;
    this.#wake = Promise.withResolvers();
    woken.resolve();
  }

  turn(key: string = TASK): Promise<Next> {
    return reconcileTask(key, this.deps, this.#attention());
  }

  /** Turns, with time passing where that is waited for, until nothing more happens by itself. */
  async rest(key: string = TASK): Promise<Phase | null> {
    for (let turn = 0; turn < MOST_TURNS; turn += 1) {
      this.sync();
      const next = await this.turn(key);
      if (next.again === "after") await this.#rig.clock.advance(atLeast(next.after));
      if (next.again !== "never") continue;
      this.sync();
      const tenant = await reconcileTenant(`${NAMESPACE}/acme`, this.deps, this.#attention());
      if (tenant.again !== "now") return this.#rig.status(key)?.phase ?? null;
    }
    throw new Error(`${key} does not come to rest: ${JSON.stringify(this.#rig.status(key)?.waiting)}`);
  }

  #attention(): Attention {
    return { signal: NEVER, lane: "continuation", changed: () => this.#wake.promise };
  }
}

const atLeast = (after: Millis): Millis => millisOf(Math.max(1, Math.min(after, seconds(3600))));

/** The spec as domain has it, so that no test here depends on the wire. */
const specOf = (raw: unknown): TaskSpec => JSON.parse((raw as { readonly whole: string }).whole) as TaskSpec;

/** The kinds of domain-kinds with receivers behind them, which check fences as stages.md wants it. */
function kindsOf(rig: ControllerRig, process: string): ControllerDeps["kinds"] {
  const kinds = Object.entries(KINDS).map(([name, planner]): [string, StageKind] => {
    const kind: StageKind = {
      ...planner,
      config: undefined as unknown as StageKind["config"],
      needs: [],
      run: (call) =>
        attempt(rig, call, async () =>
          name === "look" ? look(rig, call) : (gated(name, call) ?? send(rig, process, call)),
        ),
      undo: (call) => attempt(rig, call, async () => send(rig, process, call)),
      probe: async (call) => probe(rig, call),
    };
    return [name, kind];
  });
  return Object.fromEntries(kinds);
}

function attempt(rig: ControllerRig, call: StageCall<Json>, goOn: () => Promise<Outcome>): Promise<Outcome> {
  const meddle = rig.meanwhile.get(call.stage)?.shift();
  return meddle === undefined ? goOn() : meddle(goOn, call);
}

const placesOf = (call: StageCall<Json>): readonly string[] => {
  const key = at(call.inputs, "/key");
  return typeof key === "string" ? [`store|${key}`] : call.addresses;
};

function send(rig: ControllerRig, process: string, call: StageCall<Json>): Outcome {
  const { stage, direction, part, fence, opId } = call;
  if (!call.alive()) return { is: "retryable", fault: fault("ClaimExpired", { stage }), after: null };
  const verdicts = placesOf(call).map((place) => {
    const seen = rig.force.get(place)?.fence ?? NO_FENCE;
    const verdict = seen > fence ? ("fenced" as const) : ("accepted" as const);
    rig.sent.push({
      process,
      uid: call.task.uid,
      stage,
      direction,
      part,
      fence,
      opId,
      revision: rig.kube.revision,
      verdict,
    });
    if (verdict === "accepted") rig.force.set(place, { fence, opId, value: at(call.inputs, "/value") ?? null });
    return verdict;
  });
  return verdicts.includes("fenced")
    ? { is: "fenced", fault: fault("Fenced", { endpoint: call.endpoint, address: "", seen: "" }) }
    : { is: "done", outputs: {} };
}

function look(rig: ControllerRig, call: StageCall<Json>): Outcome {
  const wanted = at(call.inputs, "/version");
  const late = call.addresses.filter((place) => at(rig.force.get(place)?.value ?? null, "/version") !== wanted);
  return late.length === 0
    ? { is: "done", outputs: { version: wanted ?? null } }
    : {
        is: "terminal",
        fault: fault("VersionsLate", { late: String(late.length), total: "", version: "", answers: "" }),
      };
}

function gated(name: string, call: StageCall<Json>): Outcome | null {
  if (name === "approval" && Object.keys(call.approvals).length === 0)
    return { is: "waiting", again: null, reason: "AwaitingApproval", message: call.stage, memo: null };
  if (name === "approval" && call.policiesMissing)
    return { is: "waiting", again: seconds(5), reason: "AdmissionPolicyMissing", message: call.stage, memo: null };
  if (name === "approval") return { is: "done", outputs: {} };
  if (name !== "wait") return null;
  const left = millisOf(Number(at(call.inputs, "/duration")) - call.ran);
  return left === 0
    ? { is: "done", outputs: {} }
    : { is: "waiting", again: left, reason: "Waiting", message: call.stage, memo: null };
}

function probe(rig: ControllerRig, call: StageCall<Json>): Found {
  const ours = placesOf(call).every((place) => rig.force.get(place)?.opId === call.opId);
  return ours ? { is: "in-force", outputs: {} } : { is: "not-in-force" };
}
