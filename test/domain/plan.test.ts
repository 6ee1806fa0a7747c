import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { seconds } from "../../src/lib/time.ts";
import { type Basis, identityOf, limitsOf, opIdOf, planDigest, planStage } from "../../src/domain/plan.ts";
import type { Outputs, Previous, TaskSpec } from "../../src/domain/stored.ts";
import { aPlacement, aPrevious, aSpec, aStage, type Pipeline } from "../support/build.ts";
import { DEFAULTS, KINDS, SETTINGS, type TestConfig } from "../support/domain-kinds.ts";
import { cases } from "../support/seed.ts";

const basis = (about: Partial<Basis> = {}): Basis => ({
  namespace: "prod",
  spec: aSpec(),
  previous: aPrevious(),
  settings: SETTINGS,
  kinds: KINDS,
  outputs: () => "later",
  opId: null,
  now: null,
  ...about,
});

/** What the last stage of the pipeline `first` (a write), then an announce of `content`, tells; its problems where it has some. */
function told(content: Json, about: Partial<Basis> = {}, direction: "Forward" | "Back" = "Forward"): Json {
  const pipeline: Pipeline = { first: "write", check: "look", last: aStage("last", "tell", { content }) };
  const { planned, issues } = planStage(basis({ spec: aSpec({ pipeline }), ...about }), 2, direction);
  return planned === null
    ? issues.map(({ path, message }) => `${path}: ${message}`)
    : ((planned.inputs as JsonObject)["value"] ?? null);
}

const AT = "spec.stages[2].tell.content: ";
const outputs =
  (of: Readonly<Record<string, Outputs>>): Basis["outputs"] =>
  (stage) =>
    of[stage] ?? {};

describe("variables", () => {
  const ROWS: readonly (readonly [rule: string, source: string, value: Json, about?: Partial<Basis>])[] = [
    ["the tenant", "${namespace}/${tenantId}", "prod/acme"],
    ["the plan", "${plan.id}/${plan.version}", "17/42"],
    ["the target", "${target.deployUnit.name} ${target.deployUnit.version} ${target.default}", "green 7 false"],
    ["one instance of it", "${target.endpoints.0.host}", "10.2.0.1"],
    ["previous is a Placement without its plan or task", "${previous.deployUnit.name}", "blue"],
    [
      "[S14] what previous was brought there by is not shown",
      "${previous.task.uid}",
      [`${AT}\${previous.task.uid}: no such variable`],
    ],
    [
      "no previous is known",
      "${previous.deployUnit.name}",
      [`${AT}\${previous.deployUnit.name}: the tenant's previous configuration is not known`],
      { previous: null },
    ],
    ["the way", "${direction}", "Forward"],
    ["the operation, once it is claimed", "${opId}", "op", { opId: "op" }],
    ["not before", "${opId}", ""],
    ["the first start", "${now}", "2026", { now: "2026" }],
    ["not before", "${now}", ""],
    [
      "[R44] an output of an earlier stage",
      "${stages.first.outputs.key}",
      "k",
      { outputs: outputs({ first: { key: "k" } }) },
    ],
    ["before anything ran it comes later", "${stages.first.outputs.key}", ""],
    [
      "[R44] one that is missing is named",
      "${stages.first.outputs.key}",
      [`${AT}\${stages.first.outputs.key}: stage first left no key`],
      { outputs: outputs({}) },
    ],
    [
      "an output that the kind does not have",
      "${stages.first.outputs.colour}",
      [`${AT}\${stages.first.outputs.colour}: stage first has no output colour`],
    ],
    [
      "an output of the stage itself",
      "${stages.last.outputs.instances}",
      [`${AT}\${stages.last.outputs.instances}: only outputs of earlier stages can be read`],
    ],
    [
      "an output of no stage",
      "${stages.none.outputs.key}",
      [`${AT}\${stages.none.outputs.key}: only outputs of earlier stages can be read`],
    ],
    ["not quite an output", "${stages.first.key}", [`${AT}\${stages.first.key}: write stages.NAME.outputs.KEY`]],
    [
      "too deep an output",
      "${stages.first.outputs.key.x}",
      [`${AT}\${stages.first.outputs.key.x}: write stages.NAME.outputs.KEY`],
    ],
    ["half an output", "${stages}", [`${AT}\${stages}: write stages.NAME.outputs.KEY`]],
    ["no such variable", "${colour}", [`${AT}\${colour}: no such variable`]],
    ["no such field", "${plan.colour}", [`${AT}\${plan.colour}: no such variable`]],
    ["no field of a text", "${tenantId.length}", [`${AT}\${tenantId.length}: no such variable`]],
    ["[SEC-44] own properties only", "${plan.constructor}", [`${AT}\${plan.constructor}: no such variable`]],
    ["[SEC-44] of the roots, too", "${toString}", [`${AT}\${toString}: no such variable`]],
  ];

  test("no row is lost", () => expect(ROWS).toHaveLength(26));

  test.each(ROWS.map(([rule, source, value, about = {}]) => ({ rule, source, value, about })))(
    "$rule: $source",
    ({ source, value, about }) => {
      expect(told(source, about)).toEqual(value);
    },
  );
});

