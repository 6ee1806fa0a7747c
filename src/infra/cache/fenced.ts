import { canonicalJson, hexDigest } from "../../lib/digest.ts";
import { fault, type Fault } from "../../lib/failures.ts";
import type { Point } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import { PUBLISH, RESTORE, WHOSE, WRITE } from "./fenced-scripts.ts";
import type { RedisConnection, RedisReply, RedisScript } from "./redis.ts";

/** Whose operation on which key, under which fence. */
export interface FencedKey {
  readonly endpoint: string;
  readonly key: string;
  /** `namespace/tenantId`. */
  readonly tenant: string;
  readonly uid: string;
  readonly stage: string;
  readonly fence: string;
  readonly base: string;
  readonly opId: string;
  readonly value: StoredValue;
  readonly timeout: Millis;
  readonly signal: AbortSignal;
  /** `namespace/name` of the task, for boundaries. */
  readonly subject: string;
}
export type StoredValue =
  | { readonly kind: "hash"; readonly fields: Readonly<Record<string, string>> }
  | { readonly kind: "string"; readonly value: string };
/** Told to subscribers, or appended to a stream, in the script that changes the data. */
export type Publication =
  | { readonly channel: string; readonly payload: string }
  | { readonly stream: string; readonly entry: Readonly<Record<string, string>> };
export interface FencedWrite extends FencedKey {
  readonly ttl: Millis | null;
  readonly publish: Publication | null;
}
export interface FencedRestore extends FencedKey {
  /** opId of what is undone, and whether it ever settled. */
  readonly undoes: { readonly opId: string; readonly settled: boolean };
  readonly onDrift: "Hold" | "Overwrite" | "Keep";
}
export interface FencedPublish extends FencedKey {
  readonly publish: Publication;
}

export type StoreResult =
  /** `kept`: fields that others changed and that were left as they are. */
  | { readonly is: "done"; readonly how: string; readonly kept: readonly string[] }
  | { readonly is: "drift"; readonly keys: readonly string[]; readonly ours: string; readonly fault: Fault }
  | { readonly is: "retryable" | "terminal" | "unknown" | "fenced" | "diverged"; readonly fault: Fault };
export type StoreFinding =
  | { readonly is: "in-force" }
  | { readonly is: "not-in-force" }
  | { readonly is: "foreign" | "unreadable"; readonly fault: Fault };

/** What a redis stage does, each with fence, record and read-back. */
export interface FencedStore {
  write(call: FencedWrite): Promise<StoreResult>;
  /** Puts the before-image back, or only the fence where nothing of ours is in force (S8). */
  restore(call: FencedRestore): Promise<StoreResult>;
  publish(call: FencedPublish): Promise<StoreResult>;
  whose(call: FencedKey): Promise<StoreFinding>;
  /** Why the endpoint does not take this key; null where it does. */
  keyRefusal(endpoint: string, key: string): Fault | null;
  close(): Promise<void>;
}

/** Key of the companion record: in the same slot as the data (Redis Cluster, hash tags). */
export function recordKey(key: string): string {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key;
  return `turnout:{${tag}}:${key}`;
}

export function openFencedStore(connections: ReadonlyMap<string, RedisConnection>): FencedStore {
  const stores = new Map([...connections].map(([name, connection]) => [name, new EndpointStore(name, connection)]));
  const at = (endpoint: string): EndpointStore | null => stores.get(endpoint) ?? null;
  const gone = (endpoint: string): StoreResult => ({
    is: "retryable",
    fault: fault("EndpointUnavailable", { endpoint }),
  });
  return {
    write: async (call) => at(call.endpoint)?.write(call) ?? gone(call.endpoint),
    restore: async (call) => at(call.endpoint)?.restore(call) ?? gone(call.endpoint),
    publish: async (call) => at(call.endpoint)?.publish(call) ?? gone(call.endpoint),
    whose: async ({ endpoint, ...call }) =>
      at(endpoint)?.whose({ endpoint, ...call }) ?? {
        is: "unreadable",
        fault: fault("EndpointUnavailable", { endpoint }),
      },
    keyRefusal: (endpoint, key) => connections.get(endpoint)?.keyRefusal(key) ?? null,
    close: async () => {
      for (const connection of connections.values()) await connection.close();
    },
  };
}

