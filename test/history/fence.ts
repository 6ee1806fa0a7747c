import { claimsOf, effectsOf, histories, taskHistories, tenantsOf } from "./look-up.ts";
import type { Checker, Recording, TenantVersion, Violation } from "./recording.ts";

/** S10: fences of a tenant only grow, over tasks, restarts and releases. */
export const fence: Checker = (recording) => [
  ...claimed(recording),
  ...histories(tenantsOf(recording)).flatMap(locks),
  ...accepted(recording),
];

function claimed(recording: Recording): readonly Violation[] {
  const greatest = new Map<string, string>();
  const claims = taskHistories(recording)
    .flatMap(claimsOf)
    .toSorted((a, b) => a.version.rv - b.version.rv);
  return claims.flatMap(({ version, fence: now, stage }) => {
    const tenant = `${version.namespace}/${version.spec.tenantId}`;
    const before = greatest.get(tenant) ?? "";
    if (now > before) {
      greatest.set(tenant, now);
      return [];
    }
    const says = `${version.name} claimed ${stage.name} under ${now} after ${before}`;
    return [{ id: "S10", says, order: version.order }];
  });
}

const locks = (history: readonly TenantVersion[]): readonly Violation[] =>
  history.flatMap((after, i) => {
    const before = history[i - 1];
    if (before === undefined || before.epoch === null || after.epoch === null || after.deleted) return [];
    const at = (says: string): Violation => ({ id: "S10", says: `${after.name}: ${says}`, order: after.order });
    const taken = after.holder !== null && after.holder.uid !== before.holder?.uid;
    if (after.epoch < before.epoch) return [at(`epoch fell from ${before.epoch} to ${after.epoch}`)];
    if (taken && after.epoch === before.epoch) return [at(`the lock was taken without a new epoch`)];
    return after.fence < before.fence ? [at(`fence fell from ${before.fence} to ${after.fence}`)] : [];
  });

/** What took force at one place, in order, came under growing fences. */
function accepted(recording: Recording): readonly Violation[] {
  const greatest = new Map<string, string>();
  return effectsOf(recording).flatMap(({ to, tenant, fence: now, verdict, fenced, order }) => {
    if (verdict !== "applied" || !fenced) return [];
    const place = `${to} ${tenant}`;
    const before = greatest.get(place) ?? "";
    if (now >= before) greatest.set(place, now);
    return now >= before ? [] : [{ id: "S10", says: `${to} accepted ${now} after ${before}`, order }];
  });
}
