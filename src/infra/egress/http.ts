import { formatAddress, parseAddress } from "../../lib/address.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { fault, type Fault } from "../../lib/failures.ts";
import type { Json } from "../../lib/json.ts";
import type { Boundary, Clock, Point } from "../../lib/seams.ts";
import { formatDuration, type Millis } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { HttpEndpoint } from "../config/endpoint-settings.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Guard } from "./connect.ts";
import type { Endpoints, Material, OpenEndpoint } from "./endpoints.ts";
import { type Answer, readAnswer } from "./http-answer.ts";
import { LanePool } from "./http-lanes.ts";
import { requestRefusal } from "./request-rules.ts";

/** The four fields that tell a receiver whose operation this is; the port alone writes them. */
export interface Stamp {
  /** `namespace/tenantId`. */
  readonly tenant: string;
  readonly fence: string;
  readonly base: string;
  readonly opId: string;
}

export interface HttpCall {
  readonly endpoint: string;
  /** Of the task: whose policy and whose sockets. */
  readonly namespace: string;
  /** `host:port` of the instance. */
  readonly address: string;
  readonly method: string;
  /** Path and query as they will be sent: rendered, values percent-encoded. */
  readonly path: string;
  /** What the specification adds; framing, identity and our own fields are refused (SEC-24). */
  readonly headers: Readonly<Record<string, string>>;
  readonly stamp?: Stamp;
  readonly body?: Json;
  /** From the call to the last byte of the answer, waits for a connection included. */
  readonly timeout: Millis;
  /** Null for what changes nothing. */
  readonly point: Point | null;
}

/**
 * `answer`: the other side said something, also 401, 3xx, 5xx. `notSent`: it definitely received nothing. `lost`: it was sent
 * something and nobody knows more.
 */
export type HttpResult =
  Answer | { readonly kind: "notSent"; readonly fault: Fault } | { readonly kind: "lost"; readonly fault: Fault };

export interface HttpPort {
  /** One exchange, never a second one: no retry, no redirect. Resolves within `timeout` whatever the other side does. */
  send(call: HttpCall, signal: AbortSignal): Promise<HttpResult>;
  /** Why `send` would refuse the call without asking anybody; null where it would not. For plans. */
  refusal(call: Omit<HttpCall, "timeout" | "point">): Fault | null;
  close(): Promise<void>;
}

export interface OpenedHttp extends HttpPort {
  /** Connections that one namespace may hold to one address, from now on. */
  limit(sockets: number): void;
}

export interface HttpDeps {
  readonly endpoints: Endpoints;
  readonly guard: Guard;
  readonly clock: Clock;
  readonly boundary: Boundary;
  /** Connections that one namespace may hold to one address, until another number is set. */
  readonly sockets: number;
  readonly metrics?: Metrics;
  readonly log?: Log;
}

/** SEC-41. */
export const LARGEST_REQUEST = 256 * 1024;
const LARGEST_HEADER = 16 * 1024;
/** Guard 6 allows 30 s; below the 60 s after which a changed credential must be in use. */
const IDLE_MS = 15_000;
const MOST_POOLS = 4096;

interface Checked {
  readonly endpoint: OpenEndpoint<"http">;
  readonly body: string | null;
}

/** HTTP/1.1 to named endpoints through the guard. Credentials are added here and seen by nobody else. */
export function openHttp(deps: HttpDeps): OpenedHttp {
  const pools = new Pools(deps);
  const check = (call: Omit<HttpCall, "timeout" | "point">): Checked | Fault => {
    const found = deps.endpoints.find(call.endpoint, call.namespace, "http");
    if (!found.ok) return found.fault;
    const rule = parseAddress(call.address) === null ? "form" : requestRefusal(call, found.value.settings);
    if (rule !== null) return deps.guard.refuse(call.endpoint, rule);
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    const bytes = body === null ? 0 : Buffer.byteLength(body);
    if (bytes <= LARGEST_REQUEST) return { endpoint: found.value, body };
    return fault("RequestTooLarge", { endpoint: call.endpoint, bytes: String(bytes), limit: String(LARGEST_REQUEST) });
  };
  return {
    refusal: (call) => {
      const checked = check(call);
      return "code" in checked ? checked : null;
    },
    send: async (call, signal) => {
      const result = await sendOnce(call, signal, { deps, pools, check });
      if (result.kind !== "answer") deps.metrics?.failed("egress", result.fault);
      return result;
    },
    limit: (sockets) => pools.limit(sockets),
    close: async () => pools.close(),
  };
}

interface Sending {
  readonly deps: HttpDeps;
  readonly pools: Pools;
  readonly check: (call: HttpCall) => Checked | Fault;
}

async function sendOnce(call: HttpCall, signal: AbortSignal, { deps, pools, check }: Sending): Promise<HttpResult> {
  const checked = check(call);
  if ("code" in checked) return { kind: "notSent", fault: checked };
  const material = await checked.endpoint.material();
  if (!material.ok) return { kind: "notSent", fault: material.fault };
  const pool = pools.of(call, checked.endpoint, material.value);
  const { clock, boundary } = deps;
  const work = (): Promise<HttpResult> =>
    withDeadline({ clock, timeout: call.timeout, signal }, (ended) =>
      exchange({ call, checked, material: material.value, pool, ended, clock }),
    );
  return call.point === null ? work() : boundary.around(call.point, work);
}

