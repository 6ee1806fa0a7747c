import { describe, expect, test } from "vitest";
import { formatFence, NO_FENCE } from "../../src/lib/fence.ts";
import { formatInstant } from "../../src/lib/time.ts";
import type { TenantStatus } from "../../src/domain/stored.ts";
import {
  decideTenant,
  type ForceRelease,
  type HolderFact,
  rebuilt,
  releaseValue,
  type TenantDecision,
  type TenantFacts,
} from "../../src/domain/tenant.ts";
import { aTenant, at, EPOCH, heldTenant, NOON } from "../support/build.ts";

const RELEASE: ForceRelease = { epoch: EPOCH, by: "bob", reason: "stuck since noon", fence: null };
const FENCE = formatFence(EPOCH, 4);
const MOVING: HolderFact = { is: "moving", diverged: null };
const OVER: HolderFact = { is: "over", abandoned: false, fence: FENCE, quietUntil: null };
const ABANDONED: HolderFact = { is: "over", abandoned: true, fence: FENCE, quietUntil: null };
const ANSWERED = { value: releaseValue(RELEASE), result: "Done" as const, reason: null, at: NOON };

const facts = (about: Partial<TenantFacts>): TenantFacts => ({
  status: heldTenant(),
  release: null,
  deleting: false,
  finalizer: true,
  namespaceTerminating: false,
  policiesMissing: false,
  holder: MOVING,
  ...about,
});

/** One line: what is done, and for a write where the tenant is afterwards. */
function say(decision: TenantDecision): string {
  switch (decision.do) {
    case "sleep":
      return decision.after === null ? "sleep" : `sleep ${decision.after / 1000}s`;
    case "abandon-holder":
      return `abandon-holder by ${decision.by}: ${decision.reason}`;
    case "rebuild":
      return `rebuild by ${decision.release.by}`;
    case "write":
      return `write ${written(decision.status)}`;
    default:
      return decision.do;
  }
}

function written({ holder, unknown, diverged, released, fence }: TenantStatus): string {
  const said =
    released === null ? "" : `, ${released.result}${released.reason === null ? "" : ` (${released.reason})`}`;
  return `${holder === null ? "free" : "held"}${unknown === null ? "" : ` unknown by ${unknown.by}`}${diverged === null ? "" : ` diverged (${diverged.reason})`} ${fence}${said}`;
}

const OLD = heldTenant().fence;
const FREE = aTenant({ epoch: EPOCH });
const DIVERGED = { reason: "restored", since: NOON };

