import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { openEnvironment, type Environment } from "../../deployment/local/environment.ts";
import { applyManifests } from "../../deployment/local/apply.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { plainBoundary } from "../../src/lib/seams.ts";
import { openClient, type KubeClient } from "../../src/kube/client.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { loadConnection } from "../../src/kube/connection.ts";
import { openTransport } from "../../src/kube/transport.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export interface BenchCluster extends AsyncDisposable {
  readonly environment: Environment;
  readonly env: Readonly<Record<string, string>>;
  /** As the admin, over kept connections like the operator's. */
  readonly client: KubeClient;
  readonly pids: { readonly apiserver: number; readonly etcd: number };
  /** Where operators leave their CPU profiles; null: they make none. */
  readonly profiles: string | null;
  /** Status PUTs of SwitchTasks that the API server has answered with 200. */
  statusWrites(): Promise<number>;
}

export async function openBenchCluster(machine: Machine, profiles: string | null): Promise<BenchCluster> {
  await using opening = new AsyncDisposableStack();
  const environment = opening.use(await openEnvironment({ with: [], print: machine.print, signal: machine.signal }));
  await applyManifests(
    environment.env,
    ["crds", "admission", "deployment/install"].map((path) => join(ROOT, path)),
  );
  const kubeconfig = environment.env["KUBECONFIG_ADMIN"] ?? "";
  const transport = openTransport(loadConnection({ inCluster: false, kubeconfig }), {
    clock: systemClock,
    boundary: plainBoundary,
  });
  opening.defer(() => transport.close());
  const client = openClient(transport, { clock: systemClock });
  const pid = (name: "kube-apiserver" | "etcd"): number => environment.server(name).pid ?? 0;
  const open = opening.move();
  return {
    environment,
    env: environment.env,
    client,
    profiles,
    pids: { apiserver: pid("kube-apiserver"), etcd: pid("etcd") },
    statusWrites: async () => countStatusWrites(environment.env),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function countStatusWrites(env: Readonly<Record<string, string>>): Promise<number> {
  const text = await metricsText(env);
  const lines = text.matchAll(/^apiserver_request_total\{([^}]*)\} (\d+(?:\.\d+)?(?:e\+\d+)?)/gm);
  let sum = 0;
  for (const [, labels = "", count = "0"] of lines) {
    const ours =
      labels.includes('resource="switchtasks"') &&
      labels.includes('subresource="status"') &&
      labels.includes('verb="PUT"') &&
      labels.includes('code="200"');
    if (ours) sum += Number(count);
  }
  return sum;
}

async function metricsText(env: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await promisify(execFile)(
    env["KUBECTL"] ?? "kubectl",
    ["--kubeconfig", env["KUBECONFIG_ADMIN"] ?? "", "get", "--raw", "/metrics"],
    { maxBuffer: 256 * 1024 * 1024, env: { ...process.env, ...env } },
  );
  return stdout;
}
