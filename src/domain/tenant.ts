import { type Fence, isFence, maxFence } from "../lib/fence.ts";
import { never } from "../lib/never.ts";
import { between, formatInstant, type Instant, type Millis, seconds } from "../lib/time.ts";
import { epochOf, fenceAbove } from "./lock.ts";
import type { Answer, Holder, TenantStatus } from "./stored.ts";

/** `spec.forceRelease`. */
export interface ForceRelease {
  readonly epoch: number;
  readonly by: string;
  readonly reason: string;
  readonly fence: string | null;
}

/** The task that a TenantState names as its holder. */
export type HolderFact =
  /** Not looked for yet. */
  | { readonly is: "unread" }
  /** Read and not there, or another object has its name: somebody took its finalizer off. */
  | { readonly is: "vanished" }
  | { readonly is: "moving"; readonly diverged: string | null }
  /** Its status is terminal and the lock is still its own. */
  | { readonly is: "over"; readonly abandoned: boolean; readonly fence: Fence; readonly quietUntil: Instant | null };

export interface TenantFacts {
  readonly status: TenantStatus | null;
  readonly release: ForceRelease | null;
  readonly deleting: boolean;
  readonly finalizer: boolean;
  readonly namespaceTerminating: boolean;
  readonly policiesMissing: boolean;
  readonly holder: HolderFact;
}

export type TenantDecision =
  | { readonly do: "sleep"; readonly after: Millis | null }
  | { readonly do: "read-holder" }
  /** The abandon record goes into the holder's status before the lock is touched (protocol.md, Force release). */
  | { readonly do: "abandon-holder"; readonly by: string; readonly reason: string }
  /** The holder is over and only has to give the lock back: its own turn does that. */
  | { readonly do: "finish-holder" }
  /** No status and a release: every task of the tenant that may be dirty is abandoned, then a status is made. */
  | { readonly do: "rebuild"; readonly release: ForceRelease }
  | { readonly do: "write"; readonly status: TenantStatus }
  | { readonly do: "remove-finalizer" };

/** A cached holder is believed to be there; one that the cache lacks is read again this often. */
const LOOK_AGAIN = seconds(60);
/** Epochs have ten digits and each lock takes a higher one: what people write leaves room for a million locks. */
const QUIESCING = "what went to receivers without fences may still arrive";
const HIGHEST_EPOCH = 9_999_000_000;
const REASON = 256;

/** The one next thing to do for a tenant's record. Pure. */
export function decideTenant(facts: TenantFacts, now: Instant): TenantDecision {
  const { status, release } = facts;
  if (status === null) return withoutStatus(facts);
  const asked = release === null ? null : releaseAsked(status, release);
  if (asked !== null) return releasing(facts, status, asked, now);
  if (status.holder !== null) return held(facts, status, { by: status.holder, now });
  const free = facts.deleting && facts.finalizer;
  return free ? { do: "remove-finalizer" } : { do: "sleep", after: null };
}

function withoutStatus(facts: TenantFacts): TenantDecision {
  const { release, deleting, finalizer } = facts;
  if (deleting && finalizer && (release === null || facts.namespaceTerminating)) return { do: "remove-finalizer" };
  if (release === null) return { do: "sleep", after: null };
  return facts.policiesMissing ? { do: "sleep", after: LOOK_AGAIN } : { do: "rebuild", release };
}

export const releaseValue = ({ epoch, by, reason }: ForceRelease): string => `${epoch} ${by}: ${reason}`.slice(0, 128);

/** Answered once; another text or epoch is another release. */
const releaseAsked = ({ released }: TenantStatus, release: ForceRelease): ForceRelease | null =>
  released?.value === releaseValue(release) && released.result !== "Accepted" ? null : release;

