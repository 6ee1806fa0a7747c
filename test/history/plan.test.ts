import { expect, test } from "vitest";
import { begun, rolledBack } from "./build.ts";
import { contentsOf } from "./plan.ts";

test("[S14] what a run said is told apart by stage, direction, part and receiver; what never arrived said nothing", () => {
  const run = begun().claim("route").effect().claim("notify").effect({ verdict: "never" });
  const name = run.recording().entries.find((entry) => entry.is === "task")?.name ?? "";
  expect(contentsOf(run.recording(), name)).toEqual({ "route Forward  redis acme": "route Forward " });
  expect(contentsOf(run.recording(), "another")).toEqual({});
  const back = Object.keys(contentsOf(rolledBack().recording(), name));
  expect(back.filter((what) => what.startsWith("route "))).toEqual([
    "route Forward  redis acme",
    "route Back write redis acme",
    "route Back publish redis acme",
  ]);
});
