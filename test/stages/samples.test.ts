import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { type Basis, planStage } from "../../src/domain/plan.ts";
import type { TaskSpec } from "../../src/domain/stored.ts";
import { compileUndo, undoStages } from "../../src/domain/undo.ts";
import { validate } from "../../src/domain/validate.ts";
import { loadSettings } from "../../src/infra/config/load-settings.ts";
import type { Settings } from "../../src/infra/config/settings.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { decodeSpec, factsOf } from "../support/stage-rig-plan.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "config", "samples");
const FILES = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".yaml"))
  .toSorted((a, b) => (a < b ? -1 : 1));

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: unknown;
}
const manifestOf = (file: string): Manifest => parse(readFileSync(join(FOLDER, file), "utf8")) as Manifest;
function specOf(file: string): TaskSpec {
  const { spec, issues } = decodeSpec(manifestOf(file).spec);
  if (spec === null) throw new Error(JSON.stringify(issues));
  return spec;
}

let settings: Settings;
beforeAll(async () => {
  const loaded = await loadSettings(join(FOLDER, "settings.json"));
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  ({ settings } = loaded);
});
function basisOf(spec: TaskSpec): Basis {
  const endpoints = factsOf(settings.endpoints, settings.operator.ceiling);
  return {
    namespace: "prod",
    spec,
    previous: spec.previous,
    settings: { endpoints, defaults: settings.operator.defaults },
    kinds: STAGES,
    outputs: () => "later",
    opId: null,
    now: null,
  };
}
const issuesOf = (spec: TaskSpec): readonly string[] =>
  validate(spec, { basis: basisOf(spec), previous: "resolved", rivals: [] }).issues.map(
    ({ severity, path, message }) => `${severity} ${path}: ${message}`,
  );

/** What a dry run of each sample shows: forward, then the undo plan. */
const SHOWN: Readonly<Record<string, readonly string[]>> = {
  "first-placement.yaml": [
    "route: HSET 2 fields of tenant:hooli on routing, PUBLISH to tenant-switch",
    "notify: PUT /turnout/v1/tenants/prod/hooli to 1 of im-gateway",
    "check: GET /turnout/v1/tenants/prod/hooli of 1 of im-gateway until all report 42",
    "undo route write: put tenant:hooli of routing back, PUBLISH to tenant-switch",
    "undo route publish: put tenant:hooli of routing back, PUBLISH to tenant-switch",
    "undo notify announce: PUT /turnout/v1/tenants/prod/hooli to everyone who was called",
  ],
  "five-stages.yaml": [
    "route: HSET 3 fields of tenant:umbrella on routing, PUBLISH to tenant-switch",
    "notify: PUT /turnout/v1/tenants/prod/umbrella to 1 of im-gateway",
    "check: GET /turnout/v1/tenants/prod/umbrella of 1 of im-gateway until all report 42",
    "soak: wait 2s",
    "gate: wait for 1 approval",
    "undo route write: put tenant:umbrella of routing back, PUBLISH to tenant-switch",
    "undo route publish: put tenant:umbrella of routing back, PUBLISH to tenant-switch",
    "undo notify announce: PUT /turnout/v1/tenants/prod/umbrella to everyone who was called and 1 of im-gateway",
    "undo check verify: GET /turnout/v1/tenants/prod/umbrella of 1 of im-gateway until all report 41",
  ],
  "one-announce.yaml": [
    "notify: PUT /turnout/v1/tenants/prod/acme to 2 of im-gateway",
    "undo notify announce: PUT /turnout/v1/tenants/prod/acme to everyone who was called and 2 of im-gateway",
  ],
  "receiver-without-fences.yaml": [
    "billing: POST /apply to 1 of billing",
    "check: GET /state/wonka of 1 of billing until all report 42",
    "undo billing announce: POST /apply to everyone who was called and 1 of billing",
    "undo check verify: GET /state/wonka of 1 of billing until all report 41",
    "undo check verify-again: GET /state/wonka of 1 of billing until all report 41",
  ],
  "string-with-expiry.yaml": [
    "sessions: SET session:prod:initech on routing for 1h, XADD to session:moves",
    "undo sessions write: put session:prod:initech of routing back, XADD to session:moves",
    "undo sessions publish: put session:prod:initech of routing back, XADD to session:moves",
  ],
  "two-approvals.yaml": [
    "four-eyes: wait for 2 approvals",
    "notify: PUT /turnout/v1/tenants/prod/globex to 1 of im-gateway",
    "check: GET /turnout/v1/tenants/prod/globex of 1 of im-gateway until all report 42",
    "undo notify announce: PUT /turnout/v1/tenants/prod/globex to everyone who was called and 1 of im-gateway",
    "undo check verify: GET /turnout/v1/tenants/prod/globex of 1 of im-gateway until all report 41",
  ],
};

test("each sample is listed here", () => expect(FILES).toEqual(Object.keys(SHOWN)));

describe.each(FILES)("config/samples/%s", (file) => {
  test("is a SwitchTask in a namespace that its endpoints allow", () => {
    expect(manifestOf(file)).toMatchObject({
      apiVersion: "turnout.dev/v1alpha1",
      kind: "SwitchTask",
      metadata: { namespace: "prod" },
    });
  });

  test("decodes and validates, with no other warning than that of a single endpoint", () => {
    const issues = issuesOf(specOf(file));
    expect(issues.filter((issue) => !issue.includes("only one endpoint"))).toEqual([]);
  });

  test("plans in both directions as a dry run shows it", () => {
    const spec = specOf(file);
    const basis = basisOf(spec);
    const unfenced = spec.stages.some((_, i) => planStage(basis, i, "Forward").planned?.fencing === "None");
    const steps = compileUndo(undoStages(spec, STAGES), { previousKnown: spec.previous !== null, unfenced });
    const lines = [
      ...spec.stages.map(({ name }, i) => `${name}: ${planStage(basis, i, "Forward").planned?.preview ?? ""}`),
      ...steps.map(
        ({ stage, part, index }) => `undo ${stage} ${part}: ${planStage(basis, index, "Back").planned?.preview ?? ""}`,
      ),
    ];
    expect(lines).toEqual(SHOWN[file]);
  });
});

test("[R54] a first placement whose announce does not say how to undo it is refused", () => {
  const raw = JSON.parse(JSON.stringify(manifestOf("first-placement.yaml").spec)) as {
    stages: { http?: { undo?: unknown } }[];
  };
  for (const { http } of raw.stages) if (http !== undefined) delete http.undo;
  const { spec } = decodeSpec(raw);
  if (spec === null) throw new Error("does not decode");
  expect(issuesOf(spec)).toContainEqual(
    "error spec.stages[1].http.undo: nobody knows where the tenant is now: state spec.previous, or say in stage notify how to undo",
  );
});