describe("on the way back", () => {
  const content = "${target.deployUnit.name} ${plan.id} ${plan.version} ${direction}";

  test("[S7] content sees target = previous and its plan version", () => {
    expect(told(content, {}, "Forward")).toBe("green 17 42 Forward");
    expect(told(content, {}, "Back")).toBe("blue 17 41 Back");
  });

  test("[S7] what cannot be rendered without a previous is named", () => {
    expect(told("${target.deployUnit.name} ${plan.version}", { previous: null }, "Back")).toEqual([
      `${AT}\${target.deployUnit.name}: the tenant's previous configuration is not known`,
      `${AT}\${plan.version}: the tenant's previous configuration is not known`,
    ]);
  });

  test("[S7] keys and what was written stay those of the forward claim", () => {
    const stage = aStage("route", "write", { key: "t:${tenantId}:${target.deployUnit.name}", content });
    const at = (direction: "Forward" | "Back"): Json =>
      planStage(basis({ spec: aSpec({ pipeline: { route: stage } }) }), 0, direction).planned?.inputs ?? null;
    expect(at("Forward")).toMatchObject({ key: "t:acme:green", value: "green 17 42 Forward" });
    expect(at("Back")).toEqual(at("Forward"));
  });

  test("a kind is told the plan version of the side it asks; 0 where nobody knows", () => {
    const look = (previous: Previous | null, direction: "Forward" | "Back"): Json =>
      planStage(basis({ previous }), 2, direction).planned?.inputs ?? null;
    expect(look(aPrevious(), "Forward")).toEqual({ version: 42 });
    expect(look(aPrevious(), "Back")).toEqual({ version: 41 });
    expect(look(null, "Back")).toEqual({ version: 0 });
  });
});

describe("keys and paths", () => {
  const keyed = (key: string, about: Partial<Basis> = {}): Json => {
    const spec = aSpec({ pipeline: { first: "write", route: aStage("route", "write", { key }) } });
    const { planned, issues } = planStage(basis({ spec, ...about }), 1, "Forward");
    return planned === null ? issues.map(({ message }) => message) : (planned.conflicts[0] ?? null);
  };

  test.each(["${opId}", "${now}", "${direction}", "${stages.first.outputs.key}"])(
    "[S14] %s is not fixed when the plan is frozen",
    (variable) => {
      expect(keyed(`k:${variable}`, { opId: "op", now: "now" })).toEqual([
        `${variable}: not allowed in a key or path: it is not fixed when the plan is frozen`,
      ]);
    },
  );

  test("a key is text, whatever it is made of", () => {
    expect(keyed("${plan.version}")).toBe("write/store/42");
    expect(keyed("${target.default}")).toBe("write/store/false");
  });

  test("[SEC-24] in a path values are percent-encoded, and only what is frozen stands there", () => {
    const planner = {
      ...KINDS.write,
      plan: (context: Parameters<typeof KINDS.write.plan>[0]) => ({
        ...KINDS.write.plan(context),
        inputs: { path: context.path("/${target.parameters.group}/${plan.version}", "path") },
      }),
    };
    const target = aPlacement("green", { parameters: { group: "a/b" } });
    const spec = aSpec({ pipeline: { route: "write" }, target });
    const { planned } = planStage(basis({ spec, kinds: { write: planner } }), 0, "Forward");
    expect(planned?.inputs).toEqual({ path: "/a%2Fb/42" });
  });
});

test("a stage that is not there, or of a kind that is not", () => {
  expect(planStage(basis(), 9, "Forward")).toEqual({
    planned: null,
    issues: [{ severity: "error", path: "spec.stages[9]", value: "", message: "no such kind of stage" }],
  });
  expect(planStage(basis({ kinds: {} }), 0, "Forward").issues).toEqual([
    { severity: "error", path: "spec.stages[0]", value: "write", message: "no such kind of stage" },
  ]);
});

test("an issue without a place names the stage, and no value is shown longer than the status takes", () => {
  const planner = {
    ...KINDS.write,
    plan: (context: Parameters<typeof KINDS.write.plan>[0]) => {
      context.issue("", "x".repeat(500), "is wrong");
      return KINDS.write.plan(context);
    },
  };
  expect(planStage(basis({ kinds: { write: planner } }), 0, "Forward").issues).toEqual([
    { severity: "error", path: "spec.stages[0].write", value: "x".repeat(128), message: "is wrong" },
  ]);
});

