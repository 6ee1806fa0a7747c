import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { basisOf } from "../../src/domain/basis.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { planStage } from "../../src/domain/plan.ts";
import { undoPlanOf } from "../../src/domain/undo.ts";
import { validate, type ValidationContext, VALIDATORS } from "../../src/domain/validate.ts";
import type { Endpoint, TaskSpec } from "../../src/domain/stored.ts";
import { aPlacement, aPlan, aPrevious, aSpec, aStage, aTask, aTenant, type Pipeline } from "../support/build.ts";
import type { KindName } from "../support/domain-kinds.ts";
import { cases } from "../support/seed.ts";

interface Case {
  readonly spec?: Partial<TaskSpec>;
  readonly pipeline?: Pipeline;
  /** false: the tenant was never placed. */
  readonly placed?: boolean;
  readonly previous?: ValidationContext["previous"];
  readonly rivals?: readonly string[];
}

function issuesOf({ spec = {}, pipeline, placed = true, previous = "resolved", rivals = [] }: Case): readonly string[] {
  const whole = aSpec({ ...(pipeline === undefined ? {} : { pipeline }), ...spec });
  const view = aTask({ phase: "Pending", spec: whole, tenant: aTenant(placed ? {} : { current: null }) });
  const { valid, issues } = validate(whole, { basis: basisOf(view, view.status), previous, rivals });
  expect(valid).toBe(issues.every(({ severity }) => severity === "warning"));
  return issues.map(({ severity, path, value, message }) => `${severity} ${path}=${value}: ${message}`);
}

const unit = (about: Partial<TaskSpec["target"]["deployUnit"]>): Partial<TaskSpec> => ({
  target: { ...aPlacement("green"), deployUnit: { id: 2, name: "green", version: 7, ...about } },
});
const one: Endpoint = { key: "gateway", host: "10.2.0.1", port: 8080 };
const targeting = (...endpoints: readonly Endpoint[]): Partial<TaskSpec> => ({
  target: aPlacement("green", { endpoints: [...endpoints, ...(endpoints.length === 1 ? [one] : [])] }),
});
const WHOLE = "must be a whole number from 1 to 2147483647";
const HOST = "must be a DNS name or an IP address in its usual form";
const PORT = "must be from 1 to 65535";

