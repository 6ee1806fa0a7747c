import type { KubeRequest, KubeResponse, KubeTransport, PointClass } from "../../src/lib/seams.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { Json } from "../../src/lib/json.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { ok, statusAnswer } from "./fake-kube-transport.ts";

/** A write that the API server took. */
export interface Write {
  readonly revision: number;
  readonly point: PointClass | null;
  readonly path: string;
  /** As stored; undefined where the write was the end of it. */
  readonly object: KubeObject | undefined;
}

type Meddle = () => void | Promise<void>;

/**
 * An API server in memory for single objects and lists: resourceVersion, uid, generation, status apart, conflicts, merge patch,
 * finalizers, garbage collection by owner. A PUT without resourceVersion overwrites, as on the real one.
 */
export interface MemoryKube extends KubeTransport {
  readonly revision: number;
  readonly writes: readonly Write[];
  /** `namespace/name`, by plural. */
  get(plural: string, key: string): KubeObject | undefined;
  all(plural: string): readonly KubeObject[];
  /** A person's create or merge patch of the whole object but its status. */
  apply(plural: string, object: { readonly metadata: Named } & Fields): KubeObject;
  /** A person's or another process's write of the status. */
  applyStatus(plural: string, key: string, status: unknown): void;
  delete(plural: string, key: string): void;
  /** Called before the n-th write of that class is carried out. */
  before(point: PointClass, n: number, meddle: Meddle): void;
  /** The n-th write of that class is carried out and its answer is lost. */
  lose(point: PointClass, n: number): void;
}

type Fields = Readonly<Record<string, unknown>>;
type Named = Fields & { readonly name: string };

export const NAMESPACE = "prod";

export const openMemoryKube = (now: () => string): MemoryKube => new Memory(now);

class Memory implements MemoryKube {
  readonly writes: Write[] = [];
  readonly #now: () => string;
  readonly #objects = new Map<string, KubeObject>();
  readonly #counts = new Map<string, number>();
  readonly #meddlers = new Map<string, Meddle>();
  readonly #lost = new Set<string>();
  #revision = 100;
  #uids = 0;

  constructor(now: () => string) {
    this.#now = now;
  }
  get revision(): number {
    return this.#revision;
  }

