import { type Cluster, KubeConfig } from "@kubernetes/client-node";

import { hexDigest } from "../lib/digest.ts";

/** Chain and name are always verified; there is no way to turn that off. */
export interface TlsIdentity {
  /** PEM; null: the authorities that Node ships. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** Name that the certificate must carry; null: the host of the server. */
  readonly servername: string | null;
}

export interface Credentials {
  /** Sent with every request, to this server only: Authorization, Impersonate-User. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsIdentity;
}

export interface KubeConnection {
  /** `https://host:port` */
  readonly origin: string;
  /** Empty, or the path under which a gateway serves this API server: `/k8s/clusters/c1`. */
  readonly basePath: string;
  /** For messages: which entry of which file is used. */
  readonly user: string;
  /** Reads files and asks plugins anew; `fresh` demands that nothing remembered is used. */
  read(fresh: boolean): Promise<Credentials>;
}

export interface ConnectionChoice {
  readonly inCluster: boolean;
  /** Path of the kubeconfig; without it KUBECONFIG, then ~/.kube/config. Not looked at in a pod. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Folder under which the pod's service account is mounted; empty in a pod. */
  readonly root?: string;
}

/** The kubeconfig or the pod's environment cannot be used; the message says why and what to do. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
}

/** @throws ConnectionError */
export function loadConnection(choice: ConnectionChoice): KubeConnection {
  const first = load(choice);
  const cluster = first.getCurrentCluster();
  const user = first.getCurrentUser();
  if (cluster === null || user === null) throw new ConnectionError(noContext(first, choice));
  const url = serverOf(cluster, choice);
  // Plugins keep what they got until it expires; asking them once a minute would start a process each time.
  const isRemembered = Boolean(user.exec ?? user.authProvider) && !choice.inCluster;
  let config = first;
  return {
    origin: url.origin,
    basePath: url.pathname.replace(/\/+$/, ""),
    user: choice.inCluster ? "the pod's service account" : `user ${user.name} of context ${first.getCurrentContext()}`,
    async read(fresh) {
      if (fresh || !isRemembered) config = load(choice);
      return credentialsOf(config);
    },
  };
}

function load({ inCluster, kubeconfig, context, root }: ConnectionChoice): KubeConfig {
  const config = new KubeConfig();
  try {
    if (inCluster) config.loadFromCluster(root);
    else if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "not a kubeconfig";
    throw new ConnectionError(`cannot read ${kubeconfig ?? "the kubeconfig"} (${code}): check the path and the file`, {
      cause,
    });
  }
  if (context !== undefined) config.setCurrentContext(context);
  return config;
}

function noContext(config: KubeConfig, { kubeconfig = "the kubeconfig" }: ConnectionChoice): string {
  const known = config.getContexts().map(({ name }) => name);
  const wanted = config.getCurrentContext() ?? "none";
  return `${kubeconfig}: context ${wanted} has no cluster and user; it knows ${known.join(", ") || "no contexts"}: name one with --context`;
}

function serverOf(cluster: Cluster, { inCluster }: ConnectionChoice): URL {
  const says = `cluster ${cluster.name}`;
  if (inCluster && !URL.canParse(cluster.server)) {
    throw new ConnectionError(
      "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; name a kubeconfig",
    );
  }
  if (!URL.canParse(cluster.server)) throw new ConnectionError(`${says}: server ${cluster.server} is no URL`);
  const url = new URL(cluster.server);
  if (url.protocol !== "https:")
    throw new ConnectionError(`${says}: ${url.protocol}// is refused, a token would be sent in clear: use https`);
  if (cluster.skipTLSVerify)
    throw new ConnectionError(`${says}: insecure-skip-tls-verify is refused: add certificate-authority instead`);
  if (cluster.proxyUrl) throw new ConnectionError(`${says}: proxy-url is refused: connect without a proxy`);
  return url;
}

interface HttpsOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly auth?: string;
  readonly ca?: Buffer | string;
  readonly cert?: Buffer | string;
  readonly key?: Buffer | string;
  readonly servername?: string;
}

async function credentialsOf(config: KubeConfig): Promise<Credentials> {
  const filled = {};
  await config.applyToHTTPSOptions(filled);
  const { headers = {}, auth, ca, cert, key, servername }: HttpsOptions = filled;
  const basic = auth === undefined ? {} : { Authorization: `Basic ${Buffer.from(auth).toString("base64")}` };
  const trimmed = Object.entries({ ...headers, ...basic }).map(
    ([name, value]) => [name.toLowerCase(), value.trim()] as const,
  );
  return {
    headers: Object.fromEntries(trimmed),
    tls: { ca: textOf(ca), cert: textOf(cert), key: textOf(key), servername: servername ?? null },
  };
}

const textOf = (pem: Buffer | string | undefined): string | null => pem?.toString() ?? null;

/** Equal for equal identities: a change means new connections (SEC-29). */
export const tlsDigest = ({ ca, cert, key, servername }: TlsIdentity): string =>
  hexDigest(...[ca, cert, key, servername].map((part) => (part === null ? "-" : `+${part}`)));
