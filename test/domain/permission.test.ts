import { expect, test } from "vitest";
import { conditionsOf } from "../../src/domain/conditions.ts";
import { enter, waitFor } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import { aTask, NOON } from "../support/build.ts";

test("[kube-apiserver/denied] a right that is missing stalls the task, says which and what to type, and ends with the wait", () => {
  const view = aTask({ phase: "Pending" });
  const message = "create tenantstates.turnout.dev ns/acme: Forbidden (403 Forbidden)";
  const stalled = (status: Status): object | undefined =>
    conditionsOf(status, NOON, view.ref).find(({ type }) => type === "Stalled");
  const denied = waitFor(view, view.status, { reason: "PermissionMissing", message, fresh: true }, NOON);
  expect(stalled(denied)).toMatchObject({
    status: "True",
    reason: "PermissionMissing",
    message: `${message}; give the operator's account that right: kubectl apply --server-side -f deployment/install/`,
  });
  expect(stalled(enter(denied, "Running", "LockTaken", NOON))).toMatchObject({ status: "False" });
  expect(waitFor(view, denied, { reason: "PermissionMissing", message, fresh: true }, NOON)).toBe(denied);
});
