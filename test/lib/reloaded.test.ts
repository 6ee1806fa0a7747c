import { expect, test } from "vitest";
import { reloaded } from "../../src/lib/reloaded.ts";

test("[R120] fields that differ are told apart by whether they are live; those that came or went differ too", () => {
  const old = { size: 1, list: [1, { a: 1 }], addr: "a", gone: true };
  const next = { size: 2, list: [1, { a: 1 }], addr: "b", came: true };
  expect(reloaded(old, next, (field) => field === "size" || field === "came")).toEqual({
    applied: ["size", "came"],
    needsRestart: ["addr", "gone"],
  });
  expect(reloaded(old, structuredClone(old), () => true)).toEqual({ applied: [], needsRestart: [] });
});
