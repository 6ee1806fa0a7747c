import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { type ReceiverProcess, startReceiver } from "../../deployment/demo/children.ts";
import { type Kubectl, openKubectl } from "../../deployment/demo/kubectl.ts";
import { applyManifests } from "../../deployment/local/apply.ts";
import { type Machine, openMachine } from "../../deployment/local/machine.ts";
import { writePrivate } from "../../deployment/local/private-file.ts";
import { openRecorder } from "./recorder.ts";
import { type Document, type Env, openSpace, type Space } from "./stand-space.ts";

export type { Document, OperatorOptions, Space, TestOperator } from "./stand-space.ts";

/** One test's part of the environment: its own namespace, receivers, key prefix, lease and operators. */
export interface TestStand extends Space, AsyncDisposable {
  readonly folder: string;
  readonly machine: Machine;
  readonly env: Env;
  readonly kubectl: Kubectl;
  /** The same cluster as the plain users alice and bob. */
  readonly alice: Kubectl;
  readonly bob: Kubectl;
  readonly redis: Redis;
  readonly blue: ReceiverProcess;
  readonly green: ReceiverProcess;
  /** The settings file that operators of this stand read. */
  readonly settings: string;
  /** Another namespace on the same receivers and Redis; `options.spaces` says how many there may be. */
  space(): Promise<Space>;
}
export interface StandOptions {
  /** Laid over the settings of samples: endpoints by name, operator settings by key. */
  readonly operator?: Readonly<Record<string, unknown>>;
  readonly endpoints?: readonly Readonly<Record<string, unknown>>[];
  readonly spaces?: number;
  /** Promises that the test breaks by its own hand, by id; everything else is judged at the end (test/history). */
  readonly breaks?: readonly string[];
}

const ROOT = join(import.meta.dirname, "..", "..");
let stands = 0;
/** By kubeconfig: a file's tests may use several clusters. */
const installed = new Map<string, Promise<void>>();
function install(env: Env): Promise<void> {
  const cluster = env["KUBECONFIG_ADMIN"] ?? "";
  const known =
    installed.get(cluster) ??
    applyManifests(
      env,
      ["crds", "admission", "deployment/install"].map((path) => join(ROOT, path)),
    );
  installed.set(cluster, known);
  return known;
}

export async function openTestStand(env: Env, options: StandOptions = {}): Promise<TestStand> {
  stands += 1;
  const namespace = `t${process.pid}-${stands}`;
  const namespaces = [namespace, ...Array.from({ length: options.spaces ?? 0 }, (_, i) => `${namespace}-${i + 1}`)];
  await using opening = new AsyncDisposableStack();
  const machine = opening.use(await openMachine({ print: () => {} }));
  const folder = await mkdtemp(join(tmpdir(), "turnout-stand-"));
  opening.defer(() => rm(folder, { recursive: true, force: true }));
  await install(env);
  const as = (key: string): Kubectl =>
    openKubectl({ file: env["KUBECTL"] ?? "kubectl", global: ["--kubeconfig", env[key] ?? ""], env, machine });
  const kubectl = as("KUBECONFIG_ADMIN");

  const tokenFile = join(folder, "token");
  const token = `${machine.rng.id()}${machine.rng.id()}`;
  await writePrivate(tokenFile, `${token}\n`);
  const [blue, green] = await Promise.all([
    startReceiver({ unit: "blue", port: 0, folder, tokenFile }, machine),
    startReceiver({ unit: "green", port: 0, folder, tokenFile }, machine),
  ]);
  opening.defer(async () => void (await Promise.all([blue.stop(), green.stop()])));
  const redis = new Redis(env["REDIS_URL"] ?? "", { lazyConnect: true });
  await redis.connect();
  opening.defer(() => redis.disconnect());
  const settings = join(folder, "settings.json");
  await writeFile(settings, JSON.stringify(settingsOf({ namespaces, env, blue, green }, options), null, 2));

  const recorder = await openRecorder({
    env,
    receivers: [blue, green],
    folder,
    secrets: [token, (await readFile(env["REDIS_PASSWORD_FILE"] ?? "", "utf8")).trim()],
    unfenced: unfencedOf(options),
    breaks: options.breaks ?? [],
  });
  opening.use(recorder);
  const open = async (name: string): Promise<Space> => {
    await kubectl.run("create", "namespace", name);
    const space = await openSpace({
      namespace: name,
      folder,
      env,
      machine,
      kubectl,
      settings,
      token,
      closing: started,
    });
    recorder.follow(name, space.record);
    return space;
  };
  const started = opening.move();
  const first = await open(namespace).catch(async (error: unknown) => {
    await started.disposeAsync();
    throw error;
  });
  const spare = namespaces.slice(1);
  return {
    ...first,
    folder,
    machine,
    env,
    kubectl,
    alice: as("KUBECONFIG_USER"),
    bob: as("KUBECONFIG_USER2"),
    redis,
    blue,
    green,
    settings,
    space: () => {
      const name = spare.shift();
      if (name === undefined) throw new Error(`the stand has ${namespaces.length - 1} more namespaces`);
      return open(name);
    },
    [Symbol.asyncDispose]: async () => {
      const broken = await recorder.verdict();
      await started.disposeAsync();
      if (broken.length > 0) throw new Error(`the history of ${namespace} breaks promises:\n${broken.join("\n")}`);
    },
  };
}

