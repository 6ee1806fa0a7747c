// stages: one file per kind, each saying what it plans, runs, undoes and how it asks what is in force. Kinds import this file only;
// servers are reached through ports that come in with the call. No policy: when something runs is decided in domain/.

import { z } from "zod";
import { formatAddress, parseHost } from "../lib/address.ts";
import { fault, type Fault } from "../lib/failures.ts";
import type { Fence } from "../lib/fence.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { type Millis, parseDuration } from "../lib/time.ts";
import type { Effect, EndpointFacts, PlanContext, Planned, StagePlanner, UndoPart } from "../domain/plan.ts";
import type { Approval, Direction, StageSpec } from "../domain/stored.ts";
import type { Found, Outcome, Reach } from "../domain/task.ts";
import type { HttpPort } from "../infra/egress/http.ts";
import type { FencedStore } from "../infra/cache/fenced.ts";

/** What stages reach the world through. A kind gets exactly those that it `needs`. */
export interface Ports {
  readonly http: HttpPort;
  readonly redis: FencedStore;
}
export type PortName = keyof Ports;

/** One attempt, as a kind sees it. Everything a receiver is told about who asks stands here. */
export interface StageCall<Inputs, Needs extends PortName = PortName> {
  readonly inputs: Inputs;
  readonly ports: Pick<Ports, Needs>;
  readonly namespace: string;
  readonly tenantId: string;
  /** `namespace/tenantId`: the tenant's identity in every receiver and record. */
  readonly tenant: string;
  readonly task: { readonly name: string; readonly uid: string };
  readonly stage: string;
  readonly direction: Direction;
  readonly part: string | null;
  readonly fence: Fence;
  readonly base: Fence;
  readonly opId: string;
  /** While undoing: the opId of what is undone, and whether it ever settled. */
  readonly undoes: { readonly opId: string; readonly settled: boolean };
  readonly endpoint: string;
  /** `name|host:port` of those that have not acknowledged yet. */
  readonly addresses: readonly string[];
  readonly instanceTimeout: Millis;
  readonly onDrift: StageSpec["onDrift"];
  /** Gates: counted time before and under this claim. */
  readonly ran: Millis;
  /** Counted age of the stage. */
  readonly age: Millis;
  readonly approvals: Readonly<Record<string, Approval>>;
  readonly requestedBy: string | null;
  readonly policiesMissing: boolean;
  readonly digest: string;
  /** What the kind gave back with its last `waiting`; null at first and after a restart. */
  readonly memo: Json;
  /** Ends with the attempt; for reads and gates also with pause, rollback and cancel. */
  readonly signal: AbortSignal;
  /** Whether the claim still lives by both clocks. Asked immediately before every send. */
  alive(): boolean;
}

interface StageDefinition<Config, Inputs, Needs extends PortName> {
  /** Registry key, field name in the spec, and file name. */
  readonly kind: string;
  readonly effect: Effect | ((config: Config) => Effect);
  readonly needs: readonly Needs[];
  readonly config: z.ZodType<Config>;
  /** What later stages may read as `${stages.NAME.outputs.KEY}`. */
  readonly outputs?: readonly string[];
  /** Default: one part of the same role for writes and announces, none for reads and gates. */
  undoParts?(config: Config): readonly UndoPart[];
  /** Rendered, validated inputs; what collides; what a dry run shows. Problems go to `context.issue`. */
  plan(context: PlanContext, config: Config): Omit<Planned, "inputs"> & { readonly inputs: Inputs };
  /** Carries the fence; safe to repeat under the same opId; never re-sends by itself. */
  run(call: StageCall<Inputs, Needs>): Promise<Outcome>;
  /** Safe to repeat, also where nothing was done; always writes the fence (S8). Absent for reads and gates. */
  undo?(call: StageCall<Inputs, Needs>): Promise<Outcome>;
  /** What is in force; never changes anything. Absent where the kind cannot ask. */
  probe?(call: StageCall<Inputs, Needs>): Promise<Found>;
}

