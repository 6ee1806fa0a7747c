import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import {
  type ReceiverProcess,
  type OperatorProcess,
  startOperator,
  startReceiver,
} from "../../deployment/demo/children.ts";
import { applyManifests } from "../../deployment/local/apply.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { type Machine, openMachine } from "../../deployment/local/machine.ts";
import { until } from "../../deployment/local/poll.ts";
import { SWITCH_TASKS } from "../../src/api/group.ts";
import { NO_FENCE } from "../../src/lib/fence.ts";
import { Slots } from "../../src/lib/slots.ts";
import { type Millis, millisOf, seconds } from "../../src/lib/time.ts";
import { openSqliteStore } from "../../src/receiver/sqlite-store.ts";
import { formatRecord } from "../../src/receiver/tenant-record.ts";
import { type FaultProxy, openFaultProxy } from "./fault-proxy.ts";
import { openRecord, type StandRecord } from "./stand-record.ts";

type Env = Readonly<Record<string, string>>;

/** What all runs of a sweep share: servers, receivers, proxy, one watch of everything. */
export interface SweepWorld extends AsyncDisposable {
  readonly folder: string;
  readonly proxy: FaultProxy;
  readonly record: StandRecord;
  readonly redis: Redis;
  readonly receivers: Readonly<Record<"blue" | "green" | "ledger", ReceiverProcess>>;
  /** Raw: nothing of these may be shown anywhere. */
  readonly secrets: readonly string[];
  /** Addresses that operators may connect to. */
  readonly allowed: readonly string[];
  /** A namespace of its own for a run, whose tenant is served by blue and known to the ledger. */
  prepare(): Promise<string>;
  create(namespace: string, manifest: Readonly<Record<string, unknown>>): Promise<void>;
  command(namespace: string, name: string, control: Readonly<Record<string, unknown>>): Promise<void>;
  operator(about: OperatorAbout): Promise<SweepOperator>;
  /** Whether operators of a namespace stand for election: only the one that leads acts. */
  readonly elects: boolean;
}

export interface SweepWorldOptions {
  readonly elects?: boolean;
}

export interface OperatorAbout {
  readonly namespace: string;
  readonly process: string;
  readonly boundary?: string;
  /** Waits for the one that leads. */
  readonly standby?: boolean;
}
export interface SweepOperator extends OperatorProcess {
  readonly process: string;
  readonly log: string;
  readonly sockets: string;
  signal(signal: NodeJS.Signals): void;
  ended(timeout?: Millis): Promise<void>;
}

const ROOT = join(import.meta.dirname, "..", "..");
const NAMESPACES = { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false };
const POINT = { point: { class: "api/create", subject: null } } as const;
const TOGETHER = 2;
const SPACES = 2000;

const BLUE = { deployUnit: { id: 1, name: "blue", version: 6 } };
export const PREVIOUS = (world: Pick<SweepWorld, "proxy">) => ({
  ...BLUE,
  endpoints: [{ key: "im-gateway", host: "127.0.0.1", port: world.proxy.receiverPort("blue") }],
  parameters: { trunkGroup: "tg-1" },
});