const ROWS: readonly (readonly [rule: string, about: Case, ...issues: string[]])[] = [
  ["a healthy spec", {}],

  ["[R15] order 1: plan id", { spec: { plan: { id: 0, version: 42 } } }, `error spec.plan.id=0: ${WHOLE}`],
  [
    "[R15] plan version",
    { spec: { plan: { id: 1, version: 2 ** 31 } } },
    `error spec.plan.version=2147483648: ${WHOLE}`,
  ],
  ["[R15] the largest", { spec: { plan: { id: 2 ** 31 - 1, version: 1 } } }],
  ["[R15] deploy unit id", { spec: unit({ id: 1.5 }) }, `error spec.target.deployUnit.id=1.5: ${WHOLE}`],
  ["[R15] deploy unit version", { spec: unit({ version: -1 }) }, `error spec.target.deployUnit.version=-1: ${WHOLE}`],
  ["[R15] deploy unit name", { spec: unit({ name: "" }) }, "error spec.target.deployUnit.name=: is required"],

  ["[R16] order 5: 64 characters", { spec: { tenantId: "a".repeat(64) } }],
  [
    "[R16] 65",
    { spec: { tenantId: "a".repeat(65) } },
    `error spec.tenantId=${"a".repeat(65)}: must be 1–64 characters of A-Z a-z 0-9 _ -`,
  ],
  ["[R16] none", { spec: { tenantId: "" } }, "error spec.tenantId=: must be 1–64 characters of A-Z a-z 0-9 _ -"],
  [
    "[R16] others",
    { spec: { tenantId: "a/b" } },
    "error spec.tenantId=a/b: must be 1–64 characters of A-Z a-z 0-9 _ -",
  ],

  ["[R17] order 10: a DNS name", { spec: targeting({ ...one, host: "im-gateway.green.svc" }) }],
  ["[R17] IPv6", { spec: targeting({ ...one, host: "fd00::1" }) }],
  ["[R17] no host", { spec: targeting({ ...one, host: "a b" }) }, `error spec.target.endpoints[0].host=a b: ${HOST}`],
  [
    "[R17] IPv4 in an unusual form",
    { spec: targeting({ ...one, host: "0x0a.0.0.1" }) },
    `error spec.target.endpoints[0].host=0x0a.0.0.1: ${HOST}`,
  ],
  ["[R17] port 0", { spec: targeting({ ...one, port: 0 }) }, `error spec.target.endpoints[0].port=0: ${PORT}`],
  [
    "[R17] port 65536",
    { spec: targeting({ ...one, port: 65_536 }) },
    `error spec.target.endpoints[0].port=65536: ${PORT}`,
  ],
  [
    "[R17] half a port",
    { spec: targeting({ ...one, port: 80.5 }) },
    `error spec.target.endpoints[0].port=80.5: ${PORT}`,
  ],
  ["[R17] no key", { spec: targeting({ ...one, key: "" }) }, "error spec.target.endpoints[0].key=: is required"],
  [
    "[R17] the previous side, too",
    { spec: { previous: aPrevious({ endpoints: [{ ...one, port: 0 }] }) } },
    `error spec.previous.endpoints[0].port=0: ${PORT}`,
  ],
  [
    "[R17] at most 64",
    { spec: targeting(...Array.from({ length: 65 }, () => one)) },
    "error spec.target.endpoints=65: at most 64 endpoints",
    "warning spec.target.endpoints=65: more than 10 endpoints",
  ],
  [
    "[R17] a stage that targets an instance needs one",
    { pipeline: { notify: aStage("notify", "tell", { to: "nobody" }) } },
    "error spec.stages[0].tell.to=nobody: no instance to call",
  ],

  ["no stage", { spec: { stages: [] } }, "error spec.stages=0: must be 1 to 32 stages"],
  [
    "33 stages",
    { pipeline: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`s${i}`, "wait" as const])) },
    "error spec.stages=33: must be 1 to 32 stages",
  ],
  [
    "a stage's name",
    { pipeline: { "Route!": "wait" } },
    "error spec.stages[0].name=Route!: must be lower-case letters, digits and -, at most 40",
  ],
  [
    "two stages of one name",
    { spec: { stages: [aStage("a", "wait"), aStage("a", "wait")] } },
    "error spec.stages[1].name=a: stands twice",
  ],
  [
    "a kind that is not there has no undo to ask for, either",
    { placed: false, spec: { stages: [{ ...aStage("a", "wait"), kind: "magic" }] } },
    "error spec.stages[0]=magic: no such kind of stage",
    "error spec.stages[0]=magic: no such kind of stage",
  ],
  [
    "a kind that is not there",
    { spec: { stages: [{ ...aStage("a", "wait"), kind: "magic" }] } },
    "error spec.stages[0]=magic: no such kind of stage",
    "error spec.stages[0]=magic: no such kind of stage",
  ],

  [
    "[R18] order 20: the live task is named, and warned of only",
    { rivals: ["a", "b", "c", "d"] },
    "warning spec.tenantId=acme: is being switched by a, b, c; this task waits for it",
  ],

  [
    "two stages that write one key",
    { pipeline: { a: aStage("a", "write", { key: "k" }), b: aStage("b", "write", { key: "k" }) } },
    "error spec.stages[1]=write/store/k: writes what stage a writes",
  ],
  [
    "[S14] what needs a previous is refused once it is final",
    { placed: false, pipeline: { a: aStage("a", "write", { content: "${previous.deployUnit.name}" }) } },
    'error spec.stages[0].write.content="${previous.deployUnit.name}": ${previous.deployUnit.name}: the tenant\'s previous configuration is not known',
  ],
  [
    "[S14] not while it may still change",
    {
      placed: false,
      previous: "open",
      pipeline: { a: aStage("a", "write", { content: "${previous.deployUnit.name}" }) },
    },
  ],
  [
    "[S14] what can never become right is refused at once",
    { previous: "open", pipeline: { a: aStage("a", "write", { content: "${colour}" }) } },
    'error spec.stages[0].write.content="${colour}": ${colour}: no such variable',
  ],
  [
    "[S7] an undo that does not render is refused before anything is done",
    { pipeline: { a: aStage("a", "tell", { undo: "${target.parameters.group}" }) } },
    'error spec.stages[0].tell.content="${target.parameters.group}": while undoing: ${target.parameters.group}: no such variable',
  ],

  [
    "[S7] a first placement: an announce must say how it is undone",
    { placed: false },
    "error spec.stages[1].tell.undo=: nobody knows where the tenant is now: state spec.previous, or say in stage notify how to undo",
  ],
  ["[S7] which is not asked while previous may still be found", { placed: false, previous: "open" }],
  ["[S7] said so", { placed: false, pipeline: { a: aStage("a", "tell", { undo: "gone" }) } }],
  [
    "[S7] a publish beside a write, too",
    { placed: false, pipeline: { a: "duo" } },
    "error spec.stages[0].duo.undo=: nobody knows where the tenant is now: state spec.previous, or say in stage a how to undo",
  ],
  ["[S7] said inside of it", { placed: false, pipeline: { a: withPublish({ undo: "gone" }) } }],
  [
    "[S7] not said inside of it",
    { placed: false, pipeline: { a: withPublish({ channel: "c" }) } },
    "error spec.stages[0].duo.undo=: nobody knows where the tenant is now: state spec.previous, or say in stage a how to undo",
  ],
  [
    "[S7] a first placement of stores alone goes back to absent",
    { placed: false, pipeline: { a: "write", check: "look" } },
  ],

  [
    "order 40: an approval by somebody else needs to know who asked",
    { spec: { requestedBy: null, stages: [approval({ requireDifferentUser: true })] } },
    "error spec.stages[0].approval.requireDifferentUser=true: needs spec.requestedBy",
  ],
  ["known", { spec: { stages: [approval({ requireDifferentUser: true })] } }],
  ["not asked for", { spec: { requestedBy: null, stages: [approval({})] } }],

  [
    "[R19] order 50, warnings: 10 endpoints are not many",
    { spec: targeting(...Array.from({ length: 10 }, () => one)) },
  ],
  [
    "[R19] 11 are",
    { spec: targeting(...Array.from({ length: 11 }, () => one)) },
    "warning spec.target.endpoints=11: more than 10 endpoints",
  ],
  [
    "[R19] one is lonely",
    { spec: { target: aPlacement("green", { endpoints: [one] }) } },
    "warning spec.target.endpoints=1: only one endpoint: nothing takes over while it restarts",
  ],
  ["[R19] a test tenant", { spec: { tenantId: "test_1" } }, "warning spec.tenantId=test_1: looks like a test tenant"],
  [
    "[SEC-38] parameters are public",
    {
      spec: {
        target: aPlacement("green", { parameters: { apiKey: "x", ApiToken: "y", dbPassword: "z", trunk: "t" } }),
      },
    },
    "warning spec.target.parameters.apiKey=: parameters are public: keep secrets out of them",
    "warning spec.target.parameters.ApiToken=: parameters are public: keep secrets out of them",
    "warning spec.target.parameters.dbPassword=: parameters are public: keep secrets out of them",
  ],

  [
    "[R10] everything at once: nothing stops at the first",
    { spec: { ...targeting({ key: "", host: "", port: 0 }), tenantId: "", plan: { id: 0, version: 0 } } },
    `error spec.plan.id=0: ${WHOLE}`,
    `error spec.plan.version=0: ${WHOLE}`,
    "error spec.tenantId=: must be 1–64 characters of A-Z a-z 0-9 _ -",
    "error spec.target.endpoints[0].key=: is required",
    `error spec.target.endpoints[0].host=: ${HOST}`,
    `error spec.target.endpoints[0].port=0: ${PORT}`,
  ],
];