/** A kind with its types erased: what the registry, the planner and `act` work with. */
export interface StageKind extends StagePlanner {
  readonly config: z.ZodType;
  readonly needs: readonly PortName[];
  run(call: StageCall<Json>): Promise<Outcome>;
  undo(call: StageCall<Json>): Promise<Outcome>;
  probe(call: StageCall<Json>): Promise<Found>;
}

/** Checks a kind's types against each other and erases them. Configs are decoded once per object. */
export function defineStage<Config, Inputs extends Json, Needs extends PortName>(
  definition: StageDefinition<Config, Inputs, Needs>,
): StageKind {
  const decoded = new WeakMap<JsonObject, Config>();
  const typed = (config: JsonObject): Config => {
    const known = decoded.get(config);
    if (known !== undefined) return known;
    const fresh = definition.config.parse(config);
    decoded.set(config, fresh);
    return fresh;
  };
  const effect = (config: JsonObject): Effect =>
    typeof definition.effect === "function" ? definition.effect(typed(config)) : definition.effect;
  return {
    kind: definition.kind,
    config: definition.config,
    needs: definition.needs,
    outputs: definition.outputs ?? [],
    effect,
    undoParts: (config) => definition.undoParts?.(typed(config)) ?? ownPart(effect(config)),
    plan: (context) => definition.plan(context, typed(context.config)),
    // The planner made `inputs` with this very definition, and `act` hands over every port: only here is that known.
    run: (call) => definition.run(call as never),
    undo: (call) => definition.undo?.(call as never) ?? Promise.resolve(nothingToUndo),
    probe: (call) => definition.probe?.(call as never) ?? Promise.resolve(cannotAsk(call.stage)),
  };
}

function ownPart(effect: Effect): readonly UndoPart[] {
  return effect === "write" || effect === "announce" ? [{ part: effect, role: effect }] : [];
}

const nothingToUndo: Outcome = { is: "done", outputs: {} };
const cannotAsk = (stage: string): Found => ({ is: "unreadable", fault: fault("OutcomeUnknown", { stage }) });

/** `name|host:port` → `host:port`. */
export const addressOf = (instance: string): string => instance.slice(instance.indexOf("|") + 1);

/** How one instance of a fan-out answered. */
export type Verdict =
  | { readonly is: "acked" }
  | { readonly is: "retryable"; readonly fault: Fault; readonly after: Millis | null }
  | { readonly is: "terminal" | "unknown" | "fenced" | "diverged"; readonly fault: Fault };

/** Doubt outranks refusal: an instance that nobody knows about must be asked before the stage may be called failed (S26). */
const ORDER = ["diverged", "fenced", "unknown", "terminal", "retryable"] as const;

/** The outcome of a fan-out. `reach` names who acknowledged and who did not, so that only the others are tried again. */
export function together(verdicts: readonly (readonly [instance: string, verdict: Verdict])[]): Outcome | null {
  const reach: Reach = {
    acked: verdicts.flatMap(([instance, verdict]) => (verdict.is === "acked" ? [instance] : [])),
    failures: verdicts.flatMap(([address, verdict]) =>
      verdict.is === "acked" ? [] : [{ address, code: verdict.fault.code }],
    ),
  };
  for (const is of ORDER) {
    const found = verdicts.find(([, verdict]) => verdict.is === is)?.[1];
    if (found === undefined || found.is === "acked") continue;
    if (found.is === "retryable") return { ...found, after: longest(verdicts), reach };
    if (found.is === "fenced" || found.is === "diverged") return found;
    return { ...found, reach };
  }
  return null;
}

function longest(verdicts: readonly (readonly [string, Verdict])[]): Millis | null {
  const waits = verdicts.flatMap(([, verdict]) =>
    verdict.is === "retryable" && verdict.after !== null ? [verdict.after] : [],
  );
  return waits.length === 0 ? null : waits.reduce((a, b) => (a > b ? a : b));
}

/** At most `width` of `items` are under way at once; results in the order of `items`. */
export async function fanOut<T, R>(
  items: readonly T[],
  width: number,
  each: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [i, item] of queue) results[i] = await each(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}

/** How many instances of one stage are called at once (stages.md, Retries and classes). */
export const FAN_OUT = 16;

