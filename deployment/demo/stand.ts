import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { OPERATOR_NAMESPACE } from "../../src/api/group.ts";
import { minutes } from "../../src/lib/time.ts";
import { run } from "../local/command.ts";
import type { Environment } from "../local/environment.ts";
import type { Machine } from "../local/machine.ts";
import { makePrivateFolder, writePrivate } from "../local/private-file.ts";
import { type OperatorProcess, type ReceiverProcess, startOperator, startReceiver } from "./children.ts";
import { type Kubectl, openKubectl } from "./kubectl.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** Where a switch can be seen: a cluster, a Redis, a blue and a green receiver, and the operator between them. */
export interface Stand extends AsyncDisposable {
  readonly folder: string;
  readonly namespace: string;
  readonly kubectl: Kubectl;
  readonly redis: Redis;
  readonly blue: ReceiverProcess;
  readonly green: ReceiverProcess;
  readonly operatorLog: string;
  /** Starts the operator; the same identity each time, as a restarted container has. */
  startOperator(): Promise<OperatorProcess>;
}

export interface StandOptions {
  readonly environment: Environment;
  readonly namespace: string;
  /** A context of the person's own kubeconfig; null: the environment's control plane. */
  readonly context: string | null;
}

/** The ports that config/samples/ names. */
export const SAMPLE_PORTS = { blue: 18_081, green: 18_082 } as const;
const IDENTITY = "turnout-demo";

export async function openStand({ environment, namespace, context }: StandOptions, machine: Machine): Promise<Stand> {
  const { env, stateDir } = environment;
  await using opening = new AsyncDisposableStack();
  const folder = join(stateDir, "demo");
  await makePrivateFolder(folder);
  const tokenFile = join(folder, "gateway.token");
  await writePrivate(tokenFile, `${machine.rng.id()}${machine.rng.id()}\n`);
  const global = context === null ? [] : ["--context", context];
  const kubeEnv = context === null ? env : {};
  const kubectl = openKubectl({ file: env["KUBECTL"] ?? "kubectl", global, env: kubeEnv, machine });

  const blue = await receiver("blue", { folder, tokenFile }, machine);
  opening.defer(() => blue.stop());
  const green = await receiver("green", { folder, tokenFile }, machine);
  opening.defer(() => green.stop());
  const redis = new Redis(env["REDIS_URL"] ?? "", { lazyConnect: true, maxRetriesPerRequest: 1 });
  await redis.connect();
  opening.defer(() => redis.disconnect());

  await install(kubectl, namespace);
  const settings = join(folder, "settings.json");
  await writeFile(settings, JSON.stringify(settingsFor({ namespace, blue, green, env, folder }), null, 2));
  const operatorLog = join(folder, "operator.log");
  const args = [
    "--settings",
    settings,
    "--identity",
    IDENTITY,
    ...(context === null ? ["--kubeconfig", env["KUBECONFIG_OPERATOR"] ?? ""] : ["--context", context]),
  ];
  const token = (await readFile(tokenFile, "utf8")).trim();
  const started = opening.move();
  let operator: OperatorProcess | null = null;
  started.defer(async () => operator?.stop());
  return {
    folder,
    namespace,
    kubectl,
    redis,
    blue,
    green,
    operatorLog,
    startOperator: async () => {
      operator = await startOperator(
        { bundle: "dist/turnout.mjs", args, env: { TURNOUT_SECRET_GATEWAY: token }, log: operatorLog },
        machine,
      );
      return operator;
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

/** On the port that the samples name, else on a free one. */
async function receiver(
  unit: "blue" | "green",
  about: { readonly folder: string; readonly tokenFile: string },
  machine: Machine,
): Promise<ReceiverProcess> {
  try {
    return await startReceiver({ unit, port: SAMPLE_PORTS[unit], ...about }, machine);
  } catch {
    machine.print(`port ${SAMPLE_PORTS[unit]} is taken: receiver ${unit} takes a free one`);
    return startReceiver({ unit, port: 0, ...about }, machine);
  }
}

/** CRDs, admission policies, rights, namespaces: what the Helm chart will do. */
async function install(kubectl: Kubectl, namespace: string): Promise<void> {
  const files = ["crds", "admission", "deployment/install"].flatMap((folder) => ["-f", join(ROOT, folder)]);
  await kubectl.run("apply", "--server-side", "--force-conflicts", ...files);
  await kubectl.run(
    "wait",
    "--for=condition=Established",
    "--timeout=60s",
    "crd/switchtasks.turnout.dev",
    "crd/tenantstates.turnout.dev",
  );
  for (const name of [namespace, OPERATOR_NAMESPACE]) {
    await kubectl.run("create", "namespace", name).catch((error: unknown) => {
      if (!String(error).includes("AlreadyExists")) throw error;
    });
  }
}

interface SettingsFacts {
  readonly namespace: string;
  readonly blue: ReceiverProcess;
  readonly green: ReceiverProcess;
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
}

/** The settings file of the demo's operator: two named endpoints, nothing else reachable. */
function settingsFor({ namespace, blue, green, env }: SettingsFacts): unknown {
  const redis = env["REDIS_ADDRESS"] ?? "127.0.0.1:6379";
  const redisPort = Number(redis.slice(redis.lastIndexOf(":") + 1));
  const passwordFile = env["REDIS_PASSWORD_FILE"];
  const loopback = { allowedNamespaces: [namespace], cidrs: ["127.0.0.1/32"], tls: "None" };
  const receivers = [blue.port, green.port];
  return {
    operator: {
      listen: { host: "127.0.0.1", port: 0 },
      leaderElection: { enabled: true, name: "turnout-demo" },
      defaults: { retry: { maxAttempts: 3, backoff: { initial: "300ms", factor: 2, max: "3s" } } },
      ceiling: {
        cidrs: ["127.0.0.0/8"],
        ports: [redisPort, ...receivers],
        secretRoots: passwordFile === undefined ? [] : [join(passwordFile, "..")],
      },
    },
    endpoints: [
      {
        name: "im-gateway",
        protocol: "http",
        fencing: "Token",
        ...loopback,
        addresses: receivers.map((port) => `127.0.0.1:${port}`),
        ports: receivers,
        allow: { methods: ["GET", "PUT"], paths: ["/turnout/v1/tenants/"] },
        credentials: { bearer: { env: "TURNOUT_SECRET_GATEWAY" } },
      },
      {
        name: "routing",
        protocol: "redis",
        ...loopback,
        addresses: [redis],
        ports: [redisPort],
        allow: { keys: ["tenant:"] },
        ...(passwordFile === undefined ? {} : { credentials: { password: { file: passwordFile } } }),
      },
    ],
  };
}

/** Bundles the operator as it is shipped. */
export async function buildOperator(machine: Machine): Promise<void> {
  const { code, output } = await run(
    { file: process.execPath, args: [join(ROOT, "deployment", "build.ts")], timeout: minutes(2) },
    machine,
  );
  if (code !== 0) throw new Error(`the operator could not be built:\n${output}`);
}
