import { specDecoder } from "../../src/api/decode-task.ts";
import { type Basis, type Planned, type PlannedStage, planStage } from "../../src/domain/plan.ts";
import type { Direction, Issue, Outputs, Previous, TaskSpec } from "../../src/domain/stored.ts";
import type { EndpointSettings } from "../../src/infra/config/endpoint-settings.ts";
import { type PlanFacts, planFacts } from "../../src/infra/egress/plan-facts.ts";
import type { Json } from "../../src/lib/json.ts";
import { seconds } from "../../src/lib/time.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { httpEndpoint, redisEndpoint } from "./egress/rig.ts";

/** The decoder that the operator uses, over every registered kind. */
export const decodeSpec = specDecoder(
  Object.fromEntries(Object.entries(STAGES).map(([kind, { config }]) => [kind, config])),
);

export const GREEN = {
  deployUnit: { id: 2, name: "green", version: 7 },
  endpoints: [{ key: "im-gateway", host: "10.0.3.7", port: 8080 }],
  parameters: { trunkGroup: "tg-2" },
};
export const BLUE = {
  deployUnit: { id: 1, name: "blue", version: 6 },
  endpoints: [{ key: "im-gateway", host: "10.0.2.7", port: 8080 }],
  parameters: { trunkGroup: "tg-1" },
  planVersion: 41,
};

export interface SpecAbout {
  readonly stages: readonly object[];
  readonly tenantId?: string;
  readonly target?: object;
  /** null: nobody knows where the tenant is. */
  readonly previous?: object | null;
  readonly planVersion?: number;
}

/** A task from blue (41) to green (42). @throws Error with the first issue where it does not decode. */
export function aSpec(about: SpecAbout): TaskSpec {
  const { spec, issues } = decodeSpec(rawSpec(about));
  if (spec === null) throw new Error(`${issues[0]?.path} ${issues[0]?.message}`);
  return spec;
}

export function rawSpec({
  stages,
  tenantId = "acme",
  target = GREEN,
  previous = BLUE,
  planVersion = 42,
}: SpecAbout): object {
  return {
    tenantId,
    plan: { id: 17, version: planVersion },
    target,
    ...(previous === null ? {} : { previous }),
    stages,
  };
}

const CEILING = { cidrs: ["10.0.0.0/8", "127.0.0.0/8", "203.0.113.0/24"], ports: [80, 443, 6379, 8080, 8081] };

/** Named endpoints as plans see them. */
export const factsOf = (
  endpoints: readonly EndpointSettings[],
  ceiling: { readonly cidrs: readonly string[]; readonly ports: readonly number[] } = CEILING,
): Readonly<Record<string, PlanFacts>> =>
  Object.fromEntries(endpoints.map((endpoint) => [endpoint.name, planFacts(endpoint, ceiling)]));

/** `gateway` and `legacy` (no fences) speak HTTP, `routing` is a Redis, `theirs` belongs to another namespace. */
export const ENDPOINTS: readonly EndpointSettings[] = [
  httpEndpoint({
    addresses: ["10.0.2.7:8080", "10.0.3.7:8080"],
    cidrs: ["10.0.0.0/16"],
    ports: [8080],
    allow: { methods: ["GET", "PUT"], paths: ["/turnout/v1/tenants/"] },
  }),
  httpEndpoint({ name: "open", addresses: ["10.0.3.7:8080"], cidrs: ["10.0.0.0/16"], ports: [8080] }),
  httpEndpoint({ name: "legacy", addresses: ["10.0.3.7:8080"], cidrs: ["10.0.0.0/16"], fencing: "None" }),
  httpEndpoint({ name: "nowhere", cidrs: ["10.0.0.0/16"] }),
  httpEndpoint({ name: "theirs", addresses: ["10.0.3.7:8080"], allowedNamespaces: ["other"] }),
  redisEndpoint({
    addresses: ["10.0.9.1:6379", "10.0.9.2:6379"],
    cidrs: ["10.0.0.0/16"],
    allow: { keys: ["tenant:"] },
  }),
];

export interface PlanAbout extends Omit<SpecAbout, "stages"> {
  readonly direction?: Direction;
  readonly endpoints?: Readonly<Record<string, PlanFacts>>;
  /** Stages before the one that is planned. */
  readonly before?: readonly object[];
  readonly outputs?: Readonly<Record<string, Outputs>>;
  readonly opId?: string | null;
  readonly now?: string | null;
  readonly namespace?: string;
}

/** Plans one stage of a task, as the operator does at validation; with `opId` and `now` as at its claim. */
export function planOf(stage: object, about: PlanAbout = {}): PlannedStage {
  const { before = [], direction = "Forward", outputs, opId = null, now = null, namespace = "prod" } = about;
  const spec = aSpec({ ...about, stages: [...before, { name: "it", ...stage }] });
  const basis: Basis = {
    namespace,
    spec,
    previous: previousOf(spec),
    settings: {
      endpoints: about.endpoints ?? factsOf(ENDPOINTS),
      defaults: {
        timeout: seconds(300),
        attemptTimeout: seconds(15),
        instanceTimeout: seconds(3),
        retry: { maxAttempts: 3, backoff: { initial: seconds(1), factor: 2, max: seconds(30) } },
      },
    },
    kinds: STAGES,
    outputs: outputs === undefined ? () => "later" : (name) => outputs[name] ?? {},
    opId,
    now,
  };
  return planStage(basis, before.length, direction);
}

const previousOf = ({ previous }: TaskSpec): Previous | null => previous;

/** The plan of a stage that must be right. @throws Error with its issues. */
export function mustPlan(
  stage: object,
  about: PlanAbout = {},
): Planned & { readonly inputs: Readonly<Record<string, Json>> } {
  const { planned, issues } = planOf(stage, about);
  if (planned === null) throw new Error(said(issues).join("\n"));
  return { ...planned, inputs: planned.inputs as Readonly<Record<string, Json>> };
}

/** What speaks against a stage: `path value: message`, the path from the stage on. */
export const refusals = (stage: object, about: PlanAbout = {}): readonly string[] => said(planOf(stage, about).issues);

const said = (issues: readonly Issue[]): readonly string[] =>
  issues.map(({ path, value, message }) => `${path.replace(/^spec\.stages\[\d+\]\./, "")} ${value}: ${message}`);

/** What the decoder says against a stage, the path from the stage on. */
export function undecodable(stage: object): readonly string[] {
  const { issues } = decodeSpec(rawSpec({ stages: [{ name: "it", ...stage }] }));
  return issues.map(({ path, message }) => `${path.replace(/^spec\.stages\[0\]\.?/, "")}: ${message}`);
}
