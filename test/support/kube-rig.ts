import { onTestFinished } from "vitest";

import { type KubeClient, openClient, type RequestSeen } from "../../src/kube/client.ts";
import { type KubeConnection, loadConnection } from "../../src/kube/connection.ts";
import { isKind } from "../../src/kube/errors.ts";
import type { KubeObject, Resource } from "../../src/kube/resource.ts";
import { openTransport } from "../../src/kube/transport.ts";
import { type Boundary, type KubeTransport, plainBoundary, type Point } from "../../src/lib/seams.ts";
import { until } from "./egress/until.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { wallClock } from "./wall-clock.ts";

export const POINT: Point = { class: "api/create", subject: null };
export const NAMESPACES: Resource = {
  group: "",
  version: "v1",
  plural: "namespaces",
  kind: "Namespace",
  namespaced: false,
};
export const CRDS: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};

export interface KubeRig {
  readonly client: KubeClient;
  readonly transport: KubeTransport;
  readonly seen: RequestSeen[];
}

export interface RigOptions {
  /** Path of a kubeconfig. */
  readonly kubeconfig: string;
  /** Speak through it, over one connection a lane, so that a rule meets the connection that is in use. */
  readonly proxy?: TcpProxy;
  readonly boundary?: Boundary;
}

/** A client of the real API server, closed with the test. */
export function openKubeRig({ kubeconfig, proxy, boundary = plainBoundary }: RigOptions): KubeRig {
  const connection = loadConnection({ inCluster: false, kubeconfig });
  const seen: RequestSeen[] = [];
  const spoilt = proxy === undefined ? {} : { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } };
  const through = proxy === undefined ? connection : throughProxy(connection, proxy);
  const transport = openTransport(through, { clock: wallClock, boundary, ...spoilt });
  onTestFinished(() => transport.close());
  return {
    transport,
    seen,
    client: openClient(transport, { clock: wallClock, onRequest: (request) => seen.push(request) }),
  };
}

/** The API server's certificate names 127.0.0.1, whatever the port. */
const throughProxy = (connection: KubeConnection, { port }: TcpProxy): KubeConnection => ({
  ...connection,
  origin: `https://127.0.0.1:${port}`,
});

export async function openApiProxy(kubeconfig: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(loadConnection({ inCluster: false, kubeconfig }).origin);
  const proxy = await openTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

let made = 0;
/** `kube-PURPOSE-PID-N`: of this process and call alone. */
export const aName = (purpose: string): string => `kube-${purpose}-${process.pid}-${(made += 1)}`;

/** A namespace of its own, deleted with the test. */
export async function aNamespace(client: KubeClient, purpose: string): Promise<string> {
  const { metadata } = await client.create(NAMESPACES, { metadata: { name: aName(purpose) } }, { point: POINT });
  onTestFinished(() =>
    client.delete(NAMESPACES, { namespace: null, name: metadata.name }, { uid: metadata.uid }, { point: POINT }),
  );
  return metadata.name;
}

export interface ScratchKind {
  readonly resource: Resource;
  remove(): Promise<void>;
}

/**
 * A kind of its own: spec is `{colour, size}`, status keeps what it does not know, `spec.colour` and `status.phase` are
 * selectable. It takes seconds to be served, so the tests of a file share one.
 */
export async function openScratchKind(kubeconfig: string): Promise<ScratchKind> {
  const connection = loadConnection({ inCluster: false, kubeconfig });
  const transport = openTransport(connection, { clock: wallClock, boundary: plainBoundary });
  const client = openClient(transport, { clock: wallClock });
  const plural = `w${process.pid}x${(made += 1)}s`;
  const kind = plural.toUpperCase();
  const resource: Resource = { group: "test.kube-runtime.local", version: "v1", plural, kind, namespaced: true };
  const { metadata } = await client.create(CRDS, definitionOf(resource), { point: POINT });
  // A list is 404 until the kind is served, then 429 until its storage is initialised.
  const served = (): Promise<string> =>
    client.list(resource, { namespace: null }).then(
      () => "served",
      (error: unknown) => (isKind(error, "NotFound", "Throttled") ? error.message : Promise.reject(error as Error)),
    );
  await until(served, (state) => state === "served", 20_000);
  return {
    resource,
    async remove() {
      await client.delete(CRDS, { namespace: null, name: metadata.name }, { uid: metadata.uid }, { point: POINT });
      await transport.close();
    },
  };
}

function definitionOf({ group, version, plural, kind }: Resource) {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const spec = { type: "object", properties: { colour: { type: "string" }, size: { type: "integer", maximum: 100 } } };
  const status = { ...open, properties: { phase: { type: "string" } } };
  return {
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural, singular: plural.slice(0, -1), kind, listKind: `${kind}List` },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          selectableFields: [{ jsonPath: ".spec.colour" }, { jsonPath: ".status.phase" }],
          schema: { openAPIV3Schema: { type: "object", properties: { spec, status } } },
        },
      ],
    },
  };
}

export interface Scratch {
  readonly client: KubeClient;
  readonly resource: Resource;
  readonly namespace: string;
}

export const createScratch = (
  { client, resource, namespace }: Scratch,
  name: string,
  spec: unknown = {},
): Promise<KubeObject> => client.create(resource, { metadata: { namespace, name }, spec }, { point: POINT });
