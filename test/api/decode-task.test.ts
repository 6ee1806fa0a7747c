import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { structural } from "../../src/api/crd.ts";
import { controlOf, specDecoder } from "../../src/api/decode-task.ts";
import { controlSchema, switchTaskSpec } from "../../src/api/switch-task.ts";
import { NO_CONTROL } from "../support/build.ts";
import { changedAt, type Place, placesIn, type Schema, shown, valueOf } from "../support/schema-values.ts";
import { cases } from "../support/seed.ts";

const KINDS = {
  write: z.strictObject({ key: z.string().max(8).describe("Key.") }).describe("Writes."),
  wait: z.strictObject({ duration: z.string().max(32).describe("How long.") }).describe("Waits."),
};
const decode = specDecoder(KINDS);

const UNIT = { id: 2, name: "green", version: 7 };
const SHORT: JsonObject = {
  tenantId: "acme",
  plan: { id: 17, version: 42 },
  target: { deployUnit: UNIT },
  stages: [{ name: "route", write: { key: "k" } }],
};
const issuesOf = (spec: Json): readonly string[] =>
  decode(spec).issues.map(({ severity, path, value, message }) => `${severity} ${path}=${value}: ${message}`);

describe("a spec", () => {
  test("that says only what it must gets the defaults", () => {
    expect(decode(SHORT)).toEqual({
      issues: [],
      spec: {
        tenantId: "acme",
        executionUnit: null,
        plan: { id: 17, version: 42 },
        target: { deployUnit: UNIT, endpoints: [], parameters: {}, default: false },
        previous: null,
        requestedBy: null,
        serviceAccountName: null,
        stages: [
          {
            name: "route",
            kind: "write",
            config: { key: "k" },
            timeout: null,
            attemptTimeout: null,
            instanceTimeout: null,
            retry: null,
            onDrift: "Hold",
          },
        ],
        onFailure: "Hold",
        retry: null,
        progressDeadline: null,
        rollbackWindow: millisOf(168 * 3_600_000),
        deletionPolicy: "Rollback",
        ttlAfterFinished: null,
        dryRun: false,
      },
    });
  });

  test("that says everything is taken by its word", () => {
    const place = { endpoints: [{ key: "gw", host: "h", port: 80 }], parameters: { a: "b" }, default: true };
    const backoff = { initial: "2s", factor: 3, max: "1m" };
    const said = {
      ...SHORT,
      executionUnit: "june",
      target: { deployUnit: UNIT, ...place },
      previous: { deployUnit: { ...UNIT, id: 1 }, ...place, planVersion: 41 },
      requestedBy: "alice",
      serviceAccountName: "acme-switcher",
      stages: [
        { name: "route", write: { key: "k" }, timeout: "1m", attemptTimeout: "10s", instanceTimeout: "500ms" },
        { name: "pause", wait: { duration: "5m" }, retry: { maxAttempts: 7, backoff: {} }, onDrift: "Keep" },
      ],
      onFailure: "Rollback",
      retry: { maxAttempts: 2, backoff },
      progressDeadline: "30m",
      rollbackWindow: "1h30m",
      deletionPolicy: "Block",
      ttlAfterFinished: "2d",
      dryRun: true,
      control: { anything: 1 },
    };
    const { spec, issues } = decode(said);
    expect(issues).toEqual([]);
    expect(spec).toMatchObject({
      executionUnit: "june",
      target: { deployUnit: UNIT, ...place },
      previous: { deployUnit: { ...UNIT, id: 1 }, ...place, planVersion: 41, task: null },
      requestedBy: "alice",
      serviceAccountName: "acme-switcher",
      onFailure: "Rollback",
      retry: { maxAttempts: 2, backoff: { initial: seconds(2), factor: 3, max: seconds(60) } },
      progressDeadline: seconds(1800),
      rollbackWindow: seconds(5400),
      deletionPolicy: "Block",
      ttlAfterFinished: seconds(2 * 86_400),
      dryRun: true,
    });
    expect(spec?.stages).toMatchObject([
      { kind: "write", timeout: seconds(60), attemptTimeout: seconds(10), instanceTimeout: millisOf(500) },
      {
        kind: "wait",
        config: { duration: "5m" },
        onDrift: "Keep",
        retry: { maxAttempts: 7, backoff: { initial: seconds(1), factor: 2, max: seconds(30) } },
      },
    ]);
  });

  test("a retry may leave out either half", () => {
    const retried = (retry: Json): unknown => decode({ ...SHORT, retry }).spec?.retry;
    expect(retried({})).toEqual({});
    expect(retried({ backoff: { max: "5s" } })).toEqual({
      backoff: { initial: seconds(1), factor: 2, max: seconds(5) },
    });
  });
});

