import { statfs } from "node:fs/promises";
import { join } from "node:path";

import { applyAs } from "./apply.ts";
import { controlPlaneBinaries } from "./control-plane.ts";
import { freeSpace } from "./cache.ts";
import type { Identity, Place } from "./extra.ts";
import { type Extra, EXTRA_SERVERS } from "./extras.ts";
import { createCredentials, type Credentials, writeKubeconfigs } from "./identities.ts";
import { kubectlAndHelm } from "./kubectl.ts";
import {
  apiServerCa,
  apiServerSpec,
  apiServerUrl,
  controllerManagerSpec,
  etcdSpec,
  etcdUrl,
  type KubernetesLayout,
} from "./kubernetes.ts";
import type { Machine } from "./machine.ts";
import { reservePort } from "./ports.ts";
import { makePrivateFolder } from "./private-file.ts";
import { PROBLEM } from "./problem.ts";
import { LocalServer, type Server, type ServerSpec } from "./server.ts";

export interface Wanted {
  readonly stateDir: string;
  readonly with: readonly Extra[];
  readonly audit?: boolean;
  readonly identity?: Identity;
  /** false: only the servers beside it; a cluster that runs elsewhere is used. */
  readonly controlPlane?: boolean;
  /** The data is deleted at the end: no server needs time to put it in order. */
  readonly isEphemeral: boolean;
}

export interface Started {
  readonly servers: readonly Server[];
  readonly env: Readonly<Record<string, string>>;
}

const BOOTSTRAP = join(import.meta.dirname, "bootstrap.yaml");
const LEAST_SPACE = 500e6;

/** Starts the servers in the order in which they need each other. What has to be undone at the end is put on the stack. */
export async function startServers(wanted: Wanted, machine: Machine, atEnd: AsyncDisposableStack): Promise<Started> {
  const { stateDir } = wanted;
  const space = await statfs(stateDir);
  if (space.bavail * space.bsize < LEAST_SPACE)
    throw PROBLEM.diskFull({ path: stateDir, free: await freeSpace(stateDir) });
  for (const folder of ["logs", "data", "certs", "kube-cache", "secrets"])
    await makePrivateFolder(join(stateDir, folder));

  const launch = launcher(wanted, machine, atEnd);
  const env = serverVariables(stateDir, machine);
  const tools = await kubectlAndHelm(machine);
  const secured = wanted.identity === undefined ? {} : { identity: wanted.identity };
  const extras = await prepareExtras(wanted.with, { stateDir, env, port: launch.port, ...secured }, machine);
  const beside = (): Promise<void> => together(extras.specs.map((spec) => launch.start(spec)));
  const given = { TURNOUT_STATE: stateDir, KUBECTL: tools.kubectl, HELM: tools.helm, ...extras.env };
  if (wanted.controlPlane === false) {
    await beside();
    return { servers: launch.servers, env: given };
  }
  const kubernetes = await startControlPlane(wanted, { machine, launch, beside, env, kubectl: tools.kubectl });
  return { servers: launch.servers, env: { ...kubernetes, ...given } };
}

interface Around {
  readonly machine: Machine;
  readonly launch: Launcher;
  /** Starts what needs no control plane, while the API server starts. */
  readonly beside: () => Promise<void>;
  readonly env: Readonly<Record<string, string>>;
  readonly kubectl: string;
}

async function startControlPlane(
  { stateDir, audit }: Wanted,
  { machine, launch, beside, env, kubectl }: Around,
): Promise<Readonly<Record<string, string>>> {
  const binaries = await controlPlaneBinaries(machine);
  const credentials = await createCredentials(join(stateDir, "secrets"), machine.rng);
  const layout: KubernetesLayout = {
    stateDir,
    binaries,
    credentials,
    ports: {
      etcd: await launch.port(),
      "kube-apiserver": await launch.port(),
      "kube-controller-manager": await launch.port(),
    },
    auditLog: audit === true ? join(stateDir, "logs", "audit.log") : null,
    env,
  };
  await launch.start(etcdSpec(layout));
  await together([launch.start(apiServerSpec(layout)), beside()]);
  await writeKubeconfigs(credentials, { url: apiServerUrl(layout), caFile: apiServerCa(layout) });
  const kubernetes = kubernetesEnv(layout);
  await together([
    launch.start(controllerManagerSpec(layout)),
    applyAs({ ...kubernetes, KUBECTL: kubectl }, [BOOTSTRAP], machine),
  ]);
  return kubernetes;
}

interface Launcher {
  readonly servers: readonly Server[];
  readonly port: () => Promise<number>;
  readonly start: (spec: ServerSpec) => Promise<void>;
}

function launcher({ isEphemeral }: Wanted, machine: Machine, atEnd: AsyncDisposableStack): Launcher {
  const servers: Server[] = [];
  return {
    servers,
    async port() {
      const port = await reservePort(machine);
      atEnd.defer(port.release);
      return port.number;
    },
    async start(spec) {
      const server = new LocalServer(spec, machine);
      servers.push(server);
      atEnd.defer(() => server.stop(isEphemeral ? "SIGKILL" : "SIGTERM"));
      await server.start();
    },
  };
}

/** Waits for all, then throws what the first of them threw. */
async function together(works: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(works)) if (result.status === "rejected") throw result.reason;
}

/** What a server sees of our variables: some (ETCD_…) would change what it does. */
function serverVariables(stateDir: string, { variables }: Machine): Readonly<Record<string, string>> {
  const { PATH = "", TURNOUT_RUN } = variables;
  return { PATH, HOME: stateDir, TMPDIR: stateDir, ...(TURNOUT_RUN === undefined ? {} : { TURNOUT_RUN }) };
}

interface PreparedExtras {
  readonly specs: readonly ServerSpec[];
  readonly env: Readonly<Record<string, string>>;
}

async function prepareExtras(names: readonly Extra[], place: Place, machine: Machine): Promise<PreparedExtras> {
  const specs: ServerSpec[] = [];
  let env: Readonly<Record<string, string>> = {};
  for (const name of new Set(names)) {
    const prepared = await EXTRA_SERVERS[name].prepare(place, machine);
    if (prepared.spec !== null) specs.push(prepared.spec);
    env = { ...env, ...prepared.env };
  }
  return { specs, env };
}

function kubernetesEnv(layout: KubernetesLayout): Record<string, string> {
  const of = (name: keyof Credentials["tokens"]): string => layout.credentials.kubeconfigOf(name);
  return {
    KUBECONFIG: of("admin"),
    KUBECONFIG_ADMIN: of("admin"),
    KUBECONFIG_OPERATOR: of("operator"),
    KUBECONFIG_USER: of("alice"),
    KUBECONFIG_USER2: of("bob"),
    // kubectl's own discovery cache, which would lie in ~/.kube.
    KUBECACHEDIR: join(layout.stateDir, "kube-cache"),
    APISERVER_URL: apiServerUrl(layout),
    ETCD_URL: etcdUrl(layout),
    ...(layout.auditLog === null ? {} : { AUDIT_LOG: layout.auditLog }),
  };
}
