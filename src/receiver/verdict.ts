import type { Fence } from "../lib/fence.ts";
import type { Configuration } from "./configuration.ts";
import type { InForce, TenantRecord } from "./tenant-record.ts";

/** One authenticated, valid PUT. */
export interface Operation {
  /** `namespace/tenantId`. */
  readonly tenant: string;
  readonly fence: Fence;
  /** The greatest fence that the sender knew of before this claim. */
  readonly base: Fence;
  readonly opId: string;
  readonly configuration: Configuration;
  readonly digest: string;
}

export type Verdict =
  /** Store `next`, then apply: from here on a lower fence is refused, whatever becomes of the effect. */
  | { readonly is: "apply"; readonly next: TenantRecord }
  /** In force already: answer with `next`, and store it where the claim is newer. */
  | { readonly is: "repeat"; readonly next: TenantRecord; readonly raises: boolean }
  | { readonly is: "Fenced" | "Diverged"; readonly seen: Fence }
  | { readonly is: "ContentDiffers" }
  /** Another process is at work on this tenant. */
  | { readonly is: "Busy" };

/**
 * The receiver's half of the protocol: what an operation may do to what is remembered. A refused operation leaves nothing
 * behind; were the fence of a diverged one remembered, the same request would pass the second time.
 */
export function judge(record: TenantRecord | null, operation: Operation, othersTurn: boolean): Verdict {
  const { fence, base, opId } = operation;
  if (record !== null) {
    if (record.fence > fence) return { is: "Fenced", seen: record.fence };
    if (record.fence > base && record.fence < fence) return { is: "Diverged", seen: record.fence };
    if (record.fence === fence && record.opId !== opId) return { is: "Diverged", seen: record.fence };
    if (record.inForce?.opId === opId && record.inForce.digest !== operation.digest) return { is: "ContentDiffers" };
    if (record.unsettled === "running" && othersTurn) return { is: "Busy" };
    // An operation that began later and did not end may have overwritten part of ours: then it is done again.
    if (record.unsettled === "no" && record.inForce?.opId === opId) return repeat(record, fence);
  }
  return { is: "apply", next: begun(record, operation) };
}

/** The claim counts even though nothing is done: what comes later is measured against its fence. */
function repeat(record: TenantRecord, fence: Fence): Verdict {
  if (record.fence === fence) return { is: "repeat", next: record, raises: false };
  return { is: "repeat", next: { ...record, revision: record.revision + 1, fence }, raises: true };
}

const begun = (record: TenantRecord | null, { fence, opId }: Operation): TenantRecord => ({
  revision: (record?.revision ?? 0) + 1,
  fence,
  opId,
  unsettled: "running",
  inForce: record?.inForce ?? null,
});

/** The record once the effect of its operation has happened. */
export const settled = (begun: TenantRecord, inForce: InForce): TenantRecord => ({
  ...begun,
  revision: begun.revision + 1,
  unsettled: "no",
  inForce,
});

/** The record once its operation threw: the fence stays, so does the doubt about what was in force before. */
export const failed = (begun: TenantRecord): TenantRecord => ({
  ...begun,
  revision: begun.revision + 1,
  unsettled: "failed",
});

/** What GET and a successful PUT answer. */
export interface InForceView {
  readonly deployUnit: InForce["deployUnit"];
  readonly version: number;
  /** The greatest fence seen, also where it came with a repeat or with an operation that failed. */
  readonly fence: Fence;
  readonly opId: string;
  readonly appliedAt: string;
  /** An operation that began later and did not end: its effect may have happened. */
  readonly unfinished?: string;
}

/** Null where nothing was ever in force. */
export function viewOf({ inForce, fence, unsettled, opId }: TenantRecord): InForceView | null {
  if (inForce === null) return null;
  const { deployUnit, version, appliedAt } = inForce;
  const view = { deployUnit, version, fence, opId: inForce.opId, appliedAt };
  return unsettled === "no" ? view : { ...view, unfinished: opId };
}
