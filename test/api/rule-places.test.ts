import { expect, test } from "vitest";
import { switchTaskCrd } from "../../src/api/crd.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { Json } from "../../src/lib/json.ts";
import { STAGES } from "../../src/stages/registry.ts";

// What a status write pays for: every rule that stands where such a write makes the API server evaluate it.

interface Placed {
  readonly path: string;
  readonly type: string;
  readonly rule: string;
}

const KINDS = Object.fromEntries(Object.entries(STAGES).map(([kind, { config }]) => [kind, config]));
const ROOT = at(switchTaskCrd(KINDS) as unknown as Json, "/spec/versions/0/schema/openAPIV3Schema") as Json;

function rulesIn(node: Json, path: string): readonly Placed[] {
  const fields = (at(node, "/properties") ?? {}) as Readonly<Record<string, Json>>;
  const rules = (at(node, "/x-kubernetes-validations") ?? []) as readonly { readonly rule: string }[];
  const items = at(node, "/items");
  const values = at(node, "/additionalProperties");
  return [
    ...rules.map(({ rule }) => ({ path, type: textAt(node, "/type"), rule })),
    ...Object.entries(fields).flatMap(([name, field]) => rulesIn(field, `${path}.${name}`)),
    ...(items === undefined ? [] : rulesIn(items, `${path}[]`)),
    ...(values === undefined ? [] : rulesIn(values, `${path}{}`)),
  ];
}

function textAt(node: Json, path: string): string {
  const found = at(node, path);
  return typeof found === "string" ? found : "";
}

const RULES = rulesIn(ROOT, "");

test("rules about the whole pass by a write that moved status.seq", () => {
  const ours = RULES.filter(({ path }) => path === "");
  expect(ours).toHaveLength(6);
  for (const { rule } of ours) expect(rule).toMatch(/^self\.\?status\.\?seq\.orValue\(0\) != oldSelf\.\?status/);
});

test("rules about stages are evaluated at creation only", () => {
  const ours = RULES.filter(({ path }) => path === ".spec.stages");
  expect(ours).toHaveLength(5);
  for (const { rule } of ours) expect(rule).toMatch(/^oldSelf\.hasValue\(\) \|\| /);
});

test("no other rule stands at an object or a list: looking up a field there costs a copy of its neighbours", () => {
  const others = RULES.filter(({ path }) => path !== "" && path !== ".spec.stages");
  expect(others.map(({ path, type }) => `${path} ${type}`)).toEqual([
    ".spec.control.rollback boolean",
    ".spec.control.cancel boolean",
  ]);
});
