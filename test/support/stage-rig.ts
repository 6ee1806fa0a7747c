import { opIdOf } from "../../src/domain/plan.ts";
import type { Direction } from "../../src/domain/stored.ts";
import type { Found, Outcome } from "../../src/domain/task.ts";
import type { EndpointSettings } from "../../src/infra/config/endpoint-settings.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { type Fence, NO_FENCE } from "../../src/lib/fence.ts";
import type { Boundary } from "../../src/lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../src/lib/time.ts";
import { STAGES, type StageKindName } from "../../src/stages/registry.ts";
import type { Ports, StageCall } from "../../src/stages/stage.ts";
import { fenceOf } from "./receiver-build.ts";
import { factsOf, mustPlan } from "./stage-rig-plan.ts";

/** One claim of a stage: its number, and what of the call a test wants otherwise. */
export interface At {
  readonly seq: number;
  /** Default: the claim before; null: no fence was ever seen. */
  readonly base?: number | null;
  /** Default: the operation of stage, direction and part, as at every attempt. */
  readonly opId?: string;
  /** Whether what is undone once settled Completed. */
  readonly settled?: boolean;
  readonly timeout?: Millis;
  readonly signal?: AbortSignal;
  readonly alive?: () => boolean;
  /** Default: everyone that the plan names. */
  readonly addresses?: readonly string[];
  readonly onDrift?: StageCall<Json>["onDrift"];
  readonly memo?: Json;
}

export interface StageAbout {
  readonly kind: StageKindName;
  readonly config: JsonObject;
  readonly ports: Ports;
  readonly endpoints: readonly EndpointSettings[];
  readonly tenantId: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly target?: object;
  readonly previous?: object | null;
  readonly planVersion?: number;
}

/** A stage of a task, planned by the planner and called as the controller calls it. */
export interface Stage {
  readonly kind: (typeof STAGES)[StageKindName];
  run(at: At): Promise<Outcome>;
  /** Every part of its undo in order, each a claim of its own from `at.seq` on; ends with the first that is not done. */
  undo(at: At): Promise<Outcome>;
  /** The parts of its undo, in order. */
  readonly parts: readonly string[];
  undoPart(part: string, at: At): Promise<Outcome>;
  probe(at: At): Promise<Found>;
  call(direction: Direction, part: string | null, at: At): StageCall<Json>;
}

export const UID = "0b2f6a1e-uid";

export function openStage(about: StageAbout): Stage {
  const { kind: name, config, ports, tenantId, namespace = "prod", uid = UID } = about;
  const kind = STAGES[name];
  const stage = "it";
  const call = (direction: Direction, part: string | null, at: At): StageCall<Json> => {
    const opId = at.opId ?? opIdOf(uid, stage, direction, part);
    const planned = planFor(about, direction, opId);
    const forward = direction === "Forward" ? [] : planFor(about, "Forward", opId).audience;
    return {
      ports,
      namespace,
      tenantId,
      tenant: `${namespace}/${tenantId}`,
      task: { name: `${tenantId}-green`, uid },
      stage,
      direction,
      part,
      opId,
      inputs: planned.inputs,
      endpoint: planned.endpoint ?? "",
      addresses: at.addresses ?? [...new Set([...forward, ...planned.audience])],
      fence: fenceOf(at.seq),
      base: baseOf(at),
      undoes: { opId: opIdOf(uid, stage, "Forward", null), settled: at.settled ?? false },
      instanceTimeout: at.timeout ?? seconds(3),
      onDrift: at.onDrift ?? "Hold",
      ran: millisOf(0),
      age: millisOf(0),
      approvals: {},
      requestedBy: null,
      policiesMissing: false,
      digest: "",
      memo: at.memo ?? null,
      signal: at.signal ?? new AbortController().signal,
      alive: at.alive ?? (() => at.signal?.aborted !== true),
    };
  };
  const undoPart = (part: string, at: At): Promise<Outcome> => kind.undo(call("Back", part, at));
  return {
    kind,
    call,
    run: (at) => kind.run(call("Forward", null, at)),
    probe: (at) => kind.probe(call("Forward", null, at)),
    parts: kind.undoParts(config).map(({ part }) => part),
    undoPart,
    undo: async (at) => {
      let outcome: Outcome = { is: "done", outputs: {} };
      for (const [i, { part }] of kind.undoParts(config).entries()) {
        outcome = await undoPart(part, i === 0 ? at : { ...at, seq: at.seq + i, base: at.seq + i - 1 });
        if (outcome.is !== "done") return outcome;
      }
      return outcome;
    },
  };
}

function planFor({ kind, config, endpoints, ...about }: StageAbout, direction: Direction, opId: string) {
  const ceiling = { cidrs: ["127.0.0.0/8"], ports: endpoints.flatMap(({ ports }) => ports) };
  const { tenantId, namespace, target, previous, planVersion } = about;
  return mustPlan(
    { [kind]: config },
    {
      tenantId,
      direction,
      opId,
      endpoints: factsOf(endpoints, ceiling),
      now: "2026-06-01T12:00:00.000Z",
      ...(namespace === undefined ? {} : { namespace }),
      ...(target === undefined ? {} : { target }),
      ...(previous === undefined ? {} : { previous }),
      ...(planVersion === undefined ? {} : { planVersion }),
    },
  );
}

const baseOf = ({ seq, base }: At): Fence => (base === null ? NO_FENCE : fenceOf(base ?? seq - 1));

/** A boundary at which everything stops until it is let go: the process that was paused before it sent. */
export interface Gate extends Boundary {
  /** Resolves once something stands at it. */
  readonly reached: Promise<void>;
  open(): void;
}

export function aGate(): Gate {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: () => opened.resolve(),
    around: async (_point, send) => {
      reached.resolve();
      await opened.promise;
      return send();
    },
  };
}

/** An act that was claimed and checked its claim, and whose request is still on the way. */
export interface Delayed {
  deliver(): Promise<Outcome>;
}

/** What the contract suite wants of every kind that changes something. */
export interface EffectRig extends AsyncDisposable {
  readonly stage: Stage;
  /** What the receiver or store holds, fences aside. */
  state(): Promise<string>;
  readonly before: string;
  readonly after: string;
  /** The greatest fence that is remembered there; null where none is. */
  fence(): Promise<string | null>;
  /** Forward effects that took place. */
  readonly effects: () => Promise<number>;
  delay(at: At): Promise<Delayed>;
  /** Somebody else's operation is in force, under claim 9. */
  takenByOthers(): Promise<void>;
  unreadable(): Promise<void>;
  /** Nothing listens there any more. */
  down(): Promise<void>;
  /** What is sent arrives, and no answer comes back. */
  loseAnswers(): Promise<void>;
  mend(): void;
  /** Requests that reached the other side. */
  arrived(): number;
}

/** What it wants of a kind that only reads or waits. */
export interface QuietRig extends AsyncDisposable {
  readonly stage: Stage;
  /** What would have to change if the kind changed anything. */
  state(): Promise<string>;
}