const ROWS: readonly (readonly [rule: string, about: Partial<TenantFacts>, decision: string])[] = [
  ["a free tenant needs nothing", { status: FREE }, "sleep"],
  ["deleted while nobody holds it, it may go", { status: FREE, deleting: true }, "remove-finalizer"],
  ["deleted and let go already, there is nothing to do", { status: FREE, deleting: true, finalizer: false }, "sleep"],
  ["deleted while it is held, it stays", { deleting: true }, "sleep 60s"],
  ["a record without a status that is deleted may go", { status: null, deleting: true }, "remove-finalizer"],
  ["a record without a status waits for its first lock", { status: null }, "sleep"],
  [
    "[SEC-14] not where nothing vouches for the name",
    { status: null, release: RELEASE, policiesMissing: true },
    "sleep 60s",
  ],
  ["a record without a status that is released is made again", { status: null, release: RELEASE }, "rebuild by bob"],
  [
    "released while it is deleted, it is made again first",
    { status: null, release: RELEASE, deleting: true },
    "rebuild by bob",
  ],
  [
    "in a dying namespace nothing is made again",
    { status: null, release: RELEASE, deleting: true, namespaceTerminating: true },
    "remove-finalizer",
  ],

  ["[S28] a holder that was not looked for is read first", { holder: { is: "unread" } }, "read-holder"],
  ["[S28] a holder that moves keeps the tenant", {}, "sleep 60s"],
  [
    "a holder that says Diverged makes the tenant Diverged",
    { holder: { is: "moving", diverged: "fence above base" } },
    `write held diverged (fence above base) ${OLD}`,
  ],
  [
    "which is said once",
    { holder: { is: "moving", diverged: "fence above base" }, status: heldTenant({ diverged: DIVERGED }) },
    "sleep 60s",
  ],
  ["[S28] a terminal holder gives the lock back itself", { holder: OVER }, "finish-holder"],
  [
    "a holder that is gone leaves the tenant Diverged",
    { holder: { is: "vanished" } },
    `write held diverged (its holder acme-green (${heldTenant().holder?.uid}) is gone without giving it back) ${OLD}`,
  ],
  ["until a person releases it", { holder: { is: "vanished" }, status: heldTenant({ diverged: DIVERGED }) }, "sleep"],
  [
    "a dying namespace is not blocked by a holder that is gone",
    { holder: { is: "vanished" }, deleting: true, namespaceTerminating: true },
    "remove-finalizer",
  ],
  [
    "deletion alone does not free a tenant whose holder is gone; its namespace may follow",
    { holder: { is: "vanished" }, deleting: true, status: heldTenant({ diverged: DIVERGED }) },
    "sleep 60s",
  ],

  [
    "[SEC-14] a release is refused where nothing vouches for the name",
    { release: RELEASE, policiesMissing: true },
    `write held ${OLD}, Rejected (AdmissionPolicyMissing: nothing vouches for the name in \`by\`)`,
  ],
  [
    "a release for an older lock does not touch this one",
    { release: { ...RELEASE, epoch: EPOCH - 1 } },
    `write held ${OLD}, Rejected (the lock has epoch ${EPOCH})`,
  ],
  ["a release looks for the holder first", { release: RELEASE, holder: { is: "unread" } }, "read-holder"],
  ["[S28] the abandon record comes before the lock", { release: RELEASE }, "abandon-holder by bob: stuck since noon"],
  [
    "a holder that ended by itself says itself where the tenant is",
    { release: RELEASE, holder: OVER },
    "finish-holder",
  ],
  [
    "◆ what the abandoned holder sent without a fence must have arrived",
    { release: RELEASE, holder: { ...ABANDONED, quietUntil: at(20) } },
    `write held ${OLD}, Accepted (Quiescing until ${formatInstant(at(20))}: what went to receivers without fences may still arrive)`,
  ],
  [
    "which is said once",
    {
      release: RELEASE,
      status: heldTenant({ released: { ...ANSWERED, result: "Accepted" } }),
      holder: { ...ABANDONED, quietUntil: at(20) },
    },
    "sleep 20s",
  ],
  [
    "what gave itself back because of the release was held",
    { release: RELEASE, status: { ...FREE, unknown: { since: NOON, by: RELEASE.by } } },
    `write free unknown by bob ${OLD}, Done`,
  ],
  [
    "then the tenant is free, at an unknown place",
    { release: RELEASE, holder: { ...ABANDONED, quietUntil: at(0) } },
    `write free unknown by bob ${FENCE}, Done`,
  ],
  [
    "[S10] a vanished holder may have claimed as often as it liked",
    { release: RELEASE, holder: { is: "vanished" } },
    `write free unknown by bob ${formatFence(EPOCH, 99_999_999)}, Done`,
  ],
  [
    "forceRelease.fence lifts the fence",
    { release: { ...RELEASE, fence: "1999999999-00000003" }, holder: ABANDONED },
    "write free unknown by bob 1999999999-00000003, Done",
  ],
  [
    "and never lowers it",
    { release: { ...RELEASE, fence: "0000000001-00000003" }, holder: ABANDONED },
    `write free unknown by bob ${FENCE}, Done`,
  ],
  [
    "a fence that is none is refused, not ignored",
    { release: { ...RELEASE, fence: "~" }, holder: ABANDONED },
    `write held ${OLD}, Rejected (fence ~ is not ten digits, a hyphen and eight digits)`,
  ],
  [
    "a fence above which no other fits is refused",
    { release: { ...RELEASE, fence: "9999999999-00000003" }, holder: ABANDONED },
    `write held ${OLD}, Rejected (fence 9999999999-00000003 leaves no room for later ones)`,
  ],
  [
    "a release of a free tenant is answered",
    { release: RELEASE, status: FREE },
    `write free ${OLD}, Done (nobody held the tenant)`,
  ],
  [
    "and lifts its fence where that is asked",
    { release: { ...RELEASE, fence: "1999999999-00000003" }, status: FREE },
    "write free 1999999999-00000003, Done (nobody held the tenant)",
  ],
  [
    "a release clears a divergence that nobody holds",
    { release: RELEASE, status: { ...FREE, diverged: DIVERGED }, holder: { is: "unread" } },
    `write free unknown by bob ${formatFence(EPOCH, 99_999_999)}, Done`,
  ],
  ["a release is answered once", { release: RELEASE, status: { ...FREE, released: ANSWERED } }, "sleep"],
  [
    "another reason is another release",
    { release: { ...RELEASE, reason: "again" }, status: { ...FREE, released: ANSWERED } },
    `write free ${OLD}, Done (nobody held the tenant)`,
  ],
  [
    "a release that was answered does not free the next holder",
    { release: RELEASE, status: heldTenant({ released: ANSWERED }) },
    "sleep 60s",
  ],
];

describe("one thing to do for a tenant's record", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(39));

  test.each(ROWS)("%s", (_rule, about, decision) => {
    expect(say(decideTenant(facts(about), NOON))).toBe(decision);
  });

  test("what is said fits the record: reasons of at most 256 characters, values of at most 128", () => {
    const long = { ...heldTenant(), holder: { ...heldTenant().holder, task: "t".repeat(253) } } as TenantStatus;
    const decision = decideTenant(facts({ status: long, holder: { is: "vanished" } }), NOON);
    expect(decision.do === "write" && decision.status.diverged?.reason.length).toBe(256);
    expect(releaseValue({ ...RELEASE, reason: "r".repeat(256), by: "b".repeat(128) })).toHaveLength(128);
  });
});

describe("a record made again", () => {
  test("[S10] begins above every fence of the tenant's tasks, at an unknown place", () => {
    const status = rebuilt(RELEASE, [FENCE, formatFence(EPOCH + 9, 2)], NOON);
    expect(status.fence).toBe(formatFence(EPOCH + 9, 2));
    expect(status.epoch).toBe(EPOCH + 9);
    expect(status.unknown).toEqual({ since: NOON, by: "bob" });
    expect(status.released?.result).toBe("Done");
  });

  test("a person may lift its fence", () => {
    expect(rebuilt({ ...RELEASE, fence: "1999999999-00000003" }, [], NOON).fence).toBe("1999999999-00000003");
    expect(rebuilt({ ...RELEASE, fence: "~" }, [], NOON).fence).toBe(NO_FENCE);
    expect(rebuilt({ ...RELEASE, fence: "9999999999-00000003" }, [], NOON).fence).toBe(NO_FENCE);
  });

  test("[S10] an epoch that a person mistyped leaves room for later ones", () => {
    expect(rebuilt({ ...RELEASE, epoch: 9_999_999_999 }, [FENCE], NOON).epoch).toBe(EPOCH);
  });
});