describe("limits", () => {
  const backoff = { initial: seconds(2), factor: 3, max: seconds(9) };

  test("[R46] the stage's own word, else the task's, else the settings'", () => {
    const plain = aStage("a", "write");
    expect(limitsOf(plain, aSpec(), DEFAULTS)).toEqual(DEFAULTS);
    const own = { timeout: seconds(1), attemptTimeout: seconds(2), instanceTimeout: seconds(3) };
    const task = aSpec({ retry: { maxAttempts: 7, backoff } });
    expect(limitsOf(plain, task, DEFAULTS)).toEqual({ ...DEFAULTS, retry: { maxAttempts: 7, backoff } });
    const stage = aStage("a", "write", {}, { ...own, retry: { maxAttempts: 2 } });
    expect(limitsOf(stage, task, DEFAULTS)).toEqual({ ...own, retry: { maxAttempts: 2, backoff } });
    const all = aStage("a", "write", {}, { retry: { maxAttempts: 2, backoff: DEFAULTS.retry.backoff } });
    expect(limitsOf(all, task, DEFAULTS).retry).toEqual({ maxAttempts: 2, backoff: DEFAULTS.retry.backoff });
  });
});

describe("digest, identity, operation", () => {
  /** Every field of the spec, changed. */
  const CHANGES: { readonly [F in keyof TaskSpec]: TaskSpec[F] } = {
    tenantId: "umbrella",
    executionUnit: "june",
    plan: { id: 17, version: 43 },
    target: aPlacement("red"),
    previous: aPrevious(),
    requestedBy: "mallory",
    serviceAccountName: "switcher",
    stages: [aStage("route", "write", { key: "another" } satisfies TestConfig)],
    onFailure: "Rollback",
    retry: { maxAttempts: 9 },
    progressDeadline: seconds(9),
    rollbackWindow: seconds(9),
    deletionPolicy: "Block",
    ttlAfterFinished: seconds(9),
    dryRun: true,
  };
  /** Who asked, whether it is only shown, and when it is cleaned up say nothing of what is done. */
  const NOT_IN_THE_PLAN: readonly string[] = ["requestedBy", "dryRun", "ttlAfterFinished"];
  const digestOf = (spec: TaskSpec): string => planDigest(spec, aPrevious(), DEFAULTS);

  test.each(Object.keys(CHANGES))("[S14] the digest covers %s", (field) => {
    const changed = { ...aSpec(), ...Object.fromEntries(Object.entries(CHANGES).filter(([name]) => name === field)) };
    const same = NOT_IN_THE_PLAN.includes(field);
    expect(digestOf(changed) === digestOf(aSpec())).toBe(same);
    expect(identityOf("acme-green", changed, null)).not.toBe(identityOf("acme-green", aSpec(), null));
  });

  test("[S14] and the resolved previous configuration and what the settings gave", () => {
    const digests = [
      planDigest(aSpec(), aPrevious(), DEFAULTS),
      planDigest(aSpec(), null, DEFAULTS),
      planDigest(aSpec(), aPrevious({ planVersion: 40 }), DEFAULTS),
      planDigest(aSpec(), aPrevious(), { ...DEFAULTS, timeout: seconds(1) }),
    ];
    expect(new Set(digests).size).toBe(4);
    for (const digest of digests) expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test("[S13] another name or another text of turnout.dev/rerun is another execution", () => {
    const ids = [
      identityOf("acme-green", aSpec(), null),
      identityOf("acme-green-2", aSpec(), null),
      identityOf("acme-green", aSpec(), "again"),
    ];
    expect(new Set(ids).size).toBe(3);
  });

  test("[S14] one spec with another previous configuration has another digest, and its first one again", () => {
    const spec = aSpec();
    const first = planDigest(spec, aPrevious(), DEFAULTS);
    expect(planDigest(spec, null, DEFAULTS)).not.toBe(first);
    expect(planDigest(spec, aPrevious(), DEFAULTS)).toBe(first);
    expect(planDigest(aSpec(), aPrevious(), DEFAULTS)).toBe(first);
  });

  test("[S14] the digest does not depend on the order of fields", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(Object.keys(aSpec()), { minLength: Object.keys(aSpec()).length }), (order) => {
        const fields = new Map(Object.entries(aSpec()));
        const shuffled = Object.fromEntries(order.map((name) => [name, fields.get(name)])) as unknown as TaskSpec;
        expect(digestOf(shuffled)).toBe(digestOf(aSpec()));
      }),
      cases(200),
    );
  });

  test("[S26] one opId per operation: no two of any task, stage, direction, part alike", () => {
    const name = fc.stringMatching(/^[a-z]([-a-z0-9]{0,5}[a-z0-9])?$/);
    const operation = fc.tuple(name, name, fc.constantFrom("Forward" as const, "Back" as const), fc.option(name));
    fc.assert(
      fc.property(operation, operation, (a, b) => {
        expect(opIdOf(...a)).toMatch(/^[a-z2-7]{52}$/);
        expect(opIdOf(...a) === opIdOf(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      cases(500),
    );
  });
});
