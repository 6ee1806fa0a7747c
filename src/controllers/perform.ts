import { withDeadline } from "../lib/deadline.ts";
import { fault } from "../lib/failures.ts";
import type { Json } from "../lib/json.ts";
import { between, type Instant, type Millis, millisOf } from "../lib/time.ts";
import { CLAIM_GRACE } from "../domain/stored.ts";
import type { Act, Found, Outcome, TaskView } from "../domain/task.ts";
import type { StageCall } from "../stages/stage.ts";
import type { ControllerDeps } from "./deps.ts";

/** When the claim was sent, by both clocks: whichever says first that its time is over, is believed (protocol.md, Time to live). */
export interface ClaimTime {
  readonly monotonic: Millis;
  readonly wall: Instant;
}

/**
 * One attempt under a claim that is stored and ours: probe where asked, then run or undo. Ends by the attempt timeout; afterwards nothing
 * is sent for this claim. Never throws: what breaks is an outcome that nobody knows.
 */
export async function perform(view: TaskView, act: Act, about: Attempt): Promise<Outcome | Found> {
  const { deps, signal, claimed } = about;
  const kind = deps.kinds[act.kind];
  if (kind === undefined)
    return {
      is: "terminal",
      fault: fault("InvalidSpec", { path: act.stage, message: `no kind ${act.kind}`, others: "" }),
    };
  const timeout = act.attemptTimeout === null ? LONGEST_READ : millisOf(act.attemptTimeout - age(deps, claimed));
  if (timeout === 0) return { is: "retryable", fault: fault("ClaimExpired", { stage: act.stage }), after: null };
  try {
    return await withDeadline({ clock: deps.clock, timeout, signal }, async (ended) => {
      const call = callOf(view, act, { ...about, signal: ended });
      if (act.probe !== "no") {
        const found = await kind.probe(call);
        if (found.is !== "not-in-force" || act.probe === "only") return found;
      }
      return act.does === "undo" ? await kind.undo(call) : await kind.run(call);
    });
  } catch (error) {
    deps.log.error({ error, stage: act.stage, opId: act.opId }, "a stage threw; its outcome is unknown");
    return { is: "unknown", fault: fault("Internal", { reason: `stage kind ${act.kind} threw` }) };
  }
}

/** One poll of a read or gate; the stage's own timeout is policy and lives in domain. */
const LONGEST_READ = millisOf(60_000);

export interface Attempt {
  readonly deps: ControllerDeps;
  /** Reads and gates: ends with pause, rollback and cancel too. Writes and announces are cut short by nothing but time. */
  readonly signal: AbortSignal;
  readonly claimed: ClaimTime;
}

export const claimTime = ({ clock }: ControllerDeps): ClaimTime => ({
  monotonic: clock.monotonic(),
  wall: clock.now(),
});

const age = ({ clock }: ControllerDeps, claimed: ClaimTime): Millis =>
  millisOf(Math.max(clock.monotonic() - claimed.monotonic, between(claimed.wall, clock.now())));

function callOf(view: TaskView, act: Act, { deps, signal, claimed }: Attempt): StageCall<Json> {
  const { namespace, name, uid } = view.ref;
  const tenantId = view.spec?.tenantId ?? "";
  const ttl = act.attemptTimeout === null ? Number.POSITIVE_INFINITY : act.attemptTimeout + CLAIM_GRACE;
  return {
    inputs: act.inputs,
    ports: deps.ports,
    namespace,
    tenantId,
    tenant: `${namespace}/${tenantId}`,
    task: { name, uid },
    stage: act.stage,
    direction: act.direction,
    part: act.part,
    fence: act.fence,
    base: act.base,
    opId: act.opId,
    undoes: act.undoes,
    endpoint: act.endpoint ?? "",
    addresses: act.addresses,
    instanceTimeout: act.instanceTimeout,
    onDrift: act.onDrift,
    ran: act.ran,
    age: act.age,
    approvals: act.approvals,
    requestedBy: act.requestedBy,
    policiesMissing: act.policiesMissing,
    digest: act.digest,
    memo: act.memo,
    signal,
    alive: () => !signal.aborted && age(deps, claimed) < ttl,
  };
}
