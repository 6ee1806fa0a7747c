import type { Json } from "../../src/lib/json.ts";

/** A structural schema as it stands in a CRD. */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly "x-kubernetes-preserve-unknown-fields"?: true;
}

export type Path = readonly (string | number)[];

/** `spec.stages[0].http` */
export const shown = (path: Path): string =>
  path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .slice(1);

/** Two texts that a pattern takes. A pattern that is not here stops the test: it wants a sample. */
const TEXTS: Readonly<Record<string, readonly [string, string]>> = {
  "^[A-Za-z0-9_-]+$": ["acme", "umbrella"],
  "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$": ["june-green", "july-green"],
  "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$": ["notify", "tell"],
  "^([0-9]{1,9}(ms|s|m|h|d))+$": ["90s", "1h30m"],
  "^\\/.*": ["/one", "/two"],
  "^(sha256:)?[0-9a-f]{12,64}$": ["0123456789ab", "sha256:0123456789ab"],
};

/** A value that the schema allows; `n` tells two apart. Every optional field is there but those that `leave` names. */
export function valueOf(schema: Schema, n: 0 | 1, leave: (path: string) => boolean = () => false, path = ""): Json {
  switch (schema.type) {
    case "boolean":
      return n === 1;
    case "integer":
    case "number":
      return (schema.minimum ?? 0) + n;
    case "string":
      return textOf(schema, n);
    case "array":
      return [valueOf(schema.items ?? {}, n, leave, `${path}[]`)];
    case "object":
      return schema.additionalProperties === undefined
        ? objectOf(schema, n, leave, path)
        : { [`key${n}`]: valueOf(schema.additionalProperties, n, leave, `${path}{}`) };
    default:
      return { any: [n] };
  }
}

function objectOf(schema: Schema, n: 0 | 1, leave: (path: string) => boolean, path: string): Json {
  const fields = Object.entries(schema.properties ?? {}).map(([key, value]) => [key, value, `${path}.${key}`] as const);
  return Object.fromEntries(
    fields.filter(([, , at]) => !leave(at)).map(([key, value, at]) => [key, valueOf(value, n, leave, at)]),
  );
}

function textOf({ enum: closed, pattern, maxLength }: Schema, n: 0 | 1): string {
  if (closed !== undefined) return closed[n] ?? "";
  if (pattern === undefined) return `text-${n}`.slice(-(maxLength ?? 8));
  const texts = TEXTS[pattern];
  if (texts === undefined) throw new Error(`schema-values.ts has no text for ${pattern}`);
  return texts[n];
}

/** A place in a value, with the schema that rules it. */
export interface Place {
  readonly path: Path;
  readonly schema: Schema;
  readonly value: Json;
  /** May be left out: an optional field, an entry of a map, an item of a list. */
  readonly optional: boolean;
}

/** Every place below, parents first. */
export function placesIn(value: Json, schema: Schema, path: Path): readonly Place[] {
  if (Array.isArray(value) && schema.items !== undefined) {
    const { items } = schema;
    return value.flatMap((item: Json, i) => within(item, items, { path: [...path, i], optional: true }));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  return Object.entries(value as Readonly<Record<string, Json>>).flatMap(([key, item]) => {
    const of = schema.properties?.[key] ?? schema.additionalProperties;
    const optional = schema.required?.includes(key) !== true;
    return of === undefined ? [] : within(item, of, { path: [...path, key], optional });
  });
}

const within = (value: Json, schema: Schema, at: Pick<Place, "path" | "optional">): readonly Place[] => [
  { ...at, schema, value },
  ...placesIn(value, schema, at.path),
];

/** The same value with another one at that place; `undefined` takes it out. */
export function changedAt(value: Json, [head, ...rest]: Path, put: Json | undefined): Json {
  if (head === undefined) return put ?? null;
  if (Array.isArray(value)) {
    const list = [...(value as readonly Json[])];
    const i = Number(head);
    if (rest.length === 0 && put === undefined) list.splice(i, 1);
    else list[i] = changedAt(list[i] ?? {}, rest, put);
    return list;
  }
  const { [head]: old = {}, ...others } = (value ?? {}) as Readonly<Record<string, Json>>;
  return rest.length === 0 && put === undefined ? others : { ...others, [head]: changedAt(old, rest, put) };
}