function withPublish(publish: JsonObject): ReturnType<typeof aStage> {
  const stage = aStage("a", "duo");
  return { ...stage, config: { ...stage.config, publish } };
}
function approval(config: JsonObject): ReturnType<typeof aStage> {
  return { ...aStage("hold", "approval"), config };
}

describe("every rule", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(50));

  test.each(ROWS.map(([rule, about, ...issues]) => ({ rule, about, issues })))("$rule", ({ about, issues }) => {
    expect(issuesOf(about)).toEqual(issues);
  });
});

test("[R14] the chain is ordered, and each validator can be used alone", () => {
  expect(VALIDATORS.map(({ order, name }) => `${order} ${name}`)).toEqual([
    "1 required",
    "5 tenant",
    "10 endpoints",
    "15 stages",
    "20 conflict",
    "30 plan",
    "35 undo",
    "40 approval",
    "50 business",
  ]);
  const view = aTask({ phase: "Pending" });
  const context: ValidationContext = { basis: basisOf(view, view.status), previous: "resolved", rivals: [] };
  for (const { check } of VALIDATORS) expect(check(aSpec(), context)).toEqual([]);
});

test("[S7] what validates can be undone: every part of the undo renders", () => {
  const kinds = fc.constantFrom<KindName>("write", "duo", "tell", "repeat", "once", "look", "wait", "approval");
  const text = fc.constantFrom(
    "plain",
    "${target.deployUnit.name}",
    "${plan.version}",
    "${previous.planVersion}",
    "${previous.deployUnit.name}",
    "${target.parameters.group}",
  );
  const drawn = fc.record({ kind: kinds, content: text, undo: fc.option(text, { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(drawn, { minLength: 1, maxLength: 6 }), fc.boolean(), (stages, placed) => {
      const spec = aSpec({
        stages: stages.map(({ kind, content, undo }, i) =>
          aStage(`s${i}`, kind, { content, ...(undo === undefined ? {} : { undo }) }),
        ),
        target: aPlacement("green", { parameters: { group: "a" } }),
      });
      const view = aTask({ phase: "Pending", spec, tenant: aTenant(placed ? {} : { current: null }) });
      const basis = basisOf(view, view.status);
      fc.pre(validate(spec, { basis, previous: "resolved", rivals: [] }).valid);
      const back = undoPlanOf(view, { ...view.status, plan: aPlan(spec, placed ? aPrevious() : null) });
      expect(back.filter(({ index }) => planStage(basis, index, "Back").planned === null)).toEqual([]);
    }),
    cases(200),
  );
});