interface Exchange {
  readonly call: HttpCall;
  readonly checked: Checked;
  readonly material: Material;
  readonly pool: LanePool;
  readonly ended: AbortSignal;
  readonly clock: Clock;
}

async function exchange({ call, checked, material, pool, ended, clock }: Exchange): Promise<HttpResult> {
  const taken = await pool.take(ended);
  if (!taken.ok) return { kind: "notSent", fault: taken.fault };
  const { lane } = taken;
  const before = lane.socket.bytesWritten;
  try {
    const response = await lane.client.request({
      method: call.method,
      path: call.path,
      headers: headersOf(call, checked, material),
      body: checked.body,
      signal: ended,
    });
    const { answer, whole } = await readAnswer(response, clock.now());
    pool.give(lane, whole);
    return answer;
  } catch {
    const sent = lane.socket.bytesWritten > before;
    // The lane dies with the exchange: no late answer reaches the next one.
    pool.give(lane, false);
    return failed(call, sent, ended);
  }
}

/** A library's error says less than what is known: whether bytes left, and whether time was up. */
function failed({ endpoint, address, timeout }: HttpCall, sent: boolean, ended: AbortSignal): HttpResult {
  if (!sent)
    return {
      kind: "notSent",
      fault: fault(ended.aborted ? "ConnectTimeout" : "ConnectRefused", { endpoint, address }),
    };
  return ended.aborted
    ? { kind: "lost", fault: fault("HttpTimeout", { endpoint, address, timeout: formatDuration(timeout) }) }
    : { kind: "lost", fault: fault("AnswerLost", { endpoint, address }) };
}

function headersOf({ headers, stamp }: HttpCall, { body }: Checked, { bearer }: Material): Record<string, string> {
  const own: Record<string, string> = { "user-agent": "turnout", "accept-encoding": "identity" };
  for (const [name, value] of Object.entries(headers)) own[name.toLowerCase()] = value;
  own.accept ??= "application/json";
  if (body !== null) own["content-type"] ??= "application/json";
  if (stamp !== undefined) {
    own["turnout-tenant"] = stamp.tenant;
    own["turnout-fence"] = stamp.fence;
    own["turnout-base"] = stamp.base;
    own["idempotency-key"] = stamp.opId;
  }
  if (bearer !== null) own.authorization = `Bearer ${bearer}`;
  return own;
}

interface Kept {
  readonly pool: LanePool;
  readonly namespace: string;
  readonly digest: string;
}

/** One pool per namespace, endpoint and address; another policy or credential closes the old one (guard 6). */
class Pools {
  readonly #pools = new Map<string, Kept>();
  readonly #deps: HttpDeps;
  #sockets: number;
  #closed = false;

  constructor(deps: HttpDeps) {
    this.#deps = deps;
    this.#sockets = deps.sockets;
    deps.guard.onCrowded((namespace) => {
      for (const kept of this.#pools.values()) if (kept.namespace === namespace) kept.pool.closeIdle();
    });
  }

  of({ namespace, address, endpoint: name }: HttpCall, endpoint: OpenEndpoint<"http">, material: Material): LanePool {
    const key = `${namespace} ${name} ${address}`;
    const digest = `${endpoint.policy.digest} ${material.digest}`;
    const kept = this.#pools.get(key);
    if (kept?.digest === digest) return kept.pool;
    kept?.pool.retire();
    this.#forgetUnused();
    const pool = this.#open({ namespace, address, endpoint, material });
    if (this.#closed) pool.retire();
    else this.#pools.set(key, { pool, namespace, digest });
    return pool;
  }

  limit(sockets: number): void {
    this.#sockets = sockets;
    for (const { pool } of this.#pools.values()) pool.resize(sockets);
  }

  /** What is under way ends by itself; its connections, and those of later calls, are not kept. */
  close(): void {
    this.#closed = true;
    for (const { pool } of this.#pools.values()) pool.retire();
    this.#pools.clear();
  }

  #open({ namespace, address, endpoint, material }: Pooled): LanePool {
    const { guard } = this.#deps;
    const { settings } = endpoint;
    const to = { ...endpoint.destination(material, { address, alpn: ["http/1.1"] }), namespace };
    return new LanePool({
      most: this.#sockets,
      origin: originOf(address, settings),
      largestHeader: LARGEST_HEADER,
      idleMs: IDLE_MS,
      open: (signal) => guard.connect(to, signal),
      crowded: () => guard.crowded(namespace),
      late: () => fault("ConnectTimeout", { endpoint: settings.name, address }),
    });
  }

  #forgetUnused(): void {
    if (this.#pools.size < MOST_POOLS) return;
    for (const [key, { pool }] of this.#pools) if (pool.unused) this.#pools.delete(key);
  }
}

interface Pooled {
  readonly namespace: string;
  readonly address: string;
  readonly endpoint: OpenEndpoint<"http">;
  readonly material: Material;
}

/** @throws Error where the URL parser would read another host than the one checked: such an address never gets this far. */
function originOf(address: string, { tls }: Pick<HttpEndpoint, "tls">): string {
  const parsed = parseAddress(address);
  const scheme = tls === "None" ? "http" : "https";
  const url = parsed === null ? null : new URL(`${scheme}://${formatAddress(parsed)}`);
  const port = url?.port === "" ? (scheme === "http" ? 80 : 443) : Number(url?.port);
  const host = url?.hostname.replace(/^\[|\]$/g, "");
  if (parsed === null || url === null || host !== parsed.host.text || port !== parsed.port)
    throw new Error("not an origin");
  return url.origin;
}
