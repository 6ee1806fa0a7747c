import { z } from "zod";
import { fault } from "../lib/failures.ts";
import type { Json } from "../lib/json.ts";
import { formatDuration, millisOf, parseDuration } from "../lib/time.ts";
import type { PlanContext } from "../domain/plan.ts";
import type { Drift, Outputs } from "../domain/stored.ts";
import type { Found, Outcome } from "../domain/task.ts";
import type { FencedKey, Publication, StoredValue, StoreResult } from "../infra/cache/fenced.ts";
import { connect, defineStage, durationField, durationOf, endpointName, mapOf, type StageCall } from "./stage.ts";

const MOST_FIELDS = 64;

const template = (max: number, about: string): z.ZodString => z.string().max(max).describe(about);
const payload = z.json().describe("What is told; strings may hold variables.").meta({ free: true });

const config = z
  .strictObject({
    endpoint: endpointName,
    key: template(512, "Key that is written; variables that are fixed when the plan is frozen.").min(1),
    hash: z
      .strictObject({
        fields: mapOf(z.string().min(1).max(128), template(4096, "Value; strings may hold variables."), {
          most: MOST_FIELDS,
          about: "Fields that are overwritten; others stay.",
        }),
      })
      .describe("Overwrite fields of a hash.")
      .optional(),
    string: z
      .strictObject({ value: template(65_536, "Value; may hold variables.") })
      .describe("Set a string.")
      .optional(),
    ttl: durationField("Expiry of the key; left out, a hash keeps its own and a string has none.").optional(),
    versionField: z.string().min(1).max(128).describe("Hash field that takes the plan's version.").optional(),
    publish: z
      .strictObject({
        channel: template(512, "Channel to PUBLISH to.").min(1).optional(),
        stream: template(512, "Stream to XADD to: a flat entry of 1 to 64 fields.").min(1).optional(),
        payload,
        undo: payload
          .describe("What is told instead when it is undone; obligatory where nobody knows the previous configuration.")
          .meta({ free: true })
          .optional(),
      })
      .describe(
        "Told in the same script that writes; told again, with the previous configuration or `undo`, when it is undone.",
      )
      .meta({
        "x-kubernetes-validations": [
          { rule: "has(self.channel) != has(self.stream)", message: "publish needs either channel or stream" },
        ],
      })
      .refine(
        ({ channel, stream }) => (channel === undefined) !== (stream === undefined),
        "needs either channel or stream",
      )
      .optional(),
  })
  .describe("Writes one key together with a record of what it replaced; undone exactly.")
  .meta({
    "x-kubernetes-validations": [
      { rule: "has(self.hash) != has(self.string)", message: "redis needs either hash or string" },
      { rule: "!has(self.versionField) || has(self.hash)", message: "versionField needs hash" },
    ],
  })
  .refine((it) => (it.hash === undefined) !== (it.string === undefined), "needs either hash or string")
  .refine((it) => it.versionField === undefined || it.hash !== undefined, "versionField needs hash")
  .refine(
    ({ hash, versionField }) => hash === undefined || versionField !== undefined || Object.keys(hash.fields).length > 0,
    "hash needs a field",
  )
  .refine(
    ({ hash, versionField }) => versionField === undefined || !Object.hasOwn(hash?.fields ?? {}, versionField),
    "versionField is one of the fields already",
  );
type Config = z.output<typeof config>;

type Inputs = {
  readonly key: string;
  readonly value: StoredValue;
  readonly ttl: number | null;
  readonly publish: Publication | null;
  readonly version: number;
};
type Call = StageCall<Inputs, "redis">;

export const redis = defineStage<Config, Inputs, "redis">({
  kind: "redis",
  effect: "write",
  needs: ["redis"],
  config,
  outputs: ["key", "version"],
  undoParts: ({ publish }) => [
    { part: "write", role: "write" },
    ...(publish === undefined ? [] : [{ part: "publish", role: "announce" } as const]),
  ],
  plan(context, about) {
    const { audience, fencing, refusesKey } = connect(context, about, "redis");
    const key = context.key(about.key, "key");
    const publish = publicationOf(context, about);
    for (const [where, name] of [
      ["key", key] as const,
      ["publish.stream", publish !== null && "stream" in publish ? publish.stream : null] as const,
    ]) {
      const rule = name === null ? null : refusesKey(name);
      if (rule !== null)
        context.issue(where, name ?? "", `endpoint ${about.endpoint} does not allow this key (${rule})`);
    }
    return {
      inputs: {
        key,
        value: valueOf(context, about),
        ttl: ttlOf(context, about),
        publish,
        version: context.planVersion,
      },
      conflicts: [`redis/${about.endpoint}/${key}`],
      endpoint: about.endpoint,
      // The undo goes where the write went.
      audience: context.direction === "Forward" ? audience.slice(0, 1) : [],
      fencing,
      canProbe: true,
      idempotent: false,
      preview: previewOf(about, { key, publish }, context),
    };
  },
  async run(call) {
    if (!call.alive()) return expired(call);
    const { ttl, publish } = call.inputs;
    const result = await call.ports.redis.write({ ...target(call), ttl: ttl === null ? null : millisOf(ttl), publish });
    return outcomeOf(result, outputsOf(call));
  },
  async undo(call) {
    if (!call.alive()) return expired(call);
    if (call.part === "publish") {
      const { publish } = call.inputs;
      return publish === null
        ? { is: "done", outputs: {} }
        : outcomeOf(await call.ports.redis.publish({ ...target(call), publish }), {});
    }
    const { undoes, onDrift } = call;
    return outcomeOf(await call.ports.redis.restore({ ...target(call), undoes, onDrift }), {});
  },
  async probe(call): Promise<Found> {
    const found = await call.ports.redis.whose(target(call));
    return found.is === "in-force" ? { is: "in-force", outputs: outputsOf(call) } : found;
  },
});

