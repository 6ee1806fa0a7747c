import { expect, test } from "vitest";

import { hasFinalizer, isDeleting, withFinalizer, withoutFinalizer } from "../../src/kube/finalizer.ts";
import { aWidget } from "../support/kube-objects.ts";

const HOLD = "example.dev/hold";
const bare = aWidget("a", 1);
const held = aWidget("a", 1, { metadata: { finalizers: ["other", HOLD] } });

test("a finalizer is added once, behind what others hold, and taken off alone", () => {
  expect([hasFinalizer(bare, HOLD), hasFinalizer(held, HOLD)]).toEqual([false, true]);
  expect([withFinalizer(bare, HOLD), withFinalizer(held, HOLD)]).toEqual([[HOLD], ["other", HOLD]]);
  expect([withoutFinalizer(bare, HOLD), withoutFinalizer(held, HOLD)]).toEqual([[], ["other"]]);
});

test("an object with a deletion mark is being deleted", () => {
  expect([
    isDeleting(bare),
    isDeleting(aWidget("a", 1, { metadata: { deletionTimestamp: "2026-06-01T12:00:00Z" } })),
  ]).toEqual([false, true]);
});