export const endpointName = z
  .string()
  .min(1)
  .max(63)
  .describe("Named endpoint of the operator's settings: the policy of every byte sent.");

export const durationField = (about: string): z.ZodString =>
  z
    .string()
    .max(32)
    .regex(/^([0-9]{1,9}(ms|s|m|h|d))+$/, "must be a duration such as 300ms, 90s, 5m or 1h30m")
    .describe(about);

/** A map that the API server bounds, and the decoder again (SEC-16). */
export const mapOf = <V extends z.ZodType>(
  names: z.ZodString,
  values: V,
  { most, about }: { readonly most: number; readonly about: string },
): z.ZodRecord<z.ZodString, V> =>
  z
    .record(names, values)
    .describe(about)
    .meta({ maxProperties: most })
    .refine((map) => Object.keys(map).length <= most, `has more than ${most} entries`);

/** A duration of a stage, or null with an issue where it is longer than any wait may be. */
export function durationOf(context: PlanContext, text: string, where: string): Millis | null {
  const parsed = parseDuration(text);
  if (parsed === null) context.issue(where, text, "must be a duration of at most 366 days");
  return parsed;
}

/** Whom a stage calls instead of the endpoint's own addresses. */
export const destination = z
  .strictObject({
    key: z.string().min(1).max(63).describe("The tenant's endpoints with this key."),
    select: z
      .enum(["All", "Any", "RoundRobin"])
      .describe("All of them (default), any one that answers, or one chosen by the operation.")
      .optional(),
  })
  .describe("Take the addresses from the tenant's own endpoints; they must lie within the endpoint's policy.");
export type Destination = z.output<typeof destination>;

interface Connects {
  readonly endpoint: string;
  readonly to?: Destination | undefined;
}

/** The endpoint and everyone who would be called, all within the endpoint's policy; problems go to `context.issue`. */
export function connect(
  context: PlanContext,
  { endpoint: name, to }: Connects,
  protocol: string,
): EndpointFacts & { readonly audience: readonly string[] } {
  const endpoint = context.endpoint(name);
  const usable =
    endpoint !== null && endpoint.protocol === protocol && endpoint.allowedNamespaces.includes(context.namespace);
  if (!usable) {
    // One text for unknown and forbidden: a refusal must not tell what exists (SEC-26).
    context.issue("endpoint", name, `is not an endpoint for ${protocol} that this namespace may use`);
    return NOWHERE;
  }
  if (to === undefined) return { ...endpoint, audience: inOrder(context, endpoint) };
  const chosen = (context.placement?.endpoints ?? []).filter(({ key }) => key === to.key);
  for (const { host, port } of chosen) {
    const rule = endpoint.refusesAddress(host, port);
    if (rule !== null) context.issue("to", to.key, `endpoint ${name} does not allow this destination (${rule})`);
  }
  if (chosen.length === 0 && context.placement !== null) {
    context.issue(
      "to.key",
      to.key,
      `no instance to call: ${context.direction === "Forward" ? "target" : "previous"}.endpoints has none with key ${to.key}`,
    );
  }
  // An instance that is listed twice is called once.
  const audience = new Set(chosen.map(({ key, host, port }) => `${key}|${hostPort(host, port)}`));
  return { ...endpoint, audience: [...audience] };
}

function inOrder(context: PlanContext, endpoint: EndpointFacts): readonly string[] {
  if (endpoint.addresses.length === 0)
    context.issue(
      "endpoint",
      endpoint.name,
      "no instance to call: the endpoint has no addresses and the stage no `to`",
    );
  return [...new Set(endpoint.addresses.map((address) => `${endpoint.name}|${address}`))];
}

const hostPort = (host: string, port: number): string => {
  const parsed = parseHost(host);
  return parsed === null ? `${host}:${port}` : formatAddress({ host: parsed, port });
};

const NOWHERE = {
  name: "",
  protocol: "",
  addresses: [],
  fencing: "Token",
  allowedNamespaces: [],
  refusesAddress: () => null,
  refusesRequest: () => null,
  refusesKey: () => null,
  audience: [],
} as const;
