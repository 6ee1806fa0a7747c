// sweep: the built operator is killed, held and cut off at every write it makes, on real servers; what it leaves behind is judged
// by test/history. Which pipelines, where and how lives here; servers, proxy and recorder are test/support's.

export type Way = "forward" | "back";

export interface Pipeline {
  readonly name: string;
  /** `way` back ends with a gate, so that a rollback can be asked for once everything else has settled. */
  stages(way: Way): readonly unknown[];
  /** What stands in Redis before: key → hash or string. */
  readonly redis: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

const TO = { endpoint: "im-gateway", to: { key: "im-gateway", select: "All" } };

const ROUTE = {
  name: "route",
  redis: {
    endpoint: "routing",
    key: "${namespace}:route",
    hash: { fields: { unit: "${target.deployUnit.name}", trunk: "${target.parameters.trunkGroup}" } },
    versionField: "version",
    publish: { channel: "${namespace}:moves", payload: { version: "${plan.version}" } },
  },
};
/** A write over HTTP, to a service of its own. */
const LEDGER = { name: "ledger", http: { endpoint: "ledger", effect: "Write" } };
const NOTIFY = { name: "notify", http: TO };
const SESSION = {
  name: "session",
  redis: {
    endpoint: "routing",
    key: "${namespace}:session",
    string: { value: "${target.deployUnit.name}" },
    ttl: "1h",
  },
};
const CHECK = { name: "check", verify: { ...TO, interval: "100ms", rounds: 20 } };
const GATE = { name: "gate", approval: {} };

const gated = (stages: readonly unknown[], way: Way): readonly unknown[] =>
  way === "back" ? [...stages, GATE] : stages;

export const PIPELINES: Readonly<Record<string, Pipeline>> = {
  /** Every way to write and to announce that there is, in two segments. */
  "five-stages": {
    name: "five-stages",
    stages: (way) => gated([ROUTE, LEDGER, NOTIFY, CHECK, SESSION], way),
    redis: { route: { unit: "blue", trunk: "tg-1", version: "41", owner: "ops" }, session: "blue" },
  },
  /** Nothing stood there before; one write and one announce. */
  "two-stages": {
    name: "two-stages",
    stages: (way) => gated([ROUTE, NOTIFY], way),
    redis: {},
  },
};