const unfencedOf = ({ endpoints = [] }: StandOptions): Parameters<typeof openRecorder>[0]["unfenced"] =>
  endpoints.flatMap(({ name, fencing, ports }) =>
    fencing === "None" ? [{ name: String(name), ports: (ports ?? []) as readonly number[] }] : [],
  );

interface Settings {
  readonly operator: Readonly<Record<string, unknown>>;
}

interface Facts {
  readonly namespaces: readonly string[];
  readonly env: Env;
  readonly blue: ReceiverProcess;
  readonly green: ReceiverProcess;
}

/** Short waits, so that tests of retries end soon; the defaults of the product are tested where they are defined. */
function settingsOf(
  { namespaces, env, blue, green }: Facts,
  options: StandOptions,
): Settings & { readonly endpoints: readonly unknown[] } {
  const redis = env["REDIS_ADDRESS"] ?? "";
  const redisPort = Number(redis.slice(redis.lastIndexOf(":") + 1));
  const receivers = [blue.port, green.port];
  const loopback = { tls: "None", allowedNamespaces: namespaces, cidrs: ["127.0.0.1/32"] };
  const known: readonly Readonly<Record<string, unknown>>[] = [
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
      allow: { keys: namespaces.map((namespace) => `${namespace}:`) },
      credentials: { password: { file: env["REDIS_PASSWORD_FILE"] ?? "" } },
    },
  ];
  const given = options.endpoints ?? [];
  const names = new Set(given.map(({ name }) => name));
  return {
    operator: {
      log: { level: "info" },
      listen: { host: "127.0.0.1", port: 0 },
      defaults: {
        attemptTimeout: "4s",
        instanceTimeout: "1500ms",
        retry: { maxAttempts: 3, backoff: { initial: "100ms", factor: 2, max: "400ms" } },
      },
      ceiling: {
        cidrs: ["127.0.0.0/8"],
        ports: [redisPort, ...receivers, ...portsOf(given)],
        secretRoots: [join(env["REDIS_PASSWORD_FILE"] ?? "", "..")],
      },
      ...options.operator,
    },
    endpoints: [
      ...known.filter(({ name }) => !names.has(name)),
      ...given.map((endpoint) => ({ ...loopback, ...endpoint })),
    ],
  };
}

const portsOf = (endpoints: readonly Readonly<Record<string, unknown>>[]): readonly unknown[] =>
  endpoints.flatMap(({ ports }) => (Array.isArray(ports) ? (ports as readonly unknown[]) : []));

export interface TaskAbout {
  readonly name?: string;
  readonly tenantId?: string;
  readonly stages?: readonly unknown[];
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A switch of a tenant from blue to green; stages as given, else route, notify, check. */
export function aSwitch(
  stand: Pick<TestStand, "blue" | "green" | "namespace">,
  { name = "acme-green", tenantId = "acme", stages, spec = {}, annotations }: TaskAbout = {},
): Document {
  const endpoint = (port: number): unknown => ({ key: "im-gateway", host: "127.0.0.1", port });
  return {
    apiVersion: "turnout.dev/v1alpha1",
    kind: "SwitchTask",
    metadata: { name, namespace: stand.namespace, ...(annotations === undefined ? {} : { annotations }) },
    spec: {
      tenantId,
      plan: { id: 17, version: 42 },
      target: {
        deployUnit: { id: 2, name: "green", version: 7 },
        endpoints: [endpoint(stand.green.port)],
        parameters: { trunkGroup: "tg-2" },
      },
      previous: {
        deployUnit: { id: 1, name: "blue", version: 6 },
        endpoints: [endpoint(stand.blue.port)],
        parameters: { trunkGroup: "tg-1" },
        planVersion: 41,
      },
      stages: stages ?? [ROUTE(stand.namespace), NOTIFY, CHECK],
      ...spec,
    },
  } as unknown as Document;
}

export const ROUTE = (namespace: string): unknown => ({
  name: "route",
  redis: {
    endpoint: "routing",
    key: `${namespace}:\${tenantId}`,
    hash: { fields: { unit: "${target.deployUnit.name}" } },
    versionField: "version",
    publish: {
      channel: `${namespace}-switch`,
      payload: { tenant: "${namespace}/${tenantId}", version: "${plan.version}" },
    },
  },
});
const TO = { endpoint: "im-gateway", to: { key: "im-gateway", select: "All" } };
export const NOTIFY: unknown = { name: "notify", http: TO };
export const CHECK: unknown = { name: "check", verify: { ...TO, interval: "150ms", rounds: 10 } };
export const SOAK = (duration: string): unknown => ({ name: "soak", wait: { duration } });