export async function openSweepWorld(env: Env, { elects = false }: SweepWorldOptions = {}): Promise<SweepWorld> {
  await using opening = new AsyncDisposableStack();
  const machine = opening.use(await openMachine({ print: () => {} }));
  const folder = await mkdtemp(join(tmpdir(), "turnout-sweep-"));
  opening.defer(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, "secrets"), { mode: 0o700 });
  await applyManifests(
    env,
    ["crds", "admission", "deployment/install"].map((path) => join(ROOT, path)),
  );
  const token = `${machine.rng.id()}${machine.rng.id()}`;
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
  const namespaces = Array.from({ length: SPACES }, (_, i) => `sweep-${process.pid}-${i + 1}`);
  for (const unit of ["blue", "ledger"]) await served(join(folder, `${unit}.db`), namespaces);
  const receiver = (unit: string): Promise<ReceiverProcess> =>
    startReceiver({ unit, port: 0, folder, tokenFile }, machine);
  const [blue, green, ledger] = await Promise.all([receiver("blue"), receiver("green"), receiver("ledger")]);
  const receivers = { blue, green, ledger };
  opening.defer(async () => void (await Promise.all(Object.values(receivers).map((one) => one.stop()))));
  const kubeconfig = JSON.parse(await readFile(env["KUBECONFIG_OPERATOR"] ?? "", "utf8")) as Kubeconfig;
  const [cluster] = kubeconfig.clusters;
  const proxy = opening.use(
    await openFaultProxy({
      api: {
        url: cluster.cluster.server,
        ca: Buffer.from(cluster.cluster["certificate-authority-data"], "base64").toString("utf8"),
      },
      redis: addressOf(env["REDIS_ADDRESS"] ?? ""),
      receivers: { blue: blue.port, green: green.port, ledger: ledger.port },
    }),
  );
  const record = opening.use(await openRecord(env["KUBECONFIG_ADMIN"] ?? "", null));
  const redis = new Redis(env["REDIS_URL"] ?? "", { lazyConnect: true });
  await redis.connect();
  opening.defer(() => redis.disconnect());
  const password = (await readFile(env["REDIS_PASSWORD_FILE"] ?? "", "utf8")).trim();
  const facts: Facts = {
    folder,
    machine,
    proxy,
    kubeconfig,
    token,
    password,
    slots: new Slots(TOGETHER, 4096),
    elects,
  };
  const closing = opening.move();
  return {
    folder,
    proxy,
    record,
    redis,
    receivers,
    secrets: [token, password, kubeconfig.users[0].user.token],
    allowed: [proxy.apiPort, proxy.redisPort, ...Object.keys(receivers).map((name) => proxy.receiverPort(name))].map(
      (port) => `127.0.0.1:${port}`,
    ),
    prepare: async () => {
      const namespace = namespaces.shift();
      if (namespace === undefined) throw new Error(`a world has ${SPACES} namespaces`);
      await record.client.create(NAMESPACES, { apiVersion: "v1", metadata: { name: namespace } }, POINT);
      return namespace;
    },
    create: async (namespace, manifest) => {
      const { metadata, ...rest } = manifest as { readonly metadata: { readonly name: string } };
      await record.client.create(SWITCH_TASKS, { ...rest, metadata: { ...metadata, namespace } }, POINT);
    },
    command: async (namespace, name, control) => {
      await record.client.mergePatch(SWITCH_TASKS, { namespace, name }, { spec: { control } }, POINT);
    },
    operator: (about) => operator(about, facts, closing),
    elects,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** The receiver was told of the previous configuration by whoever did so before fences were known. */
async function served(store: string, namespaces: readonly string[]): Promise<void> {
  await openSqliteStore(store).close();
  const { deployUnit } = BLUE;
  const opId = "before";
  const inForce = { opId, digest: "0".repeat(64), deployUnit, version: 41, appliedAt: "2026-01-01T00:00:00.000Z" };
  const record = formatRecord({ revision: 1, fence: NO_FENCE, opId, unsettled: "no", inForce });
  const database = new DatabaseSync(store);
  database.exec("BEGIN");
  const insert = database.prepare("INSERT INTO tenants (tenant, revision, fence, record) VALUES (?, 1, ?, ?)");
  for (const namespace of namespaces) insert.run(`${namespace}/acme`, NO_FENCE, record);
  database.exec("COMMIT");
  database.close();
}

interface Kubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly "certificate-authority-data": string } },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}
interface Facts {
  readonly folder: string;
  readonly machine: Machine;
  readonly proxy: FaultProxy;
  readonly kubeconfig: Kubeconfig;
  readonly token: string;
  readonly password: string;
  /** Processes that start at once: each takes a whole core for a while. */
  readonly slots: Slots;
  readonly elects: boolean;
}

const addressOf = (text: string): { readonly host: string; readonly port: number } => ({
  host: text.slice(0, text.lastIndexOf(":")),
  port: Number(text.slice(text.lastIndexOf(":") + 1)),
});