function releasing(facts: TenantFacts, status: TenantStatus, release: ForceRelease, now: Instant): TenantDecision {
  const answered = (result: Answer["result"], reason: string | null): TenantStatus => ({
    ...status,
    released: { value: releaseValue(release), result, reason, at: now },
  });
  if (facts.policiesMissing) {
    return {
      do: "write",
      status: answered("Rejected", "AdmissionPolicyMissing: nothing vouches for the name in `by`"),
    };
  }
  const wrong = whyRefused(status, release);
  if (wrong !== null) return { do: "write", status: answered("Rejected", wrong) };
  const { holder } = facts;
  if (status.holder === null && status.diverged === null) {
    // What was abandoned for it may have given the lock back itself.
    const reason = status.unknown?.by === release.by ? null : "nobody held the tenant";
    return { do: "write", status: { ...answered("Done", reason), fence: lifted(status, release) } };
  }
  if (status.holder !== null && holder.is === "unread") return { do: "read-holder" };
  if (status.holder !== null && holder.is === "moving")
    return { do: "abandon-holder", by: release.by, reason: release.reason };
  // It ended by itself: its own turn gives the lock back and says where the tenant is.
  if (holder.is === "over" && !holder.abandoned) return { do: "finish-holder" };
  if (holder.is === "over" && holder.quietUntil !== null && holder.quietUntil > now) {
    const accepted = answered("Accepted", `Quiescing until ${formatInstant(holder.quietUntil)}: ${QUIESCING}`);
    return status.released?.value === releaseValue(release)
      ? { do: "sleep", after: between(now, holder.quietUntil) }
      : { do: "write", status: accepted };
  }
  return { do: "write", status: freed(answered("Done", null), { facts, release, now }) };
}

function whyRefused(status: TenantStatus, { epoch, fence }: ForceRelease): string | null {
  if (epoch !== status.epoch) return `the lock has epoch ${status.epoch}`;
  if (fence === null) return null;
  if (!isFence(fence)) return `fence ${fence.slice(0, 32)} is not ten digits, a hyphen and eight digits`;
  return epochOf(fence) > HIGHEST_EPOCH ? `fence ${fence} leaves no room for later ones` : null;
}

/** Lifts, never lowers; a fence that {@link whyRefused} speaks against changes nothing. */
const lifted = (status: TenantStatus, { fence }: ForceRelease): Fence =>
  fence !== null && isFence(fence) && epochOf(fence) <= HIGHEST_EPOCH ? maxFence(status.fence, fence) : status.fence;

interface Freeing {
  readonly facts: TenantFacts;
  readonly release: ForceRelease;
  readonly now: Instant;
}

/** Free, at an unknown place, with a fence above everything that the old holder may have sent. */
function freed(status: TenantStatus, { facts, release, now }: Freeing): TenantStatus {
  const { holder } = facts;
  const sent: Fence = holder.is === "over" ? holder.fence : fenceAbove(status.epoch);
  return {
    ...status,
    holder: null,
    diverged: null,
    current: null,
    unknown: { since: now, by: release.by },
    fence: maxFence(sent, lifted(status, release)),
  };
}

interface Held {
  readonly by: Holder;
  readonly now: Instant;
}

function held(facts: TenantFacts, status: TenantStatus, { by, now }: Held): TenantDecision {
  const { holder } = facts;
  switch (holder.is) {
    case "unread":
      return { do: "read-holder" };
    case "vanished": {
      if (facts.deleting && facts.finalizer && facts.namespaceTerminating) return { do: "remove-finalizer" };
      // Its namespace may be deleted after it was.
      if (status.diverged !== null) return { do: "sleep", after: facts.deleting ? LOOK_AGAIN : null };
      const reason = `its holder ${by.task} (${by.uid}) is gone without giving it back`;
      return { do: "write", status: { ...status, diverged: { reason: reason.slice(0, REASON), since: now } } };
    }
    case "moving":
      if (holder.diverged === null || status.diverged !== null) return { do: "sleep", after: LOOK_AGAIN };
      return { do: "write", status: { ...status, diverged: { reason: holder.diverged.slice(0, REASON), since: now } } };
    case "over":
      return { do: "finish-holder" };
    default:
      return never(holder);
  }
}

/** A record made again after it was lost, once everything that may be dirty was abandoned. */
export function rebuilt(release: ForceRelease, fences: readonly Fence[], now: Instant): TenantStatus {
  const free: TenantStatus = {
    current: null,
    unknown: { since: now, by: release.by },
    diverged: null,
    holder: null,
    epoch: 0,
    fence: maxFence(...fences),
    executions: [],
    released: { value: releaseValue(release), result: "Done", reason: "the record was made again", at: now },
  };
  const fence = lifted(free, release);
  const stated = release.epoch > HIGHEST_EPOCH ? 0 : release.epoch;
  return { ...free, fence, epoch: Math.max(epochOf(fence), stated) };
}
