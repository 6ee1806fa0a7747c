import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { join } from "node:path";
import { applyManifests } from "../../deployment/local/apply.ts";
import type { Json } from "../../src/lib/json.ts";
import { type ApiPeople, openApiPeople, type Said } from "../support/api-person.ts";
import { fullSpec, required, shortSpec, specSchema } from "../support/full-switch.ts";
import { changedAt, type Path, type Place, placesIn, type Schema, shown, valueOf } from "../support/schema-values.ts";

// Everything here is made from the schema: a field that is added to it is tested without a line here.

const SCHEMA = specSchema("switchtasks");
const FULL = fullSpec(SCHEMA);
const SHORT = shortSpec(SCHEMA);
const PLACES = placesIn(FULL, SCHEMA, []);
const IMMUTABLE = "spec is immutable but for control: create another task";

let people: ApiPeople;
beforeAll(async () => {
  const env = inject("env");
  const root = join(import.meta.dirname, "..", "..");
  await applyManifests(env, [join(root, "crds"), join(root, "admission")]);
  people = await openApiPeople(env["KUBECONFIG_ADMIN"] ?? "");
});
afterAll(() => people[Symbol.asyncDispose]());

const task = (name: string, spec: Json): Readonly<Record<string, Json>> => ({
  apiVersion: "turnout.dev/v1alpha1",
  kind: "SwitchTask",
  metadata: { name },
  spec,
});
const TASKS = { kind: "switchtasks", namespace: "default" } as const;

/** Stored, and gone when the test is over. */
async function stored(name: string, spec: Json): Promise<AsyncDisposable & { replace(spec: Json): Promise<Said> }> {
  const target = { ...TASKS, name };
  const made = await people.as().create(TASKS, task(name, spec));
  expect(made).toMatchObject({ code: 201, message: "" });
  const { metadata } = made.object;
  return {
    replace: (other) =>
      people.as().replace(target, { ...task(name, other), metadata: metadata ?? null }, { dryRun: true }),
    [Symbol.asyncDispose]: async () => void (await people.as().remove(target)),
  };
}

/** A few at a time: the API server answers them side by side. */
async function each<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const worker = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await work(one);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

describe("[SEC-16] a created task cannot be changed, field by field of the schema", () => {
  const leaves = PLACES.filter(({ schema }) => schema.properties === undefined && schema.items === undefined);
  const optional = PLACES.filter((place) => place.optional);
  test("every field of the schema is among them", () => {
    const inSchema = fieldsOf(SCHEMA, []).filter((path) => !path.startsWith("control"));
    const covered = new Set(PLACES.map(({ path }) => generic(path)));
    expect(inSchema.filter((path) => !covered.has(path))).toEqual([]);
    expect(leaves.length).toBeGreaterThan(80);
    expect(optional.length).toBeGreaterThan(80);
  });

  test("changed", async () => {
    await using object = await stored(`full-${process.pid}`, FULL);
    const taken: string[] = [];
    await each(leaves, async ({ path, schema }) => {
      const { code, message } = await object.replace(changedAt(FULL, path, valueOf(schema, 1)));
      if (code !== 422 || !message.includes(IMMUTABLE)) taken.push(`${shown(path)}: ${code} ${message}`);
    });
    expect(taken).toEqual([]);
    expect(await object.replace(FULL)).toMatchObject({ code: 200 });
  });

  test("removed", async () => {
    await using object = await stored(`less-${process.pid}`, FULL);
    const taken: string[] = [];
    await each(optional, async ({ path }) => {
      const { code, message } = await object.replace(changedAt(FULL, path, undefined));
      if (code !== 422 || !message.includes(IMMUTABLE)) taken.push(`${shown(path)}: ${code} ${message}`);
    });
    expect(taken).toEqual([]);
  });

  test("added", async () => {
    await using object = await stored(`short-${process.pid}`, SHORT);
    const there = new Set(placesIn(SHORT, SCHEMA, []).map(({ path }) => shown(path)));
    const missing = optional.filter(({ path }) => !there.has(shown(path)));
    expect(missing.length).toBeGreaterThan(80);
    const taken: string[] = [];
    await each(missing, async (place) => {
      const { code, message } = await object.replace(withAdded(place));
      if (code !== 422 || !message.includes(IMMUTABLE)) taken.push(`${shown(place.path)}: ${code} ${message}`);
    });
    expect(taken).toEqual([]);
  });
});

