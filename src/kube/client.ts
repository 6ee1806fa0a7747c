import type { Clock, KubeLane, KubeRequest, KubeResponse, KubeStream, KubeTransport, Point } from "../lib/seams.ts";
import { type Millis, seconds } from "../lib/time.ts";
import { type Asked, fromAnswer, fromNoAnswer, isGone, KubeError, type KubeVerb, NoAnswer } from "./errors.ts";
import { decodeJsonBytes } from "./list-decoder.ts";
import {
  apiVersionOf,
  asObject,
  isVersion,
  type KubeObject,
  nameOf,
  type NewObject,
  type ObjectRef,
  pathOf,
  type Place,
  refOf,
  type Resource,
} from "./resource.ts";

export interface CallOptions {
  readonly lane?: KubeLane;
  readonly signal?: AbortSignal;
  /** Over the whole call, waiting for a connection included. */
  readonly timeout?: Millis;
}
export interface WriteOptions extends CallOptions {
  readonly point: Point;
}

export interface Selection {
  /** null: all namespaces, or a cluster-scoped resource. */
  readonly namespace: string | null;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}
export interface ListOptions extends Selection, CallOptions {
  readonly limit?: number;
  readonly continue?: string;
  /** Without it the list is consistent: as new as the moment it was asked for. */
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: "Exact" | "NotOlderThan";
}
export interface ListPage {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  /** null on the last page. */
  readonly continue: string | null;
}
export interface ListAllPage extends ListPage {
  /** The continuation expired: what came before is void, this is a first page again. */
  readonly restarted: boolean;
}
export interface WatchOptions extends Selection {
  /** null: begin with the objects there are (streaming list), then go on. */
  readonly resourceVersion: string | null;
  /** After this the server ends the stream by itself. */
  readonly endsAfter: Millis;
  readonly timeout?: Millis;
  readonly signal?: AbortSignal;
}
export interface Precondition {
  readonly uid: string;
  readonly resourceVersion?: string;
}
export interface MetadataPatch {
  readonly uid: string;
  readonly resourceVersion: string;
  /** null takes a label off. */
  readonly labels?: Readonly<Record<string, string | null>>;
  readonly annotations?: Readonly<Record<string, string | null>>;
  /** The whole list that shall stand. */
  readonly finalizers?: readonly string[];
}

/** All methods: the object as the API server gave it, nothing stripped. @throws KubeError, nothing else. Never repeated. */
export interface KubeClient {
  get(resource: Resource, ref: ObjectRef, options?: CallOptions): Promise<KubeObject>;
  list(resource: Resource, options: ListOptions): Promise<ListPage>;
  /** Pages of 500 of one consistent list. */
  listAll(resource: Resource, options: ListOptions): AsyncGenerator<ListAllPage>;
  watch(resource: Resource, options: WatchOptions): Promise<KubeStream>;
  create(resource: Resource, object: NewObject, options: WriteOptions): Promise<KubeObject>;
  replace(resource: Resource, object: KubeObject, options: WriteOptions): Promise<KubeObject>;
  replaceStatus(resource: Resource, object: KubeObject, options: WriteOptions): Promise<KubeObject>;
  /** Conflict where the object is another one or was changed since `resourceVersion`. */
  patchMetadata(resource: Resource, ref: ObjectRef, patch: MetadataPatch, options: WriteOptions): Promise<KubeObject>;
  /** JSON merge patch. Never for a status: a patch computed from an old copy can null a checkpoint. */
  mergePatch(resource: Resource, ref: ObjectRef, patch: unknown, options: WriteOptions): Promise<KubeObject>;
  /** Conflict where the object is another one. Resolves when the deletion is accepted; finalizers may still hold the object. */
  delete(resource: Resource, ref: ObjectRef, precondition: Precondition, options: WriteOptions): Promise<void>;
}

/** One request that ended: for metrics and for tests that count. */
export interface RequestSeen {
  readonly verb: KubeVerb;
  /** With its subresource: `leases.coordination.k8s.io`, `widgets.example.dev/status`. */
  readonly resource: string;
  /** HTTP status, or the kind of failure where none came. */
  readonly code: string;
  readonly took: Millis;
}

export interface ClientOptions {
  readonly clock: Clock;
  readonly onRequest?: (seen: RequestSeen) => void;
  readonly timeout?: Millis;
}

