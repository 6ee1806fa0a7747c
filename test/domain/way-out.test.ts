import { describe, expect, test } from "vitest";
import { conditionsOf } from "../../src/domain/conditions.ts";
import { decide } from "../../src/domain/decide.ts";
import { enter } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import { aSpec, aTask, EPOCH, NOON, storedBy } from "../support/build.ts";

const said = (status: Status, type: string): string =>
  conditionsOf(status, NOON, { namespace: "prod", name: "acme-green" }).find((one) => one.type === type)?.message ?? "";

describe("what a person is told who finds a task stopped", () => {
  test("a Diverged tenant: how to give it free", () => {
    const view = aTask({ stages: { route: "Completed" }, view: { rewound: true } });
    expect(said(storedBy(decide(view, NOON)), "Stalled")).toBe(
      "the API server shows an older version of this task than it did before; see what the receivers hold, then give the tenant free: " +
        `kubectl patch tstate acme -n prod --type=merge -p '{"spec":{"forceRelease":{"epoch":${EPOCH},"by":"YOU","reason":"WHY"}}}'`,
    );
  });

  test("whose record is gone: the record is made again with the release in it, and the command is never cut", () => {
    const long = "n".repeat(63);
    const tenantId = "T".repeat(64);
    const view = aTask({
      spec: aSpec({ tenantId }),
      stages: { route: "Completed" },
      tenantView: { name: long, exists: false, fresh: true, status: null },
      view: { ref: { namespace: long, name: long, uid: aTask().ref.uid } },
    });
    const status = storedBy(decide(view, NOON));
    const command = `echo '{"apiVersion":"turnout.dev/v1alpha1","kind":"TenantState","metadata":{"name":"${long}","namespace":"${long}","finalizers":["turnout.dev/hold"]},"spec":{"tenantId":"${tenantId}","forceRelease":{"epoch":${EPOCH},"by":"YOU","reason":"WHY"}}}' | kubectl create -f -`;
    expect(status.waiting?.unblock.endsWith(command)).toBe(true);
    expect(said(status, "Stalled").endsWith(command)).toBe(true);
    expect(said(status, "Stalled").length).toBeLessThanOrEqual(512);
  });

  test.each([
    ["AllUndone", "undone: the tenant is where it was before"],
    ["NothingClaimed", "stopped before anything was switched"],
  ] as const)("%s, in words", (because, words) => {
    const { status } = aTask({ phase: "RollingBack" });
    expect(said(enter(status, "RolledBack", because, NOON), "Stalled")).toBe(words);
  });

  test.each([
    [{ route: "Running" }, "; nobody knows where the tenant is: the next task must state spec.previous"],
    [{}, ""],
  ] as const)("abandoned with %j: who, why, and what the next task needs", (stages, then) => {
    const abandoned = { by: "bob", reason: "stuck since noon", at: NOON };
    const { status } = aTask({ phase: "Cancelled", stages, status: { abandoned } });
    expect(said(status, "Stalled")).toBe(`abandoned by bob: stuck since noon${then}`);
  });

  test("executed before: that nothing was done", () => {
    const { status } = aTask({ phase: "Validating" });
    expect(said(enter(status, "Completed", "AlreadyExecuted", NOON), "Succeeded")).toBe(
      "executed before, and the tenant is still there: nothing was done",
    );
  });
});