/** The short spec and one field more; what must stand around that field comes with it. */
function withAdded({ path, value }: Place): Json {
  const parents = PLACES.filter(
    (one) => one.path.length < path.length && one.path.every((part, i) => part === path[i]),
  );
  const around = parents.reduce<Json>((spec, parent) => {
    const present = placesIn(spec, SCHEMA, []).some((one) => shown(one.path) === shown(parent.path));
    return present ? spec : changedAt(spec, parent.path, required(parent.value, parent.schema));
  }, SHORT);
  return changedAt(around, path, value);
}

describe("[SEC-16] [R1] every field has bounds, and the API server holds it to them", () => {
  const breaches = placesIn({ ...FULL, control: controlOf() }, SCHEMA, []).flatMap(breachesOf);
  test("none is without", () => {
    const open = placesIn({ ...FULL, control: controlOf() }, SCHEMA, [])
      .filter(({ schema }) => !isBounded(schema))
      .map(({ path }) => shown(path));
    expect(open).toEqual([]);
    expect(breaches.length).toBeGreaterThan(250);
  });

  test("each is refused with the path of the field", async () => {
    const taken: string[] = [];
    await each(breaches, async ({ what, path, spec }) => {
      const { code, message } = await people.as().create(TASKS, task("bad", spec), { dryRun: true });
      if (code !== 422 || !message.includes(`spec.${shown(path)}`)) taken.push(`${what}: ${code} ${message}`);
    });
    expect(taken).toEqual([]);
  });
});

function controlOf(): Json {
  const control = SCHEMA.properties?.["control"] ?? {};
  return valueOf(control, 1);
}

const isBounded = ({ type, enum: closed, maxLength, maximum, minimum, maxItems, ...schema }: Schema): boolean => {
  if (type === "string") return closed !== undefined || maxLength !== undefined;
  if (type === "integer" || type === "number") return minimum !== undefined && maximum !== undefined;
  if (type === "array") return maxItems !== undefined;
  return schema.additionalProperties === undefined || schema.maxProperties !== undefined;
};

interface Breach {
  readonly what: string;
  readonly path: Path;
  readonly spec: Json;
}

const WRONG_TYPE: Readonly<Record<string, Json>> = {
  string: 7,
  integer: "seven",
  number: "seven",
  boolean: "yes",
  array: "all",
  object: "all",
};

/** Ways to go beyond what the schema allows at one place. */
function breachesOf({ path, schema, value, optional }: Place): readonly Breach[] {
  const spec: Json = { ...FULL, control: controlOf() };
  const list = Array.isArray(value) ? (value as readonly Json[]) : [];
  const wrong: Readonly<Record<string, Json | undefined>> = {
    "of another type": schema.type === undefined ? undefined : WRONG_TYPE[schema.type],
    "too long": schema.maxLength === undefined ? undefined : lengthened(schema, value),
    "too short": schema.minLength === undefined ? undefined : "",
    "not of the pattern": schema.pattern === undefined ? undefined : "no such thing!",
    "not of the list": schema.enum === undefined ? undefined : "Nonsense",
    "too small": schema.minimum === undefined ? undefined : schema.minimum - 1,
    "too large": schema.maximum === undefined ? undefined : schema.maximum + 1,
    "too many":
      schema.maxItems === undefined ? undefined : Array.from({ length: schema.maxItems + 1 }, () => list[0] ?? null),
    "too few": schema.minItems === undefined ? undefined : [],
    "too many entries": schema.maxProperties === undefined ? undefined : entries(schema, value),
  };
  const found = Object.entries(wrong).flatMap(([how, put]) =>
    put === undefined ? [] : [{ what: `${shown(path)} ${how}`, path, spec: changedAt(spec, path, put) }],
  );
  const gone = { what: `${shown(path)} left out`, path, spec: changedAt(spec, path, undefined) };
  return optional ? found : [...found, gone];
}

/** Of characters that the pattern takes, so that nothing but the length is wrong. */
const lengthened = ({ maxLength = 0 }: Schema, value: Json): Json =>
  (typeof value === "string" ? value.slice(0, 1) : "x").repeat(maxLength + 1);

const entries = ({ maxProperties = 0 }: Schema, value: Json): Json =>
  Object.fromEntries(Array.from({ length: maxProperties + 1 }, (_, i) => [`k${i}`, Object.values(value as object)[0]]));

/** `stages[].http.to.key` for every field that the schema has. */
function fieldsOf(schema: Schema, path: readonly string[]): readonly string[] {
  const below = Object.entries(schema.properties ?? {}).flatMap(([key, of]) => [
    [...path, key].join("."),
    ...fieldsOf(of, [...path, key]),
  ]);
  const items = schema.items === undefined ? [] : fieldsOf(schema.items, path);
  return [...below, ...items];
}
const generic = (path: Path): string => path.filter((part) => typeof part === "string").join(".");