/** Objects of one page: 500 of 6 kB are 3 MB. */
export const PAGE_SIZE = 500;
/** A list whose continuation expires this often in a row is given up. */
const MOST_RESTARTS = 5;
const REQUEST_TIMEOUT = seconds(15);

export function openClient(transport: KubeTransport, options: ClientOptions): KubeClient {
  return new Client(transport, options);
}

interface Call extends Place {
  readonly verb: KubeVerb;
  readonly query?: Readonly<Record<string, string>>;
  readonly answer?: "list";
  readonly body?: unknown;
  readonly contentType?: string;
}

const METHODS: Readonly<Record<KubeVerb, KubeRequest["method"]>> = {
  get: "GET",
  list: "GET",
  watch: "GET",
  create: "POST",
  update: "PUT",
  patch: "PATCH",
  delete: "DELETE",
};
const MERGE_PATCH = "application/merge-patch+json";

class Client implements KubeClient {
  readonly #transport: KubeTransport;
  readonly #options: ClientOptions;

  constructor(transport: KubeTransport, options: ClientOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  get(resource: Resource, ref: ObjectRef, options: CallOptions = {}): Promise<KubeObject> {
    return this.#object(resource, { ...ref, verb: "get" }, options);
  }

  async list(resource: Resource, options: ListOptions): Promise<ListPage> {
    const query = {
      ...selectors(options),
      ...present(options, ["limit", "continue", "resourceVersion", "resourceVersionMatch"]),
    };
    const call: Call = { verb: "list", namespace: options.namespace, name: null, query, answer: "list" };
    const asked = askedOf(resource, call);
    const page = pageOf((await this.#send(resource, call, options)).body);
    if (page === null) throw new KubeError(asked, { kind: "BadAnswer", status: 200, reason: "NotAList" });
    return page;
  }

  async *listAll(resource: Resource, options: ListOptions): AsyncGenerator<ListAllPage> {
    let token: string | null = null;
    let restarts = 0;
    for (;;) {
      const restarted = restarts > 0 && token === null;
      try {
        const page: ListPage = await this.list(resource, {
          limit: PAGE_SIZE,
          ...options,
          ...(token === null ? {} : { continue: token }),
        });
        token = page.continue;
        yield { ...page, restarted };
        if (token === null) return;
      } catch (error) {
        if (!isGone(error) || token === null || restarts >= MOST_RESTARTS) throw error;
        restarts += 1;
        token = null;
      }
    }
  }

  async watch(resource: Resource, options: WatchOptions): Promise<KubeStream> {
    const { resourceVersion, endsAfter } = options;
    const from =
      resourceVersion === null
        ? { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" }
        : { resourceVersion };
    const timeoutSeconds = String(Math.ceil(endsAfter / 1000));
    const query = { watch: "true", allowWatchBookmarks: "true", timeoutSeconds, ...selectors(options), ...from };
    const call: Call = { verb: "watch", namespace: options.namespace, name: null, query };
    const asked = askedOf(resource, call);
    const request = this.#requestOf(resource, call, options);
    return this.#seen(asked, async () => {
      const stream = await this.#transport.stream(request);
      if (isGood(stream.status)) return stream;
      throw fromAnswer(asked, { ...stream, body: await statusBody(stream.chunks) });
    });
  }

  create(resource: Resource, object: NewObject, options: WriteOptions): Promise<KubeObject> {
    const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
    const { namespace, name } = refOf(object);
    return this.#object(resource, { verb: "create", namespace, name: null, body, created: name }, options);
  }

  replace(resource: Resource, object: KubeObject, options: WriteOptions): Promise<KubeObject> {
    return this.#object(resource, { ...refOf(object), verb: "update", body: object }, options);
  }

  replaceStatus(resource: Resource, object: KubeObject, options: WriteOptions): Promise<KubeObject> {
    return this.#object(resource, { ...refOf(object), verb: "update", subresource: "status", body: object }, options);
  }

  patchMetadata(
    resource: Resource,
    ref: ObjectRef,
    metadata: MetadataPatch,
    options: WriteOptions,
  ): Promise<KubeObject> {
    return this.mergePatch(resource, ref, { metadata }, options);
  }

  mergePatch(resource: Resource, ref: ObjectRef, body: unknown, options: WriteOptions): Promise<KubeObject> {
    return this.#object(resource, { ...ref, verb: "patch", body, contentType: MERGE_PATCH }, options);
  }

  async delete(resource: Resource, ref: ObjectRef, preconditions: Precondition, options: WriteOptions): Promise<void> {
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions };
    await this.#send(resource, { ...ref, verb: "delete", body }, options);
  }

  async #object(
    resource: Resource,
    call: Call & { readonly created?: string },
    options: CallOptions,
  ): Promise<KubeObject> {
    const { body } = await this.#send(resource, call, options);
    const object = asObject(body);
    if (object !== null) return object;
    // A write that was answered with nonsense may well have been carried out.
    const kind = call.verb === "get" ? "BadAnswer" : "Ambiguous";
    throw new KubeError(askedOf(resource, call), { kind, status: 200, reason: "NotAnObject" });
  }