const without = (name: string): Json => Object.fromEntries(Object.entries(SHORT).filter(([key]) => key !== name));
const stage = (about: JsonObject): Json => ({ ...SHORT, stages: [{ name: "route", ...about }] });

const MESSAGES: readonly (readonly [rule: string, spec: Json, ...issues: string[]])[] = [
  ["[R16] no tenant", without("tenantId"), "error spec.tenantId=: Invalid input: expected string, received undefined"],
  [
    "[R16] a strange tenant",
    { ...SHORT, tenantId: "a b" },
    'error spec.tenantId="a b": must be letters, digits, _ and -',
  ],
  [
    "[R15] a plan version out of range",
    { ...SHORT, plan: { id: 1, version: 0 } },
    "error spec.plan.version=0: Too small: expected number to be >=1",
  ],
  [
    "a field that is not there",
    { ...SHORT, tenantId: "acme", colour: "red" },
    `error spec=${JSON.stringify({ ...SHORT, colour: "red" }).slice(0, 128)}: Unrecognized key: "colour"`,
  ],
  ["no stage", { ...SHORT, stages: [] }, "error spec.stages=[]: Too small: expected array to have >=1 items"],
  [
    "a stage's name",
    { ...SHORT, stages: [{ name: "Route", write: { key: "k" } }] },
    'error spec.stages[0].name="Route": must be lower-case letters, digits and -, beginning with a letter',
  ],
  [
    "a duration in words",
    stage({ write: { key: "k" }, timeout: "soon" }),
    'error spec.stages[0].timeout="soon": must be a duration such as 300ms, 90s, 5m or 1h30m',
  ],
  ["a stage of no kind", stage({}), "error spec.stages[0]=: set exactly one of write, wait"],
  [
    "a stage of two kinds",
    stage({ write: { key: "k" }, wait: { duration: "1s" } }),
    "error spec.stages[0]=write, wait: set exactly one of write, wait",
  ],
  [
    "[R10] everything that is wrong, not only the first",
    { ...SHORT, tenantId: "", dryRun: "yes" },
    'error spec.tenantId="": Too small: expected string to have >=1 characters',
    'error spec.tenantId="": must be letters, digits, _ and -',
    'error spec.dryRun="yes": Invalid input: expected boolean, received string',
  ],
  ["a spec that is none", "spec", "error spec.tenantId=: Invalid input: expected string, received undefined"],
];

describe("[SEC-16] what does not decode is said with its place, its value and what is wanted", () => {
  test("no row is lost", () => expect(MESSAGES).toHaveLength(11));

  test.each(MESSAGES.map(([rule, spec, ...issues]) => ({ rule, spec, issues })))("$rule", ({ spec, issues }) => {
    expect(issuesOf(spec).slice(0, issues.length)).toEqual(issues);
    expect(decode(spec).spec).toBeNull();
  });

  test("[R10] at most 50 issues, each as long as the status takes", () => {
    const long = { name: "X".repeat(300), write: { key: "y".repeat(300) } };
    const { issues } = decode({ ...SHORT, stages: Array.from({ length: 32 }, () => long) });
    expect(issues).toHaveLength(50);
    for (const { path, value, message } of issues) {
      expect([path.length <= 128, value.length <= 128, message.length <= 256]).toEqual([true, true, true]);
    }
    const deep = decode({ ...SHORT, ["z".repeat(500)]: 1 }).issues[0];
    expect(deep?.message.length).toBe(256);
  });
});

