import { blind } from "./blind.ts";
import { blockers } from "./blockers.ts";
import { bounds } from "./bounds.ts";
import { canary } from "./canary.ts";
import { diverged } from "./diverged.ts";
import { egress } from "./egress.ts";
import { fence } from "./fence.ts";
import { final } from "./final.ts";
import { finalizer } from "./finalizer.ts";
import { gate } from "./gate.ts";
import { identity } from "./identity.ts";
import { isolation } from "./isolation.ts";
import { live } from "./live.ts";
import { mutex } from "./mutex.ts";
import { order } from "./order.ts";
import { plan } from "./plan.ts";
import type { Checker, Recording, Violation } from "./recording.ts";
import { stale } from "./stale.ts";
import { steps } from "./steps.ts";
import { undo } from "./undo.ts";
import { unknown } from "./unknown.ts";
import { wait } from "./wait.ts";
import { writeAhead } from "./write-ahead.ts";

/** By the name that docs/testing.md gives them. */
export const CHECKERS: Readonly<Record<string, Checker>> = {
  order,
  steps,
  "write-ahead": writeAhead,
  undo,
  mutex,
  fence,
  final,
  identity,
  plan,
  egress,
  canary,
  gate,
  wait,
  isolation,
  bounds,
  unknown,
  finalizer,
  stale,
  diverged,
  blind,
  live,
  blockers,
};

/** Every broken promise, in the order of the run. */
export const checkAll = (recording: Recording): readonly Violation[] =>
  Object.values(CHECKERS)
    .flatMap((checker) => checker(recording))
    .toSorted((a, b) => a.order - b.order);

/** `[S8] 456 says…`, one line each. */
export const violationLines = (violations: readonly Violation[]): readonly string[] =>
  violations.map(({ id, says, order: at }) => `[${id}] ${at} ${says}`);
