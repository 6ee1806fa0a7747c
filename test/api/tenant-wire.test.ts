import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tenantFrom, tenantStateName, tenantTo } from "../../src/api/tenant-wire.ts";
import { statusFrom } from "../../src/api/status-wire.ts";
import { formatFence, NO_FENCE } from "../../src/lib/fence.ts";
import { aTenant, heldTenant } from "../support/build.ts";
import { cases } from "../support/seed.ts";

describe("[SEC-5] the name of a tenant's record", () => {
  test.each([
    ["acme", "acme"],
    ["a", "a"],
    ["a-1", "a-1"],
    ["x".repeat(63), "x".repeat(63)],
    ["t-1", "t-?"],
    ["Acme", "t-?"],
    ["a_b", "t-?"],
    ["-a", "t-?"],
    ["a-", "t-?"],
    ["x".repeat(64), "t-?"],
  ])("of %s is %s", (tenant, name) => {
    const made = tenantStateName(tenant);
    expect(made.startsWith("t-") ? made.slice(0, 2) : made).toBe(name.startsWith("t-") ? "t-" : name);
    expect(made).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  });

  test("no two tenants share one", () => {
    const ids = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
    fc.assert(
      fc.property(ids, ids, (a, b) => {
        expect(tenantStateName(a) === tenantStateName(b)).toBe(a === b);
      }),
      cases(500),
    );
  });
});

describe("[S30] a record that is no record", () => {
  const raw = JSON.parse(JSON.stringify(tenantTo(undefined, heldTenant()))) as object;
  test.each([
    ["without an epoch", { ...raw, epoch: undefined }],
    ["with a fence that orders wrongly", { ...raw, fence: "~" }],
    ["of nothing", undefined],
  ])("%s", (_name, poor) => expect(tenantFrom(poor)).toBeNull());

  test("what is missing of a holder leaves one that nobody is", () => {
    const poor = tenantFrom({ epoch: 1, holder: {}, current: {}, unknown: {}, diverged: {}, executions: [{}] });
    expect(poor).toMatchObject({
      holder: { task: "", uid: "", unit: null, direction: "Forward", since: 0 },
      current: { planVersion: 0, since: 0, restorable: false },
      unknown: { since: 0, by: "" },
      diverged: { reason: "", since: 0 },
      executions: [{ identity: "", uid: "", outcome: "Cancelled", at: 0 }],
    });
  });
});

test("a tenant that never had a fence stores none", () => {
  const fresh = aTenant({ fence: NO_FENCE });
  expect(tenantTo(undefined, fresh)).not.toHaveProperty("fence");
  expect(tenantFrom(JSON.parse(JSON.stringify(tenantTo(undefined, fresh))))).toMatchObject({ fence: NO_FENCE });
  expect(tenantTo(undefined, aTenant({ fence: formatFence(9, 1) }))).toHaveProperty("fence");
});

describe("[S30] what is missing of a task's status", () => {
  test("a status of a newer protocol keeps its version and nothing else", () => {
    expect(statusFrom({ protocolVersion: 9, phase: "Dancing", epoch: 4 }, 2)).toMatchObject({
      protocolVersion: 9,
      phase: "Created",
      epoch: 0,
    });
  });

  test("no phase that we know: no status", () => {
    expect(statusFrom({ phase: "Dancing" }, 1)).toBeNull();
    expect(statusFrom(null, 1)).toBeNull();
  });

  test("every part reads as absent or empty, never as something", () => {
    const status = statusFrom(
      {
        phase: "Running",
        plan: { digest: "d", effective: {} },
        waiting: { reason: "Waiting" },
        commands: { paused: { result: "Done" }, dance: { result: "Done" }, cancel: { result: "?" } },
        abandoned: {},
        failure: { type: "System" },
        history: [{}],
        conditions: [{}],
        issues: [{}],
        stages: [{ claim: { at: "2026-06-01T12:00:00Z" }, failures: [{}], skipped: {}, drift: {} }, {}],
      },
      1,
    );
    expect(status).toMatchObject({
      plan: {
        frozenAt: 0,
        previous: null,
        effective: { timeout: 0, retry: { maxAttempts: 0, backoff: { factor: 1 } } },
      },
      waiting: { message: "", since: 0, until: null, unblock: "" },
      commands: { paused: { value: "", reason: null, at: 0 } },
      abandoned: { by: "", reason: "", at: 0 },
      failure: { code: "", stage: null, message: "", retryable: false, at: 0 },
      history: [{ from: null, to: "Created", at: 0, reason: "" }],
      conditions: [{ type: "", status: "Unknown", reason: "", message: "", lastTransitionTime: 0 }],
      issues: [{ severity: "error", path: "", value: "", message: "" }],
    });
    expect(Object.keys(status?.commands ?? {})).toEqual(["paused"]);
    expect(status?.stages[0]).toMatchObject({
      claim: { nonce: "", by: "", until: null },
      failures: [{ i: 0, code: "" }],
      skipped: { by: "", reason: "" },
      drift: { keys: [], digests: { before: null, ours: null, now: null } },
    });
    expect(status?.stages[1]).toMatchObject({ name: "", state: "Pending", claim: null, outputs: null });
  });
});
