import type { Json, JsonObject } from "../../src/lib/json.ts";
import type { EndpointFacts, PlanContext, Planned, PlanSettings, StagePlanner } from "../../src/domain/plan.ts";
import type { EffectiveDefaults } from "../../src/domain/stored.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";

/** What a stage of these kinds may say. Everything is optional: a row of a table names only what it is about. */
export interface TestConfig {
  readonly endpoint?: string;
  /** Key of a store; may hold variables. */
  readonly key?: string;
  /** What is written or told. */
  readonly content?: Json;
  /** Of an announce: what is told while undoing. */
  readonly undo?: Json;
  /** Key of the tenant's endpoints that are called; left out, the endpoint's own addresses. */
  readonly to?: string;
  readonly duration?: number;
}

const text = (config: JsonObject, field: keyof TestConfig, otherwise: string): string =>
  typeof config[field] === "string" ? config[field] : otherwise;

const NOTHING: Omit<Planned, "inputs" | "preview"> = {
  conflicts: [],
  endpoint: null,
  audience: [],
  fencing: "Token",
  canProbe: false,
  idempotent: true,
};

function endpointOf(context: PlanContext, otherwise: string): EndpointFacts | null {
  const name = text(context.config, "endpoint", otherwise);
  const facts = context.endpoint(name);
  if (facts === null) context.issue("endpoint", name, "is not an endpoint that this namespace may use");
  return facts;
}

function audienceOf(context: PlanContext, facts: EndpointFacts | null): readonly string[] {
  const { to } = context.config;
  if (typeof to !== "string") return (facts?.addresses ?? []).map((address) => `${facts?.name}|${address}`);
  const chosen = (context.placement?.endpoints ?? []).filter(({ key }) => key === to);
  if (chosen.length === 0 && context.placement !== null) context.issue("to", to, "no instance to call");
  return chosen.map(({ key, host, port }) => `${key}|${host}:${port}`);
}

const VERSION = { version: "${plan.version}" };

/** A store with a record beside the data; `duo` also tells a channel. */
function store(kind: string, tells: boolean): StagePlanner {
  return {
    kind,
    effect: () => "write",
    undoParts: () => [
      { part: "write", role: "write" },
      ...(tells ? [{ part: "publish", role: "announce" } as const] : []),
    ],
    outputs: ["key", "version"],
    plan(context) {
      const facts = endpointOf(context, "store");
      const key = context.key(text(context.config, "key", "t:${namespace}/${tenantId}"), "key");
      const content = context.config["content"] ?? VERSION;
      return {
        ...NOTHING,
        inputs: { key, value: context.forward(content, "content"), told: told(context, tells) },
        conflicts: [`${kind}/${facts?.name ?? ""}/${key}`],
        endpoint: facts?.name ?? null,
        audience: context.direction === "Forward" ? [`store|${key}`] : [],
        fencing: facts?.fencing ?? "Token",
        canProbe: true,
        idempotent: false,
        preview: `${context.direction === "Forward" ? "put" : "put back"} ${key}`,
      };
    },
  };
}

function told(context: PlanContext, tells: boolean): Json {
  if (!tells) return null;
  const own = context.direction === "Back" ? context.config["undo"] : undefined;
  return context.direction === "Back" && context.placement === null && own === undefined
    ? null
    : context.content(own ?? VERSION, "undo");
}

/** An announce. `ask` and `again` say what may follow an outcome that nobody knows. */
function announce(kind: string, about: { readonly ask: boolean; readonly again: boolean }): StagePlanner {
  return {
    kind,
    effect: () => "announce",
    undoParts: () => [{ part: "announce", role: "announce" }],
    outputs: ["instances"],
    plan(context) {
      const facts = endpointOf(context, "receivers");
      const own = context.direction === "Back" ? context.config["undo"] : undefined;
      const content = context.content(own ?? context.config["content"] ?? VERSION, "content");
      const audience = audienceOf(context, facts);
      return {
        ...NOTHING,
        inputs: { value: content },
        endpoint: facts?.name ?? null,
        audience,
        fencing: facts?.fencing ?? "Token",
        canProbe: about.ask,
        idempotent: about.again,
        preview: `tell ${audience.length}`,
      };
    },
  };
}

const look: StagePlanner = {
  kind: "look",
  effect: () => "read",
  undoParts: () => [{ part: "verify", role: "verify" }],
  outputs: ["version"],
  plan(context) {
    const facts = endpointOf(context, "receivers");
    return {
      ...NOTHING,
      inputs: { version: context.planVersion },
      endpoint: facts?.name ?? null,
      audience: audienceOf(context, facts),
      fencing: facts?.fencing ?? "Token",
      preview: `ask for ${context.planVersion}`,
    };
  },
};

function gate(kind: string): StagePlanner {
  return {
    kind,
    effect: () => "gate",
    undoParts: () => [],
    outputs: [],
    plan: ({ config }) => ({
      ...NOTHING,
      inputs: { duration: typeof config["duration"] === "number" ? config["duration"] : 0 },
      preview: kind,
    }),
  };
}

/**
 * Kinds without servers, one of each nature: `write` (may be asked), `duo` (write that also publishes), `tell` (announce that may be
 * asked), `repeat` (announce that may be sent again), `once` (announce that can neither), `look` (read), `wait` and `approval` (gates).
 */
export const KINDS = {
  write: store("write", false),
  duo: store("duo", true),
  tell: announce("tell", { ask: true, again: false }),
  repeat: announce("repeat", { ask: false, again: true }),
  once: announce("once", { ask: false, again: false }),
  look,
  wait: gate("wait"),
  approval: gate("approval"),
} as const satisfies Readonly<Record<string, StagePlanner>>;
export type KindName = keyof typeof KINDS;

const endpoint = (name: string, fencing: "Token" | "None", addresses: readonly string[]): EndpointFacts => ({
  name,
  protocol: "test",
  addresses,
  fencing,
  allowedNamespaces: ["prod"],
  refusesAddress: () => null,
  refusesRequest: () => null,
  refusesKey: () => null,
});

export const DEFAULTS: EffectiveDefaults = {
  timeout: seconds(300),
  attemptTimeout: seconds(15),
  instanceTimeout: seconds(3),
  retry: { maxAttempts: 3, backoff: { initial: seconds(1), factor: 2, max: seconds(30) } },
};

/** `store` and `receivers` check fences, `legacy` does not. */
export const SETTINGS: PlanSettings = {
  endpoints: {
    store: endpoint("store", "Token", ["10.0.0.1:6379"]),
    receivers: endpoint("receivers", "Token", ["10.0.1.1:80", "10.0.1.2:80"]),
    legacy: endpoint("legacy", "None", ["10.0.2.1:80"]),
  },
  defaults: DEFAULTS,
};

export const NO_TIME = millisOf(0);
