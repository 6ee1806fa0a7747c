import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { STAGES } from "../../src/stages/registry.ts";
import { openSweepWorld, type SweepWorld } from "../support/sweep-world.ts";
import { cellsOf, nameOf, PLACES, sliceOf } from "./cells.ts";
import { PIPELINES } from "./pipelines.ts";
import { reportOf } from "./report.ts";
import { boundaryList, everyPipeline, type Known, references, sweep } from "./sweep-all.ts";

const SEED =
  process.env["TURNOUT_TEST_SEED"] ??
  execFileSync("git", ["rev-parse", "--short=8", "HEAD"], { encoding: "utf8" }).trim();
const NUMBER = Number.parseInt(SEED.slice(0, 8), 16) || 0;

let world: SweepWorld;
let known: ReadonlyMap<string, Known>;

beforeAll(async () => {
  world = await openSweepWorld(inject("env"));
  known = await references(world, everyPipeline());
});
afterAll(() => world[Symbol.asyncDispose]());

describe("undisturbed", () => {
  test.for(Object.keys(PIPELINES))("[T6] %s passes the writes that its list names, and no other", async (name) => {
    const listed = await readFile(join(import.meta.dirname, "boundaries", `${name}.txt`), "utf8");
    expect(boundaryList(known, name), "npm run sweep -- --list writes it anew: review what changed").toBe(listed);
  });

  test.for(everyPipeline().map(({ pipeline, way }) => `${pipeline.name} ${way}`))(
    "[T6] %s: what passed the boundary is what was on the wire, and no promise is broken",
    (key) => {
      expect(known.get(key)?.problems).toEqual([]);
    },
  );

  test("every kind that writes or announces is swept", () => {
    const kinds = new Set(
      everyPipeline().flatMap(({ pipeline, way }) =>
        pipeline.stages(way).flatMap((stage) => Object.keys(stage as object).filter((key) => key in STAGES)),
      ),
    );
    // What is not swept neither writes nor announces: a new kind has to choose.
    expect(Object.keys(STAGES).filter((kind) => !kinds.has(kind))).toEqual(["wait"]);
  });

  test("every place and every action is among the runs, late only where it can differ", () => {
    const cells = [...known.values()].flatMap(({ reference }) => cellsOf(reference));
    const cell = (boundary: string): readonly string[] =>
      cells
        .filter((one) => one.pipeline === "five-stages" && one.way === "forward" && one.boundary === boundary)
        .map(({ place, does }) => `${place} ${does}`);
    expect(cell("effect/redis#1")).toHaveLength(PLACES.length * 3);
    expect(cell("api/tenant#1")).toHaveLength((PLACES.length - 1) * 3);
    expect(cell("api/event#1")).toEqual(["before kill", "sent kill"]);
    expect(new Set(cells.map(nameOf)).size).toBe(cells.length);
  });
});

test("[T6] each boundary once, in the cell that its number and the seed choose", { timeout: 300_000 }, async () => {
  const every = [...known.values()].filter(({ reference }) => reference.pipeline.name === "five-stages");
  const cells = sliceOf(
    every.flatMap(({ reference }) => cellsOf(reference)),
    NUMBER,
  );
  console.log(`sweep slice: seed ${SEED}, ${cells.length} runs`);
  expect(cells.length).toBeGreaterThan(40);
  const reports: string[] = [];
  const { runs, failures } = await sweep(cells, {
    world,
    known,
    together: 8,
    onFailure: async (failure, number) => void reports.push(await reportOf(failure, { seed: SEED, number, world })),
  });
  expect(reports.join("\n")).toBe("");
  expect(failures).toEqual([]);
  expect(runs).toBe(cells.length);
});