type Ask = Readonly<Record<string, unknown>>;

class EndpointStore {
  readonly #name: string;
  readonly #scripts: Readonly<Record<"write" | "restore" | "publish" | "whose", RedisScript>>;

  constructor(name: string, connection: RedisConnection) {
    this.#name = name;
    this.#scripts = {
      write: connection.script(WRITE),
      restore: connection.script(RESTORE),
      publish: connection.script(PUBLISH),
      whose: connection.script(WHOSE),
    };
  }

  async write(call: FencedWrite): Promise<StoreResult> {
    const ask = { ...asked(call), ttl: call.ttl ?? 0, ...told(call.publish), digest: digestOf(call.value) };
    const done = this.#settle(call, await this.#run("write", call, ask, streamOf(call.publish)));
    if (done.is !== "done") return done;
    return this.#readBack(call, done, (found) => found.opId === call.opId && found.ours);
  }

  async restore(call: FencedRestore): Promise<StoreResult> {
    const { undoes, onDrift } = call;
    const undo = `${call.uid} ${call.opId}`;
    const ask = { ...asked(call), undo, undoes: undoes.opId, settled: undoes.settled, onDrift };
    const done = this.#settle(call, await this.#run("restore", call, ask, null));
    if (done.is !== "done") return done;
    return this.#readBack(call, done, (found) => found.undo === undo);
  }

  async publish(call: FencedPublish): Promise<StoreResult> {
    const ask = { ...asked(call), ...told(call.publish) };
    return this.#settle(call, await this.#run("publish", call, ask, streamOf(call.publish)));
  }

  async whose(call: FencedKey): Promise<StoreFinding> {
    const found = await this.#look(call);
    if ("fault" in found) return { is: found.is === "foreign" ? "foreign" : "unreadable", fault: found.fault };
    if (found.opId === call.opId) return { is: "in-force" };
    const { key } = call;
    // Our data without our record: somebody took the record away, and with it the before-image.
    if (!found.known)
      return found.ours
        ? { is: "foreign", fault: fault("RecordMissing", { endpoint: this.#name, key }) }
        : { is: "not-in-force" };
    if (found.fence <= call.base) return { is: "not-in-force" };
    return { is: "foreign", fault: fault("ForeignEdit", { endpoint: this.#name, key }) };
  }

  /** A server that lost the write on a failover is found here, before the stage is called settled. */
  async #readBack(call: FencedKey, done: StoreResult, right: (found: Look) => boolean): Promise<StoreResult> {
    const found = await this.#look(call);
    if (!("fault" in found)) {
      return right(found)
        ? done
        : { is: "terminal", fault: fault("ReadBackDiffers", { endpoint: this.#name, key: call.key }) };
    }
    return found.is === "foreign" ? { is: "terminal", fault: found.fault } : { is: "unknown", fault: found.fault };
  }

  async #look(call: FencedKey): Promise<Look | { readonly is: "foreign" | "unreadable"; readonly fault: Fault }> {
    const reply = await this.#run("whose", call, asked(call), null);
    const facts = { endpoint: this.#name, key: call.key };
    if (reply.kind !== "reply") {
      const failed = this.#failed(call, reply);
      return { is: "unreadable", fault: failed.fault };
    }
    const [verdict = "", first = "", undo = "", fence = "", ours = ""] = words(reply.value);
    if (verdict === "foreign") return { is: "foreign", fault: fault("ForeignRecord", { ...facts, owner: first }) };
    if (verdict === "type") return { is: "foreign", fault: fault("RedisWrongType", facts) };
    if (verdict === "none") return { known: false, opId: "", undo: "", fence: "", ours: first === "yes" };
    return { known: true, opId: first, undo, fence, ours: ours === "yes" };
  }

  #run(
    script: "write" | "restore" | "publish" | "whose",
    call: FencedKey,
    ask: Ask,
    stream: string | null,
  ): Promise<RedisReply> {
    const keys = [call.key, recordKey(call.key), ...(stream === null ? [] : [stream])];
    const point: Point | null = script === "whose" ? null : { class: "effect/redis", subject: call.subject };
    return this.#scripts[script].run(keys, [JSON.stringify(ask)], {
      signal: call.signal,
      timeout: call.timeout,
      point,
    });
  }

  #settle(call: FencedKey, reply: RedisReply): StoreResult {
    if (reply.kind !== "reply") return this.#failed(call, reply);
    const [verdict = "", ...rest] = words(reply.value);
    const facts = { endpoint: this.#name, key: call.key };
    const place = { endpoint: this.#name, address: call.key };
    const first = rest[0] ?? "";
    switch (verdict) {
      case "foreign":
        return { is: "terminal", fault: fault("ForeignRecord", { ...facts, owner: first }) };
      case "fenced":
        return { is: "fenced", fault: fault("Fenced", { ...place, seen: first }) };
      case "diverged":
        return { is: "diverged", fault: fault("Diverged", { ...place, seen: first }) };
      case "type":
        return { is: "terminal", fault: fault("RedisWrongType", facts) };
      case "evicts":
        return { is: "terminal", fault: fault("RedisEvicts", { endpoint: this.#name, policy: first }) };
      case "conflict":
        return { is: "terminal", fault: fault("RecordMissing", facts) };
      case "drift":
        return { is: "drift", keys: rest, ours: digestOf(call.value), fault: fault("ForeignEdit", facts) };
      default:
        return { is: "done", how: verdict, kept: verdict === "restored" ? rest : [] };
    }
  }

  #failed(
    { key }: FencedKey,
    reply: Exclude<RedisReply, { kind: "reply" }>,
  ): { readonly is: "retryable" | "terminal" | "unknown"; readonly fault: Fault } {
    if (reply.kind === "lost") return { is: "unknown", fault: reply.fault };
    if (reply.kind === "notSent")
      return { is: FINAL.has(reply.fault.code) ? "terminal" : "retryable", fault: reply.fault };
    const facts = { endpoint: this.#name, key, reply: reply.code };
    if (BUSY.has(reply.code)) return { is: "retryable", fault: fault("RedisBusy", facts) };
    if (DENIED.has(reply.code)) return { is: "terminal", fault: fault("RedisDenied", facts) };
    if (reply.code === "WRONGTYPE") return { is: "terminal", fault: fault("RedisWrongType", facts) };
    return { is: "terminal", fault: fault("RedisRefused", facts) };
  }
}

interface Look {
  readonly known: boolean;
  readonly opId: string;
  readonly undo: string;
  readonly fence: string;
  readonly ours: boolean;
}

/** First words of error replies (RESP). Nothing was changed by a command that these answer. */
const BUSY: ReadonlySet<string> = new Set([
  "LOADING",
  "BUSY",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "MASTERDOWN",
  "READONLY",
  "NOREPLICAS",
  "OOM",
]);
const DENIED: ReadonlySet<string> = new Set(["NOAUTH", "WRONGPASS", "NOPERM"]);
const FINAL: ReadonlySet<string> = new Set(["EgressDenied", "SecretUnreadable", "TlsFailed", "RequestTooLarge"]);

const writtenOf = (value: StoredValue): Readonly<Record<string, string>> =>
  value.kind === "hash" ? value.fields : { value: value.value };
const digestOf = (value: StoredValue): string =>
  hexDigest("redis", value.kind, canonicalJson(writtenOf(value))).slice(0, 32);

const asked = ({ tenant, uid, stage, fence, base, opId, value }: FencedKey): Ask => ({
  tenant,
  uid,
  stage,
  fence,
  base,
  opId,
  mode: value.kind,
  written: writtenOf(value),
});

const told = (publication: Publication | null): Ask =>
  publication === null
    ? {}
    : "channel" in publication
      ? { channel: publication.channel, payload: publication.payload }
      : { entry: publication.entry };
const streamOf = (publication: Publication | null): string | null =>
  publication !== null && "stream" in publication ? publication.stream : null;

const words = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(String) : []);
