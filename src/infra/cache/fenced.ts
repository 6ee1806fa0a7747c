import { companionKey } from "../../lib/companion-key.ts";
import { canonicalJson, hexDigest } from "../../lib/digest.ts";
import { fault, type Fault } from "../../lib/failures.ts";
import { decodeJson } from "../../lib/json.ts";
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

/** Of all that a stage writes: as it was before, as we wrote it, as it is now; null where that is too long to be shown. */
export interface DriftDigests {
  readonly before: string | null;
  readonly ours: string | null;
  readonly now: string | null;
}
export type StoreResult =
  /** `kept`: fields that others changed and that were left as they are. */
  | {
      readonly is: "done";
      readonly how: string;
      readonly kept: readonly string[];
      readonly digests: DriftDigests;
    }
  | {
      readonly is: "drift";
      readonly keys: readonly string[];
      readonly digests: DriftDigests;
      readonly fault: Fault;
    }
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

/** The connections of endpoints, one each; which there are may change. */
export interface RedisConnections {
  get(endpoint: string): RedisConnection | undefined;
  values(): Iterable<RedisConnection>;
}

export function openFencedStore(connections: RedisConnections): FencedStore {
  const stores = new Map<RedisConnection, EndpointStore>();
  const at = (endpoint: string): EndpointStore | null => {
    const connection = connections.get(endpoint);
    if (connection === undefined) return null;
    const known = stores.get(connection) ?? new EndpointStore(endpoint, connection);
    stores.set(connection, known);
    return known;
  };
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
    return this.#readBack(call, done, ({ opId }) => opId === call.opId);
  }

  async restore(call: FencedRestore): Promise<StoreResult> {
    const { undoes, onDrift } = call;
    const undo = `${call.uid} ${call.opId}`;
    const ask = { ...asked(call), undo, undoes: undoes.opId, settled: undoes.settled, onDrift };
    const done = this.#settle(call, await this.#run("restore", call, ask, null));
    return this.#readBack(call, done, (found) => found.undo === undo);
  }

  async publish(call: FencedPublish): Promise<StoreResult> {
    const ask = { ...asked(call), ...told(call.publish) };
    const done = this.#settle(call, await this.#run("publish", call, ask, streamOf(call.publish)));
    return this.#readBack(call, done, ({ published }) => published === call.opId);
  }

  async whose(call: FencedKey): Promise<StoreFinding> {
    const found = await this.#look(call);
    if ("fault" in found) return found;
    const facts = { endpoint: this.#name, key: call.key };
    const foreign = (code: "RecordMissing" | "RedisWrongType" | "ForeignEdit"): StoreFinding => ({
      is: "foreign",
      fault: fault(code, facts),
    });
    if (found.opId === call.opId) {
      // An error reply broke it off: what is missing is done by doing it again.
      if (found.pending) return { is: "not-in-force" };
      return found.data === "ours" ? { is: "in-force" } : foreign("ForeignEdit");
    }
    if (found.fence > call.base) return foreign("ForeignEdit");
    if (found.data === "type") return foreign("RedisWrongType");
    // Our data without our record: somebody took the record away, and with it the before-image.
    const bare = found.opId === "" && found.undo === "";
    return bare && found.data === "ours" ? foreign("RecordMissing") : { is: "not-in-force" };
  }

  /** What a server lost on a failover, after it had said yes, is found here, before the stage is called settled. */
  async #readBack(call: FencedKey, done: StoreResult, stands: (found: Look) => boolean): Promise<StoreResult> {
    if (done.is !== "done") return done;
    const found = await this.#look(call);
    if ("fault" in found) return { is: found.is === "foreign" ? "terminal" : "unknown", fault: found.fault };
    const differs = fault("ReadBackDiffers", { endpoint: this.#name, key: call.key });
    if (!stands(found)) return { is: "unknown", fault: differs };
    // The record stands and the data does not: somebody wrote in between.
    const changed = done.how === "written" || done.how === "in-force" ? found.data !== "ours" : false;
    return changed ? { is: "terminal", fault: differs } : done;
  }

  async #look(call: FencedKey): Promise<Look | { readonly is: "foreign" | "unreadable"; readonly fault: Fault }> {
    const reply = await this.#run("whose", call, asked(call), null);
    if (reply.kind !== "reply") return { is: "unreadable", fault: this.#failed(call, reply).fault };
    const [verdict, data = "", opId = "", undo = "", published = "", fence = "", pending = ""] = words(reply.value);
    if (verdict === "foreign") return { is: "foreign", fault: this.#foreign(call, data) };
    if (verdict === "damaged") return { is: "foreign", fault: this.#damaged(call) };
    if (verdict !== "none" && verdict !== "record")
      return { is: "unreadable", fault: fault("ProbeFailed", { endpoint: this.#name, address: call.key }) };
    return { data, opId, undo, published, fence, pending: pending !== "" };
  }

  #run(
    script: "write" | "restore" | "publish" | "whose",
    call: FencedKey,
    ask: Ask,
    stream: string | null,
  ): Promise<RedisReply> {
    const keys = [call.key, companionKey(call.key), ...(stream === null ? [] : [stream])];
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
    const [first = "", second = "", ...names] = rest;
    const digests = {
      before: digestOfShown(call.value, first),
      ours: digestOf(call.value),
      now: digestOfShown(call.value, second),
    };
    switch (verdict) {
      case "damaged":
        return { is: "terminal", fault: this.#damaged(call) };
      case "foreign":
        return { is: "terminal", fault: this.#foreign(call, first) };
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
        return { is: "drift", keys: names, digests, fault: fault("ForeignEdit", facts) };
      case "restored":
        return { is: "done", how: verdict, kept: names, digests };
      case "written":
      case "in-force":
      case "nothing":
      case "again":
      case "published":
        return { is: "done", how: verdict, kept: [], digests };
      default:
        return { is: "unknown", fault: fault("ReadBackDiffers", facts) };
    }
  }

  #foreign({ key }: FencedKey, owner: string): Fault {
    return fault("ForeignRecord", { endpoint: this.#name, key, owner });
  }
  #damaged({ key }: FencedKey): Fault {
    return fault("ForeignEdit", { endpoint: this.#name, key: companionKey(key) });
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
  /** `ours`: what was asked about stands there, or has expired since by itself. */
  readonly data: string;
  readonly opId: string;
  readonly undo: string;
  readonly published: string;
  /** Empty where there is no record: below every other. */
  readonly fence: string;
  readonly pending: boolean;
}

/** First words of error replies (RESP) of a server that will take the command later; a script broken off by one is done again. */
const BUSY: ReadonlySet<string> = new Set([
  "LOADING",
  "BUSY",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "MASTERDOWN",
  "READONLY",
  "NOREPLICAS",
  "OOM",
  "MISCONF",
]);
const DENIED: ReadonlySet<string> = new Set(["NOAUTH", "WRONGPASS", "NOPERM"]);
const FINAL: ReadonlySet<string> = new Set(["EgressDenied", "SecretUnreadable", "TlsFailed", "RequestTooLarge"]);

const writtenOf = (value: StoredValue): Readonly<Record<string, string>> =>
  value.kind === "hash" ? value.fields : { value: value.value };
const digestOf = (value: StoredValue): string => digest(value.kind, writtenOf(value));
const digest = (kind: string, fields: unknown): string => hexDigest("redis", kind, canonicalJson(fields)).slice(0, 32);

/** Of names and values as a script shows them. The values go no further than this (protocol.md: status holds nothing read). */
function digestOfShown({ kind }: StoredValue, shown: string): string | null {
  const decoded = shown === "" ? null : decodeJson(shown, SHOWN_LIMITS);
  return decoded?.ok === true ? digest(kind, decoded.value) : null;
}
const SHOWN_LIMITS = { depth: 2, keys: 128 };

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
