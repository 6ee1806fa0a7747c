import { at } from "../../src/lib/json-pointer.ts";
import { decodeJson, type Json } from "../../src/lib/json.ts";
import { type Answering, type Came, openAnswering, type Reply } from "./stage-rig-answers.ts";

/** What a service that knows nothing of fences serves for one tenant. */
export interface LegacyState {
  readonly unit: Json;
  readonly version: Json;
  /** Whoever asked last. */
  readonly opId: string;
}

/**
 * A service from before fences: `POST /apply` makes it serve a tenant so, every time anew and whoever asks; `GET /state/TENANT` says
 * what it serves. What is sent twice is applied twice.
 */
export interface LegacyReceiver extends Answering {
  /** Every effect in order: `TENANT UNIT VERSION`. */
  readonly applied: readonly string[];
  state(tenant: string): LegacyState | null;
  /** The next `POST /apply` is answered like this, after its effect. */
  answerNext(reply: Reply): void;
  /** From now on `GET /state/…` is answered like this; null: with the truth. */
  answerState(reply: Reply | null): void;
}

export async function openLegacyReceiver(): Promise<LegacyReceiver> {
  const states = new Map<string, LegacyState>();
  const applied: string[] = [];
  const next: Reply[] = [];
  let stateReply: Reply | null = null;
  const apply = ({ body, headers }: Came): Reply => {
    const decoded = decodeJson(body, { depth: 8, keys: 64 });
    const order: Json = decoded.ok ? decoded.value : null;
    const [tenant, unit = null, version = null] = ["/tenant", "/unit", "/version"].map((pointer) => at(order, pointer));
    if (typeof tenant !== "string") return { status: 400, json: { error: "tenant" } };
    states.set(tenant, { unit, version, opId: String(headers["idempotency-key"]) });
    applied.push([tenant, unit, version].map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(" "));
    return next.shift() ?? { status: 200, json: { code: 0, data: { failList: [] } } };
  };
  const look = (tenant: string): Reply => {
    const state = states.get(tenant);
    return state === undefined ? { status: 404, json: { error: "unknown" } } : { status: 200, json: { ...state } };
  };
  const server = await openAnswering((came) => {
    if (came.method === "POST" && came.path === "/apply") return apply(came);
    if (came.method === "GET" && came.path.startsWith("/state/"))
      return stateReply ?? look(came.path.slice("/state/".length));
    return { status: 404, json: { error: "path" } };
  });
  return {
    port: server.port,
    came: server.came,
    get atOnce() {
      return server.atOnce;
    },
    applied,
    state: (tenant) => states.get(tenant) ?? null,
    answerNext: (reply) => void next.push(reply),
    answerState: (reply) => {
      stateReply = reply;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