  #send(resource: Resource, call: Call & { readonly created?: string }, options: CallOptions): Promise<KubeResponse> {
    const asked = askedOf(resource, call);
    const request = this.#requestOf(resource, call, options);
    return this.#seen(asked, async () => {
      const answer = await this.#transport.request(request);
      if (!isGood(answer.status)) throw fromAnswer(asked, answer);
      return answer;
    });
  }

  #requestOf(resource: Resource, call: Call, options: CallOptions & { readonly point?: Point }): KubeRequest {
    const { verb, query, body, contentType, answer } = call;
    const { lane, signal, point } = options;
    return {
      method: METHODS[verb],
      path: pathOf(resource, call, verb),
      timeout: options.timeout ?? this.#options.timeout ?? REQUEST_TIMEOUT,
      ...defined({ query, body, contentType, answer, lane, signal, point }),
    };
  }

  async #seen<T extends { readonly status: number }>(asked: Asked, send: () => Promise<T>): Promise<T> {
    const { clock, onRequest } = this.#options;
    const since = clock.monotonic();
    const seen = (code: string): void =>
      onRequest?.({ verb: asked.verb, resource: asked.resource, code, took: (clock.monotonic() - since) as Millis });
    try {
      const answer = await send();
      seen(String(answer.status));
      return answer;
    } catch (thrown) {
      const error = thrown instanceof NoAnswer ? fromNoAnswer(asked, thrown) : thrown;
      if (error instanceof KubeError) seen(String(error.status ?? error.kind));
      throw error;
    }
  }
}

const isGood = (status: number): boolean => status >= 200 && status < 300;

function askedOf(
  resource: Resource,
  { verb, namespace, name, subresource, created }: Call & { readonly created?: string },
): Asked {
  const full = subresource === undefined ? nameOf(resource) : `${nameOf(resource)}/${subresource}`;
  const leaf = created ?? name ?? "";
  return { verb, resource: full, target: namespace === null ? leaf : `${namespace}/${leaf}` };
}

const selectors = (selection: Selection): Record<string, string> =>
  present(selection, ["labelSelector", "fieldSelector"]);

function present<T extends object>(options: T, names: readonly (keyof T & string)[]): Record<string, string> {
  const given = names.flatMap((name) => (options[name] === undefined ? [] : [[name, String(options[name])] as const]));
  return Object.fromEntries(given);
}

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** The same without the members that are undefined. */
function defined<T extends object>(options: T): Defined<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function pageOf(body: unknown): ListPage | null {
  if (typeof body !== "object" || body === null) return null;
  const { metadata, items } = body as { readonly metadata?: unknown; readonly items?: unknown };
  if (typeof metadata !== "object" || metadata === null || !(Array.isArray(items) || items === null)) return null;
  const { resourceVersion, continue: token } = metadata as Readonly<Record<string, unknown>>;
  const objects: readonly unknown[] = items ?? [];
  if (!isVersion(resourceVersion) || !objects.every((item): item is KubeObject => asObject(item) !== null)) return null;
  return { items: objects, resourceVersion, continue: typeof token === "string" && token !== "" ? token : null };
}

/** Longest Status that a refused watch is read for. */
const LONGEST_STATUS = 64 * 1024;

async function statusBody(chunks: AsyncIterable<Uint8Array>): Promise<unknown> {
  const read: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      if (size > LONGEST_STATUS) return null;
      read.push(chunk);
    }
    return decodeJsonBytes(Buffer.concat(read));
  } catch {
    return null; // the status code alone says enough
  }
}