describe("every bound of the schema", () => {
  const SCHEMA = structural(switchTaskSpec(KINDS)) as Schema;
  const OTHER = /^\.stages\[\]\.wait$|^\.control$/;
  const FULL = valueOf(SCHEMA, 0, (path) => OTHER.test(path));

  /** A value just beyond one bound of its place. */
  const beyond = ({ schema, value }: Place): readonly Json[] => {
    const { maxLength, minimum, maximum, maxItems, minItems, pattern, minLength } = schema;
    const items = Array.isArray(value) ? (value as readonly Json[]) : [];
    return [
      ...(schema.enum === undefined ? [] : ["NoSuchChoice"]),
      ...(pattern === undefined ? [] : ["no, such!"]),
      ...(maxLength === undefined ? [] : ["x".repeat(maxLength + 1)]),
      ...(minLength === undefined || minLength === 0 ? [] : [""]),
      ...(minimum === undefined ? [] : [minimum - 1]),
      ...(maximum === undefined ? [] : [maximum + 1]),
      ...(schema.type === "integer" ? [1.5] : []),
      ...(maxItems === undefined ? [] : [Array.from({ length: maxItems + 1 }, () => items[0] ?? null)]),
      ...(minItems === undefined || minItems === 0 ? [] : [[]]),
      ...(schema.type === "object" || schema.type === "array" ? ["no object"] : [{ no: "value" }]),
    ];
  };
  const ROWS = placesIn(FULL, SCHEMA, []).flatMap((place) =>
    beyond(place).map((value) => ({ path: place.path, at: `spec.${shown(place.path)}`, value })),
  );

  test("is kept by the full spec, which decodes", () => {
    expect(decode(FULL).issues).toEqual([]);
    expect(ROWS.length).toBeGreaterThan(120);
  });

  test.each(ROWS)("[SEC-16] at $at: $value is refused there", ({ path, at, value }) => {
    const { spec, issues } = decode(changedAt(FULL, path, value));
    expect(spec).toBeNull();
    expect(issues.some((issue) => issue.path === at.slice(0, 128))).toBe(true);
  });

  test("[SEC-16] whatever comes gives a spec or issues, never a throw", () => {
    fc.assert(
      fc.property(fc.anything(), fc.nat(), (raw, at) => {
        const place = ROWS[at % ROWS.length];
        for (const spec of [raw, changedAt(FULL, place?.path ?? [], (raw ?? null) as Json)]) {
          const decoded = decode(spec);
          expect(decoded.spec === null).toBe(decoded.issues.length > 0);
        }
      }),
      cases(500),
    );
  });
});

describe("commands", () => {
  test("none where nothing is asked", () => {
    expect(controlOf({})).toEqual(NO_CONTROL);
    expect(controlOf(undefined)).toEqual(NO_CONTROL);
    expect(controlOf({ control: {} })).toEqual(NO_CONTROL);
  });

  test("each as it was given", () => {
    const control = {
      paused: false,
      rollback: true,
      cancel: true,
      retry: 3,
      approvals: {
        hold: { alice: { decision: "Approve" }, bob: { decision: "Reject", comment: "c", expect: "0123456789ab" } },
      },
      skip: { route: { by: "bob", reason: "known good" } },
    };
    expect(controlOf({ control })).toEqual({
      ...control,
      approvals: {
        hold: {
          alice: { decision: "Approve", comment: null, expect: null },
          bob: { decision: "Reject", comment: "c", expect: "0123456789ab" },
        },
      },
    });
  });

  test("a vanished field is not false: only an explicit one resumes", () => {
    expect(controlOf({ control: { retry: 1 } }).paused).toBeNull();
  });

  test("[SEC-16] what does not decode is not a command", () => {
    const schema = structural(controlSchema) as Schema;
    const full = valueOf(schema, 1);
    expect(controlOf({ control: full })).not.toEqual(NO_CONTROL);
    fc.assert(
      fc.property(fc.anything(), (control) => {
        const read = controlOf({ control });
        expect(typeof read.rollback).toBe("boolean");
        expect(read.retry === null || Number.isInteger(read.retry)).toBe(true);
      }),
      cases(500),
    );
    expect(controlOf({ control: { rollback: "yes" } })).toEqual(NO_CONTROL);
  });
});
