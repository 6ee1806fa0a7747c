import type { KubeObject } from "../../src/kube/resource.ts";
import type { KubeRequest, KubeResponse } from "../../src/lib/seams.ts";
import { type FakeKube, ok, openFakeKube, type Reply, statusAnswer } from "./fake-kube-transport.ts";

const COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/system/leases";
const PATH = `${COLLECTION}/leader`;

/** One Lease `system/leader` with the API server's rules: optimistic concurrency, AlreadyExists, NotFound. */
export interface FakeLeaseServer {
  readonly kube: FakeKube;
  readonly lease: KubeObject | null;
  /** Fields of the record, as people see them. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** Writes that were accepted. */
  readonly writes: number;
  /** Somebody else's write. */
  put(spec: Readonly<Record<string, unknown>>): void;
  remove(): void;
  /** The next requests of this method are answered with these, after they were carried out if `committed`. */
  fail(
    method: KubeRequest["method"],
    ...failures: readonly { readonly reply: Reply; readonly committed?: boolean }[]
  ): void;
}

export function openFakeLeaseServer(): FakeLeaseServer {
  const kube = openFakeKube();
  let lease: KubeObject | null = null;
  let [version, writes] = [100, 0];
  const failures = new Map<string, { readonly reply: Reply; readonly committed?: boolean }[]>();

  const store = (spec: unknown): KubeObject => {
    version += 1;
    lease = { metadata: { name: "leader", namespace: "system", uid: "u", resourceVersion: String(version) }, spec };
    return lease;
  };
  const carryOut = ({ method, body }: KubeRequest): KubeResponse => {
    const { metadata, spec } = Object(body) as { metadata?: { resourceVersion?: string }; spec?: unknown };
    if (method === "POST" && lease !== null) return statusAnswer(409, "AlreadyExists");
    if (method !== "POST" && lease === null) return statusAnswer(404, "NotFound");
    if (method === "GET") return ok(lease);
    if (method === "PUT" && metadata?.resourceVersion !== lease?.metadata.resourceVersion)
      return statusAnswer(409, "Conflict");
    writes += 1;
    return ok(store(spec));
  };
  const serve = async (request: KubeRequest): Promise<KubeResponse> => {
    const failure = failures.get(request.method)?.shift();
    if (failure === undefined) return carryOut(request);
    if (failure.committed) carryOut(request);
    const reply = typeof failure.reply === "function" ? await failure.reply(request) : failure.reply;
    if (reply instanceof Error) throw reply;
    return { status: 200, headers: {}, body: null, ...reply };
  };
  for (const what of [`GET ${PATH}`, `PUT ${PATH}`, `POST ${COLLECTION}`]) kube.on(what, serve);
  return {
    kube,
    get lease() {
      return lease;
    },
    get spec() {
      return (lease?.spec ?? {}) as Readonly<Record<string, unknown>>;
    },
    get writes() {
      return writes;
    },
    put: (spec) => void store(spec),
    remove: () => {
      lease = null;
    },
    fail: (method, ...more) => {
      failures.set(method, [...(failures.get(method) ?? []), ...more]);
    },
  };
}