async function operator(about: OperatorAbout, facts: Facts, closing: AsyncDisposableStack): Promise<SweepOperator> {
  const { namespace, process: name, boundary, standby = false } = about;
  const lease = facts.elects ? `sweep-${namespace}` : null;
  const { folder, machine, proxy, kubeconfig, token, password, slots } = facts;
  const own = (file: string): string => join(folder, `${name}-${file}`);
  const passwordFile = join(folder, "secrets", name);
  await writeFile(passwordFile, `${password}#${name}`, { mode: 0o600 });
  await writeFile(own("settings.json"), JSON.stringify(settingsOf({ namespace, proxy, passwordFile, lease }), null, 1));
  const cluster = {
    server: `https://127.0.0.1:${proxy.apiPort}/p/${name}`,
    "certificate-authority-data": Buffer.from(proxy.ca).toString("base64"),
  };
  const config = { ...kubeconfig, clusters: [{ ...kubeconfig.clusters[0], cluster }] };
  await writeFile(own("kubeconfig"), JSON.stringify(config), { mode: 0o600 });
  const args = ["--settings", own("settings.json"), "--kubeconfig", own("kubeconfig")];
  const env = {
    TURNOUT_SECRET_GATEWAY: `${token}#${name}`,
    TURNOUT_TEST_SOCKETS: own("sockets"),
    ...(boundary === undefined ? {} : { TURNOUT_TEST_BOUNDARY: boundary }),
  };
  const start = {
    bundle: "dist/test-operator.mjs",
    args: [...args, "--namespace", namespace, "--identity", name],
    env,
    log: own("log"),
    standby,
  };
  const give = await slots.take(machine.signal);
  const started = await startOperator(start, machine).finally(give);
  closing.defer(() => started.kill());
  return {
    ...started,
    process: name,
    log: own("log"),
    sockets: own("sockets"),
    signal: (signal) => void process.kill(started.pid, signal),
    ended: async (timeout = seconds(30)) => {
      const what = `operator ${name} to end`;
      await until(() => !isAlive(started.pid), { clock: localClock, timeout, every: millisOf(10), what });
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface Asked {
  readonly namespace: string;
  readonly proxy: FaultProxy;
  readonly passwordFile: string;
  readonly lease: string | null;
}

function settingsOf({ namespace, proxy, passwordFile, lease }: Asked): unknown {
  const loopback = { tls: "None", allowedNamespaces: [namespace], cidrs: ["127.0.0.1/32"] };
  const bearer = { bearer: { env: "TURNOUT_SECRET_GATEWAY" } };
  const allow = { methods: ["GET", "PUT"], paths: ["/turnout/v1/tenants/"] };
  const at = (...ports: readonly number[]) => ({ addresses: ports.map((port) => `127.0.0.1:${port}`), ports });
  const [blue, green, ledger] = ["blue", "green", "ledger"].map((name) => proxy.receiverPort(name)) as [
    number,
    number,
    number,
  ];
  const http = { ...loopback, protocol: "http", fencing: "Token", allow, credentials: bearer };
  return {
    operator: {
      log: { level: "info" },
      listen: { host: "127.0.0.1", port: 0 },
      leaderElection: lease === null ? { enabled: false } : { enabled: true, name: lease },
      // A claim whose process is gone is taken over after its attempt and five seconds.
      defaults: {
        attemptTimeout: "4s",
        instanceTimeout: "3500ms",
        retry: { maxAttempts: 5, backoff: { initial: "50ms", factor: 2, max: "200ms" } },
      },
      ceiling: {
        cidrs: ["127.0.0.0/8"],
        ports: [proxy.redisPort, blue, green, ledger],
        secretRoots: [join(passwordFile, "..")],
      },
    },
    endpoints: [
      { ...http, name: "im-gateway", ...at(blue, green) },
      { ...http, name: "ledger", ...at(ledger) },
      {
        ...loopback,
        name: "routing",
        protocol: "redis",
        ...at(proxy.redisPort),
        allow: { keys: [`${namespace}:`] },
        credentials: { password: { file: passwordFile } },
      },
    ],
  };
}
