import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import {
  type OperatorProcess,
  type ReceiverProcess,
  startOperator,
  startReceiver,
} from "../../deployment/demo/children.ts";
import { command, type Kubectl, openKubectl } from "../../deployment/demo/kubectl.ts";
import { applyManifests } from "../../deployment/local/apply.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { type Machine, openMachine } from "../../deployment/local/machine.ts";
import { writePrivate } from "../../deployment/local/private-file.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { type Millis, seconds } from "../../src/lib/time.ts";

type Env = Readonly<Record<string, string>>;
export type Document = Readonly<Record<string, Json>>;

/** One test's part of the environment: its own namespace, receivers, key prefix, lease and operators. */
export interface TestStand extends AsyncDisposable {
  readonly namespace: string;
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
  /** Starts an operator; they may be several. `boundary` and `clock` reach the test entry only. */
  operator(options?: OperatorOptions): Promise<TestOperator>;
  create(manifest: unknown): Promise<void>;
  task(name: string): Promise<Document>;
  tenant(name: string): Promise<Document>;
  patch(name: string, control: unknown): Promise<void>;
  /** Polls the task until `right` holds. @throws with what was seen last */
  until(name: string, what: string, right: (task: Document) => boolean, timeout?: Millis): Promise<Document>;
  phase(name: string, phase: string, timeout?: Millis): Promise<Document>;
}
export interface OperatorOptions {
  readonly identity?: string;
  /** Lease name; null (default): no election, which must not save a test. */
  readonly lease?: string | null;
  readonly boundary?: string;
  readonly clock?: string;
  readonly env?: Env;
}
export interface TestOperator extends OperatorProcess {
  readonly log: string;
}
export interface StandOptions {
  /** Laid over the settings of samples: endpoints by name, operator settings by key. */
  readonly operator?: Readonly<Record<string, unknown>>;
  readonly endpoints?: readonly Readonly<Record<string, unknown>>[];
}

const ROOT = join(import.meta.dirname, "..", "..");
let stands = 0;
let installed: Promise<void> | null = null;

export async function openTestStand(env: Env, options: StandOptions = {}): Promise<TestStand> {
  stands += 1;
  const namespace = `t${process.pid}-${stands}`;
  await using opening = new AsyncDisposableStack();
  const machine = opening.use(await openMachine({ print: () => {} }));
  const folder = await mkdtemp(join(tmpdir(), "turnout-stand-"));
  opening.defer(() => rm(folder, { recursive: true, force: true }));
  installed ??= applyManifests(
    env,
    ["crds", "admission", "deployment/install"].map((path) => join(ROOT, path)),
  );
  await installed;
  const as = (key: string): Kubectl =>
    openKubectl({ file: env["KUBECTL"] ?? "kubectl", global: ["--kubeconfig", env[key] ?? ""], env, machine });
  const kubectl = as("KUBECONFIG_ADMIN");
  await kubectl.run("create", "namespace", namespace);

  const tokenFile = join(folder, "token");
  const token = `${machine.rng.id()}${machine.rng.id()}`;
  await writePrivate(tokenFile, `${token}\n`);
  const blue = await startReceiver({ unit: "blue", port: 0, folder, tokenFile }, machine);
  opening.defer(() => blue.stop());
  const green = await startReceiver({ unit: "green", port: 0, folder, tokenFile }, machine);
  opening.defer(() => green.stop());
  const redis = new Redis(env["REDIS_URL"] ?? "", { lazyConnect: true });
  await redis.connect();
  opening.defer(() => redis.disconnect());
  const settings = join(folder, "settings.json");
  await writeFile(settings, JSON.stringify(settingsOf({ namespace, env, blue, green }, options), null, 2));

  const started = opening.move();
  let operators = 0;
  const task = async (name: string): Promise<Document> =>
    (await kubectl.json("get", "swt", name, "-n", namespace)) as Document;
  const until = async (
    name: string,
    what: string,
    right: (task: Document) => boolean,
    timeout = seconds(30),
  ): Promise<Document> => {
    let seen: Document = {};
    await poll(
      async () => {
        seen = await task(name);
        return right(seen);
      },
      { clock: localClock, timeout, what: `${name} ${what}` },
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${JSON.stringify(seen["status"] ?? null, null, 1)}`, { cause: error });
    });
    return seen;
  };
  return {
    namespace,
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
    operator: async ({ identity = `${namespace}-op`, lease = null, boundary, clock, env: more = {} } = {}) => {
      operators += 1;
      const own = join(folder, `settings-${operators}.json`);
      await writeFile(own, JSON.stringify(withLease(JSON.parse(await readFile(settings, "utf8")) as Settings, lease)));
      const log = join(folder, `operator-${operators}.log`);
      const args = [
        "--settings",
        own,
        "--kubeconfig",
        env["KUBECONFIG_OPERATOR"] ?? "",
        "--namespace",
        namespace,
        "--identity",
        identity,
      ];
      const variables = {
        TURNOUT_SECRET_GATEWAY: token,
        ...(boundary === undefined ? {} : { TURNOUT_TEST_BOUNDARY: boundary }),
        ...(clock === undefined ? {} : { TURNOUT_TEST_CLOCK: clock }),
        ...more,
      };
      const process = await startOperator({ bundle: "dist/test-operator.mjs", args, env: variables, log }, machine);
      started.defer(() => process.kill());
      return { ...process, log };
    },
    create: async (manifest) => {
      const file = join(folder, `manifest-${machine.rng.id()}.json`);
      await writeFile(file, JSON.stringify(manifest));
      await kubectl.run("create", "-n", namespace, "-f", file);
    },
    task,
    tenant: async (name) => (await kubectl.json("get", "tstate", name, "-n", namespace)) as Document,
    patch: async (name, control) => void (await kubectl.run(...command(name, namespace, control))),
    until,
    phase: (name, phase, timeout) =>
      until(name, `to be ${phase}`, (seen) => at(seen, "/status/phase") === phase, timeout),
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

interface Settings {
  readonly operator: Readonly<Record<string, unknown>>;
}

const withLease = (settings: Settings, lease: string | null): Settings => ({
  ...settings,
  operator: {
    ...settings.operator,
    leaderElection: lease === null ? { enabled: false } : { enabled: true, name: lease },
  },
});

interface Facts {
  readonly namespace: string;
  readonly env: Env;
  readonly blue: ReceiverProcess;
  readonly green: ReceiverProcess;
}

/** Short waits, so that tests of retries end soon; the defaults of the product are tested where they are defined. */
function settingsOf(
  { namespace, env, blue, green }: Facts,
  options: StandOptions,
): Settings & { readonly endpoints: readonly unknown[] } {
  const redis = env["REDIS_ADDRESS"] ?? "";
  const redisPort = Number(redis.slice(redis.lastIndexOf(":") + 1));
  const receivers = [blue.port, green.port];
  const loopback = { tls: "None", allowedNamespaces: [namespace], cidrs: ["127.0.0.1/32"] };
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
      allow: { keys: [`${namespace}:`] },
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
