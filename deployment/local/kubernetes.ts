import { join } from "node:path";

import { seconds } from "../../src/lib/time.ts";
import type { ControlPlaneBinary } from "./control-plane.ts";
import { etcdServer } from "./etcd.ts";
import type { Credentials } from "./identities.ts";
import { answersHttp } from "./probe.ts";
import type { ServerSpec } from "./server.ts";

export interface KubernetesLayout {
  readonly stateDir: string;
  readonly binaries: Readonly<Record<ControlPlaneBinary, string>>;
  readonly credentials: Credentials;
  readonly ports: Readonly<Record<ControlPlaneBinary, number>>;
  /** Where the API server logs who wrote what; null: it does not. */
  readonly auditLog: string | null;
  readonly env: Readonly<Record<string, string>>;
}

/** Megabytes: a log that is cut in two has a gap. */
const NEVER_ROTATED = "--audit-log-maxsize=100000";
const AUDIT_POLICY = join(import.meta.dirname, "audit-policy.yaml");

export const apiServerUrl = ({ ports }: KubernetesLayout): string => `https://127.0.0.1:${ports["kube-apiserver"]}`;
export const etcdUrl = ({ ports }: KubernetesLayout): string => `http://127.0.0.1:${ports.etcd}`;
/** The certificate that the API server makes for itself, which is its own authority. */
export const apiServerCa = ({ stateDir }: KubernetesLayout): string => join(stateDir, "certs", "apiserver.crt");

export function etcdSpec({ stateDir, binaries, ports, env }: KubernetesLayout): ServerSpec {
  return etcdServer({ name: "etcd", stateDir, file: binaries.etcd, port: ports.etcd, env });
}

export function apiServerSpec(layout: KubernetesLayout): ServerSpec {
  const { credentials, ports, stateDir, auditLog } = layout;
  const url = apiServerUrl(layout);
  return {
    ...common("kube-apiserver", layout),
    dataDir: null,
    // It waits 60 s for clients to leave (measured), and has nothing to put in order.
    endsWithin: seconds(1),
    args: [
      `--etcd-servers=${etcdUrl(layout)}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${ports["kube-apiserver"]}`,
      `--cert-dir=${join(stateDir, "certs")}`,
      "--endpoint-reconciler-type=none",
      "--service-cluster-ip-range=10.0.0.0/24",
      "--authorization-mode=RBAC",
      "--anonymous-auth=false",
      // No kubelet runs here: nothing would ever mount the token.
      "--disable-admission-plugins=ServiceAccount",
      "--allow-privileged=true",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${credentials.serviceAccountKey}`,
      `--service-account-signing-key-file=${credentials.serviceAccountKey}`,
      `--token-auth-file=${credentials.tokenFile}`,
      ...(auditLog === null
        ? []
        : [`--audit-policy-file=${AUDIT_POLICY}`, `--audit-log-path=${auditLog}`, NEVER_ROTATED]),
    ],
    isHealthy: () =>
      answersHttp({ url: `${url}/readyz`, caFile: apiServerCa(layout), token: credentials.tokens.admin }),
  };
}

const CONTROLLERS = [
  "namespace-controller",
  "garbage-collector-controller",
  "serviceaccount-controller",
  "deployment-controller",
  "replicaset-controller",
  "endpointslice-controller",
  "job-controller",
];

export function controllerManagerSpec(layout: KubernetesLayout): ServerSpec {
  const port = layout.ports["kube-controller-manager"];
  const certificates = join(layout.stateDir, "certs");
  return {
    ...common("kube-controller-manager", layout),
    dataDir: null,
    args: [
      `--kubeconfig=${layout.credentials.kubeconfigOf("controller-manager")}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${port}`,
      `--cert-dir=${certificates}`,
      "--leader-elect=false",
      `--controllers=${CONTROLLERS.join(",")}`,
      `--service-account-private-key-file=${layout.credentials.serviceAccountKey}`,
    ],
    isHealthy: () =>
      answersHttp({
        url: `https://127.0.0.1:${port}/healthz`,
        caFile: join(certificates, "kube-controller-manager.crt"),
        token: layout.credentials.tokens.admin,
      }),
  };
}

function common(name: ControlPlaneBinary, { binaries, ports, stateDir, env }: KubernetesLayout) {
  return {
    name,
    address: `127.0.0.1:${ports[name]}`,
    file: binaries[name],
    env,
    logFile: join(stateDir, "logs", `${name}.log`),
    endsWithin: seconds(10),
  };
}
