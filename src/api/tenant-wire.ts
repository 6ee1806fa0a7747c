import { isFence, NO_FENCE } from "../lib/fence.ts";
import { plainSha256 } from "../lib/digest.ts";
import { formatInstant, instantOf } from "../lib/time.ts";
import { PHASES } from "../domain/phase.ts";
import type { Current, Execution, Holder, TenantStatus } from "../domain/stored.ts";
import { previousOf } from "./decode-task.ts";
import { placementTo } from "./placement-wire.ts";
import { answerFrom, answerTo } from "./status-wire.ts";
import { countOf, type Fields, fieldsOf, instantAt, listOf, oneOf, replaced, some, textOf } from "./wire.ts";

const EPOCH = instantOf(0);

/** SEC-5: the tenant's id where that is a DNS label not beginning with `t-`, else `t-` and 32 hex digits of its SHA-256. */
export function tenantStateName(tenantId: string): string {
  const label = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(tenantId) && !tenantId.startsWith("t-");
  return label ? tenantId : `t-${plainSha256(tenantId).slice(0, 32)}`;
}

/** null: there is no status, or it lost its epoch. */
export function tenantFrom(raw: unknown): TenantStatus | null {
  const fields = fieldsOf(raw);
  const fence = textOf(fields["fence"]) ?? NO_FENCE;
  if (fields["epoch"] === undefined || !isFence(fence)) return null;
  const unknown = fieldsOf(fields["unknown"]);
  const diverged = fieldsOf(fields["diverged"]);
  return {
    current: fields["current"] === undefined ? null : currentFrom(fields["current"]),
    unknown:
      fields["unknown"] === undefined
        ? null
        : { since: instantAt(unknown["since"]) ?? EPOCH, by: textOf(unknown["by"]) ?? "" },
    diverged:
      fields["diverged"] === undefined
        ? null
        : { reason: textOf(diverged["reason"]) ?? "", since: instantAt(diverged["since"]) ?? EPOCH },
    holder: fields["holder"] === undefined ? null : holderFrom(fields["holder"]),
    epoch: countOf(fields["epoch"]),
    fence,
    executions: listOf(fields["executions"]).map(executionFrom),
    released: answerFrom(fields["released"]),
  };
}

function currentFrom(raw: unknown): Current {
  const fields = fieldsOf(raw);
  return { ...previousOf(raw), since: instantAt(fields["since"]) ?? EPOCH, restorable: fields["restorable"] === true };
}

function holderFrom(raw: unknown): Holder {
  const { task, uid, unit, direction, since } = fieldsOf(raw);
  return {
    task: textOf(task) ?? "",
    uid: textOf(uid) ?? "",
    unit: textOf(unit),
    direction: oneOf(direction, ["Forward", "Back"]) ?? "Forward",
    since: instantAt(since) ?? EPOCH,
  };
}

function executionFrom(raw: unknown): Execution {
  const { identity, uid, outcome, at } = fieldsOf(raw);
  return {
    identity: textOf(identity) ?? "",
    uid: textOf(uid) ?? "",
    outcome: oneOf(outcome, PHASES) ?? "Cancelled",
    at: instantAt(at) ?? EPOCH,
  };
}

const KNOWN = ["current", "unknown", "diverged", "holder", "epoch", "fence", "executions", "released"] as const;

export function tenantTo(before: unknown, status: TenantStatus): Fields {
  const { current, unknown, diverged, holder, released } = status;
  return replaced(before, KNOWN, {
    current:
      current === null
        ? undefined
        : { ...placementTo(current), since: formatInstant(current.since), restorable: current.restorable },
    unknown: unknown === null ? undefined : { ...unknown, since: formatInstant(unknown.since) },
    diverged: diverged === null ? undefined : { ...diverged, since: formatInstant(diverged.since) },
    holder: holder === null ? undefined : holderTo(holder),
    epoch: status.epoch,
    fence: status.fence === NO_FENCE ? undefined : status.fence,
    executions: some(status.executions.map((execution) => ({ ...execution, at: formatInstant(execution.at) }))),
    released: released === null ? undefined : answerTo(released),
  });
}

const holderTo = ({ task, uid, unit, direction, since }: Holder): Fields => ({
  task,
  uid,
  ...(unit === null ? {} : { unit }),
  direction,
  since: formatInstant(since),
});