  get(plural: string, key: string): KubeObject | undefined {
    return this.#objects.get(`${plural}/${key}`);
  }
  all(plural: string): readonly KubeObject[] {
    return [...this.#objects].flatMap(([key, object]) => (key.startsWith(`${plural}/`) ? [object] : []));
  }
  apply(plural: string, object: { readonly metadata: Named } & Fields): KubeObject {
    const id = `${plural}/${NAMESPACE}/${object.metadata.name}`;
    const before = this.#objects.get(id);
    const stored = before === undefined ? this.#create(id, object) : this.#replace(id, before, merged(before, object));
    if (stored === undefined) throw new Error(`${id} is gone by this`);
    return stored;
  }
  applyStatus(plural: string, key: string, status: unknown): void {
    const id = `${plural}/${key}`;
    const before = this.#objects.get(id);
    if (before === undefined) throw new Error(`no ${id}`);
    this.#store(id, { ...before, status });
  }
  delete(plural: string, key: string): void {
    const id = `${plural}/${key}`;
    const before = this.#objects.get(id);
    if (before === undefined || before.metadata.deletionTimestamp !== undefined) return;
    this.#store(id, { ...before, metadata: { ...before.metadata, deletionTimestamp: this.#now() } });
  }
  before(point: PointClass, n: number, meddle: Meddle): void {
    this.#meddlers.set(`${point}#${n}`, meddle);
  }
  lose(point: PointClass, n: number): void {
    this.#lost.add(`${point}#${n}`);
  }

  async request(request: KubeRequest): Promise<KubeResponse> {
    if (request.method === "GET") return this.#read(request);
    const point = request.point?.class ?? null;
    const n = (this.#counts.get(String(point)) ?? 0) + 1;
    this.#counts.set(String(point), n);
    await this.#meddlers.get(`${point}#${n}`)?.();
    const answer = this.#write(request);
    if (answer.status < 300) {
      const { id } = placeOf(request.path);
      this.writes.push({ revision: this.#revision, point, path: request.path, object: this.#objects.get(id) });
    }
    if (this.#lost.has(`${point}#${n}`)) throw new NoAnswer("Ambiguous", "Timeout");
    return answer;
  }
  async stream(): Promise<never> {
    throw new Error("nobody watches here");
  }
  async close(): Promise<void> {}

  #read({ path, query = {} }: KubeRequest): KubeResponse {
    const { plural, name, id } = placeOf(path);
    if (name !== null) {
      const found = this.#objects.get(id);
      return found === undefined ? statusAnswer(404, "NotFound") : ok(structuredClone(found));
    }
    const [field = "", value] = (query["fieldSelector"] ?? "").split("=");
    const chosen = this.all(plural).filter(
      (object) => value === undefined || at(object as unknown as Json, `/${field.replaceAll(".", "/")}`) === value,
    );
    return ok({ metadata: { resourceVersion: String(this.#revision) }, items: structuredClone(chosen) });
  }

  #write({ method, path, body }: KubeRequest): KubeResponse {
    const { id, name, status } = placeOf(path);
    const given = structuredClone(body) as KubeObject;
    if (method === "POST") {
      const place = `${id}/${given.metadata.name}`;
      if (this.#objects.has(place)) return statusAnswer(409, "AlreadyExists");
      return { ...ok(structuredClone(this.#create(place, given))), status: 201 };
    }
    const before = this.#objects.get(id);
    if (name === null || before === undefined) return statusAnswer(404, "NotFound");
    const { resourceVersion, uid } = given.metadata ?? {};
    const isOld = resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion;
    if (isOld || (uid !== undefined && uid !== before.metadata.uid)) return statusAnswer(409, "Conflict");
    const next = method === "PATCH" ? merged(before, given) : given;
    const stored = status
      ? this.#store(id, { ...before, status: next["status"] })
      : this.#replace(id, before, { ...next, status: before["status"] });
    return ok(structuredClone(stored ?? before));
  }

  #create(id: string, object: { readonly metadata: Named } & Fields): KubeObject {
    this.#uids += 1;
    const metadata = { ...object.metadata, namespace: NAMESPACE, uid: `uid-${this.#uids}`, generation: 1 };
    return this.#store(id, { ...object, metadata: { ...metadata, resourceVersion: "0" } }) as KubeObject;
  }

  #replace(id: string, before: KubeObject, next: KubeObject): KubeObject | undefined {
    const changed = JSON.stringify(next["spec"]) !== JSON.stringify(before["spec"]);
    const generation = (before.metadata.generation ?? 1) + (changed ? 1 : 0);
    return this.#store(id, { ...next, metadata: { ...next.metadata, generation } });
  }

  /** Undefined: its last finalizer went, and so does it, with everything that it owned. */
  #store(id: string, object: KubeObject): KubeObject | undefined {
    this.#revision += 1;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#revision) } };
    const { deletionTimestamp, finalizers = [], uid } = stored.metadata;
    if (deletionTimestamp === undefined || finalizers.length > 0) {
      this.#objects.set(id, stored);
      return stored;
    }
    this.#objects.delete(id);
    for (const [key, { metadata }] of this.#objects) {
      if (metadata.ownerReferences?.some((owner) => owner.uid === uid) !== true) continue;
      const [plural = "", ...rest] = key.split("/");
      this.delete(plural, rest.join("/"));
    }
    return undefined;
  }
}

interface Place {
  readonly plural: string;
  readonly name: string | null;
  readonly status: boolean;
  /** Of the object, or of the collection. */
  readonly id: string;
}

function placeOf(path: string): Place {
  const found = /\/namespaces\/([^/]+)\/([^/]+)(?:\/([^/]+))?(\/status)?$/.exec(path);
  if (found === null) throw new Error(`no place for ${path}`);
  const [, namespace = "", plural = "", name, status] = found;
  const id = name === undefined ? `${plural}/${namespace}` : `${plural}/${namespace}/${name}`;
  return { plural, name: name ?? null, status: status !== undefined, id };
}

/** RFC 7386. */
function merged<T>(before: T, patch: unknown): T {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch as T;
  const next: Record<string, unknown> = { ...(before as Fields) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete next[name];
    else if (value !== undefined) next[name] = merged(Object(next[name]), value);
  }
  return next as T;
}
