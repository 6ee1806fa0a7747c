import { formatInstant, type Instant } from "../lib/time.ts";
import type { Json } from "../lib/json.ts";
import { own } from "../lib/own.ts";
import { type Basis, type Effect, opIdOf, planDigest, type PlanSettings } from "./plan.ts";
import { entryOf } from "./status.ts";
import type { Direction, FrozenPlan, Previous, StageSpec, Status, TaskSpec } from "./stored.ts";
import type { TaskView } from "./task.ts";

export const mustSpec = (view: TaskView): TaskSpec => {
  if (view.spec === null) throw new Error(`${view.ref.namespace}/${view.ref.name} was decided upon without a spec`);
  return view.spec;
};

/** Stage `name` of the spec and its place there. Entries come from the spec, which never changes: anything else is a bug. */
export function mustStage(view: TaskView, name: string): { readonly stage: StageSpec; readonly index: number } {
  const { stages } = mustSpec(view);
  const index = stages.findIndex((candidate) => candidate.name === name);
  const stage = stages[index];
  if (stage === undefined) throw new Error(`${view.ref.namespace}/${view.ref.name} has no stage ${name}`);
  return { stage, index };
}

/** What the stage does to the world. A spec that decodes names only kinds that there are. */
export function effectOf(view: TaskView, { kind, config }: StageSpec): Effect {
  const planner = view.kinds[kind];
  if (planner === undefined) throw new Error(`there is no kind ${kind}`);
  return planner.effect(config);
}

/** Reads and gates change nothing, need no fence, and may be begun again at any time. */
export function isHarmless(view: TaskView, stage: StageSpec): boolean {
  const effect = effectOf(view, stage);
  return effect === "read" || effect === "gate";
}

/** The previous configuration that the plan is, or would be, frozen with. */
export function previousOf(view: TaskView, status: Status): Previous | null {
  if (status.plan !== null) return status.plan.previous;
  const current = view.tenant.status?.current ?? null;
  if (current === null) return mustSpec(view).previous;
  const { deployUnit, endpoints, parameters, planVersion, task } = current;
  return { deployUnit, endpoints, parameters, default: current.default, planVersion, task };
}

/** What one stage is rendered for: a claim of the stage, or of a part of its undo. */
export interface Rendering {
  readonly stage: string;
  readonly direction: Direction;
  readonly part: string | null;
}

/** Before anything runs: outputs, times and operations are still to come. */
export function basisOf(view: TaskView, status: Status): Basis {
  return {
    namespace: view.ref.namespace,
    spec: mustSpec(view),
    previous: previousOf(view, status),
    settings: view.settings,
    kinds: view.kinds,
    outputs: () => "later",
    opId: null,
    now: null,
  };
}

/** For a claim: everything is known. `${now}` is the first start of the stage, which is `now` where it was never claimed. */
export function basisFor(view: TaskView, status: Status, { stage, direction, part }: Rendering, now: Instant): Basis {
  return {
    ...basisOf(view, status),
    outputs: (name) => entryOf(status, name)?.outputs ?? {},
    opId: opIdOf(view.ref.uid, stage, direction, part),
    now: formatInstant(entryOf(status, stage)?.startedAt ?? now),
  };
}

/** The plan as it is frozen with the first claim. */
export function freeze(view: TaskView, status: Status, now: Instant): FrozenPlan {
  const previous = previousOf(view, status);
  const effective = view.settings.defaults;
  const spec = mustSpec(view);
  const unfenced = spec.stages.filter(({ config }) => isUnfenced(view.settings, config)).map(({ name }) => name);
  return { digest: planDigest(spec, previous, effective), frozenAt: now, previous, effective, unfenced };
}

/** Whether what is sent to the stage's endpoint may take force after something later. Of one that is gone nobody can say: it may. */
export function isUnfenced({ endpoints }: PlanSettings, config: StageSpec["config"]): boolean {
  const endpoint = endpointName(config);
  return endpoint !== null && own(endpoints, endpoint)?.fencing !== "Token";
}

export function endpointName(config: Readonly<Record<string, Json>>): string | null {
  return typeof config["endpoint"] === "string" ? config["endpoint"] : null;
}