const outputsOf = ({ inputs: { key, version } }: Call): Outputs => ({ key, version });

const expired = (call: Call): Outcome => ({
  is: "retryable",
  fault: fault("ClaimExpired", { stage: call.stage }),
  after: null,
});

function ttlOf(context: PlanContext, { ttl }: Config): number | null {
  if (ttl === undefined) return null;
  const parsed = durationOf(context, ttl, "ttl");
  if (parsed === 0) context.issue("ttl", ttl, "must be at least 1ms");
  return parsed;
}

/** What was written forward, also while undoing: the record is compared with it. */
function valueOf(context: PlanContext, about: Config): StoredValue {
  if (about.string !== undefined)
    return { kind: "string", value: asText(context.forward(about.string.value, "string.value")) };
  const fields = Object.entries(about.hash?.fields ?? {}).map(
    ([name, value]) => [name, asText(context.forward(value, `hash.fields.${name}`))] as const,
  );
  const version =
    about.versionField === undefined
      ? []
      : [[about.versionField, asText(context.forward("${plan.version}", "versionField"))] as const];
  return { kind: "hash", fields: Object.fromEntries([...fields, ...version]) };
}

function publicationOf(context: PlanContext, { publish }: Config): Publication | null {
  if (publish === undefined) return null;
  const back = context.direction === "Back";
  // A first placement has nobody to announce: validation demanded `undo` then.
  if (back && context.placement === null && publish.undo === undefined) return null;
  const own = back ? publish.undo : undefined;
  const where = own === undefined ? "publish.payload" : "publish.undo";
  const told = context.content(own ?? publish.payload, where);
  if (publish.channel !== undefined)
    return {
      channel: context.key(publish.channel, "publish.channel"),
      payload: typeof told === "string" ? told : JSON.stringify(told),
    };
  const entry = entryOf(told);
  const fields = Object.keys(entry).length;
  if (fields < 1 || fields > MOST_FIELDS)
    context.issue(where, String(fields), `a stream entry has 1 to ${MOST_FIELDS} fields`);
  return { stream: context.key(publish.stream ?? "", "publish.stream"), entry };
}

/** A stream entry is flat: each field of an object, anything else as `payload`. */
function entryOf(told: Json): Readonly<Record<string, string>> {
  const flat = typeof told === "object" && told !== null && !Array.isArray(told);
  return flat
    ? Object.fromEntries(Object.entries(told).map(([name, value]) => [name, asText(value)]))
    : { payload: asText(told) };
}

const asText = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

function target(call: Call): FencedKey {
  const { endpoint, tenant, stage, fence, base, opId, signal } = call;
  const { key, value } = call.inputs;
  const subject = `${call.namespace}/${call.task.name}`;
  return {
    endpoint,
    key,
    tenant,
    uid: call.task.uid,
    stage,
    fence,
    base,
    opId,
    value,
    timeout: call.instanceTimeout,
    signal,
    subject,
  };
}

function outcomeOf(result: StoreResult, outputs: Readonly<Record<string, Json>>): Outcome {
  switch (result.is) {
    case "done":
      return {
        is: "done",
        outputs,
        ...(result.kept.length === 0 ? {} : { drift: driftOf(result.kept, result.digests) }),
      };
    case "drift":
      return { is: "terminal", fault: result.fault, drift: driftOf(result.keys, result.digests) };
    case "retryable":
      return { is: "retryable", fault: result.fault, after: null };
    default:
      return { is: result.is, fault: result.fault };
  }
}

const driftOf = (keys: readonly string[], digests: Drift["digests"]): Drift => ({ keys: keys.slice(0, 16), digests });

function previewOf(
  { endpoint, hash, ttl, versionField }: Config,
  { key, publish }: Pick<Inputs, "key" | "publish">,
  { direction }: PlanContext,
): string {
  const tells =
    publish === null ? "" : "channel" in publish ? `, PUBLISH to ${publish.channel}` : `, XADD to ${publish.stream}`;
  if (direction === "Back") return `put ${key} of ${endpoint} back${tells}`;
  const fields = Object.keys(hash?.fields ?? {}).length + (versionField === undefined ? 0 : 1);
  const what = hash === undefined ? "SET" : `HSET ${fields} field${fields === 1 ? "" : "s"} of`;
  const expires = ttl === undefined ? "" : ` for ${formatDuration(parseDuration(ttl) ?? millisOf(0))}`;
  return `${what} ${key} on ${endpoint}${expires}${tells}`;
}
