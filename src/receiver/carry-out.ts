import type { Fence } from "../lib/fence.ts";
import type { Clock } from "../lib/seams.ts";
import { formatInstant } from "../lib/time.ts";
import type { Configuration } from "./configuration.ts";
import { JUDGED_AT_MOST } from "./limits.ts";
import type { OthersTurns } from "./others-turns.ts";
import type { RefusalCode } from "./refusals.ts";
import type { ReceiverStore } from "./store.ts";
import type { TenantRecord } from "./tenant-record.ts";
import { failed, type InForceView, judge, type Operation, settled, viewOf } from "./verdict.ts";

export interface ApplyContext {
  /** `namespace/tenantId`. */
  readonly tenant: string;
  /** For services that can compare it where their effect happens: then not even a process that was paused can undo the undo. */
  readonly fence: Fence;
  readonly base: Fence;
  readonly opId: string;
  /** Aborted once the operation has taken `applyTimeout`: nothing may be changed afterwards. */
  readonly signal: AbortSignal;
}

/**
 * Makes the service serve the tenant by this configuration; resolves once it does, throws where it does not. Called again for
 * the same operation after a crash or a failure, so it must be safe to repeat.
 */
export type Apply = (configuration: Configuration, context: ApplyContext) => Promise<void>;

export interface CarryOutDeps {
  readonly store: ReceiverStore;
  readonly apply: Apply;
  readonly clock: Clock;
  readonly others: OthersTurns;
}

export type Ending =
  | { readonly is: "applied" | "repeated"; readonly view: InForceView }
  | { readonly is: "refused"; readonly code: RefusalCode; readonly seen?: Fence; readonly cause?: unknown };

const refused = (code: RefusalCode, cause?: unknown): Ending => ({ is: "refused", code, cause });

/**
 * Judges an operation and, where it may, carries it out. Before: the turn of its tenant is ours. The fence is stored before
 * `apply` is called and what is in force after it, so a crash at any point leaves either nothing, or a fence that refuses
 * everything older and an operation that is done again.
 */
export async function carryOut(operation: Operation, deps: CarryOutDeps, signal: AbortSignal): Promise<Ending> {
  const admitted = await admit(operation, deps);
  return "is" in admitted ? admitted : applyAndSettle(operation, admitted, deps, signal);
}

/** The record of the operation as begun, stored; or how it ended without an effect. */
async function admit(operation: Operation, { store, others }: CarryOutDeps): Promise<TenantRecord | Ending> {
  const { tenant } = operation;
  let begun: TenantRecord | null = null;
  try {
    for (let judged = 0; judged < JUDGED_AT_MOST; judged += 1) {
      const record = await store.load(tenant);
      const verdict = judge(record, operation, record !== null && others.mayRun(tenant, record));
      switch (verdict.is) {
        case "Fenced":
        case "Diverged":
          return { is: "refused", code: verdict.is, seen: verdict.seen };
        case "ContentDiffers":
        case "Busy":
          return refused(verdict.is);
        case "repeat":
          if (!verdict.raises || (await store.save(tenant, verdict.next)) === "stored") return repeated(verdict.next);
          break;
        case "apply":
          begun = verdict.next;
          if ((await store.save(tenant, begun)) === "stored") return begun;
          break;
      }
      begun = null; // another process wrote in between
    }
    return refused("Busy");
  } catch (cause) {
    // The beginning may have been stored nevertheless: nobody need wait for it.
    if (begun !== null) others.ended(tenant, begun.revision);
    return refused("StoreUnavailable", cause);
  }
}

function repeated(record: TenantRecord): Ending {
  const view = viewOf(record);
  return view === null ? refused("Internal") : { is: "repeated", view };
}

async function applyAndSettle(
  operation: Operation,
  begun: TenantRecord,
  deps: CarryOutDeps,
  signal: AbortSignal,
): Promise<Ending> {
  const { tenant, fence, base, opId, configuration, digest } = operation;
  try {
    signal.throwIfAborted();
    await deps.apply(configuration, { tenant, fence, base, opId, signal });
  } catch (cause) {
    await settle(tenant, failed(begun), deps);
    return refused("ApplyFailed", cause);
  }
  const { deployUnit, version } = configuration;
  const appliedAt = formatInstant(deps.clock.now());
  const record = settled(begun, { opId, digest, deployUnit, version, appliedAt });
  const view = viewOf(record);
  const outcome = await settle(tenant, record, deps);
  if (outcome === "stored" && view !== null) return { is: "applied", view };
  return outcome === "changed" ? overtaken(operation, deps) : refused("StoreFailed");
}

async function settle(tenant: string, record: TenantRecord, { store, others }: CarryOutDeps): Promise<string> {
  try {
    return await store.save(tenant, record);
  } catch {
    others.ended(tenant, record.revision - 1);
    return "unknown";
  }
}

/** Another process took the tenant because ours took too long: its record stands. */
async function overtaken({ tenant, fence }: Operation, { store }: CarryOutDeps): Promise<Ending> {
  try {
    const record = await store.load(tenant);
    if (record !== null && record.fence > fence) return { is: "refused", code: "Fenced", seen: record.fence };
  } catch {
    // Then nobody knows, as below.
  }
  return refused("StoreFailed");
}
