import type { KubeTransport } from "./lib/seams.ts";
import { type Millis, minutes, seconds } from "./lib/time.ts";
import { PHASES } from "./domain/phase.ts";
import { WAITING_REASONS } from "./domain/reasons.ts";
import { specDecoder } from "./api/decode-task.ts";
import { GROUP } from "./api/group.ts";
import { type Caches, openCaches } from "./controllers/caches.ts";
import type { ControllerDeps } from "./controllers/deps.ts";
import { sweepFinished } from "./controllers/finished-tasks.ts";
import { logListener, metricsListener } from "./controllers/listeners.ts";
import { createMemories } from "./controllers/memory.ts";
import { watchNamespaces, watchPolicies } from "./controllers/policies.ts";
import { feedMetrics } from "./controllers/scrape.ts";
import { reconcileTask } from "./controllers/switch-task.ts";
import { reconcileTenant } from "./controllers/tenant-state.ts";
import { createTurns } from "./controllers/turns.ts";
import { openClient, type KubeClient, type RequestSeen } from "./kube/client.ts";
import type { KubeConnection } from "./kube/connection.ts";
import { type ApiTime, apiTime } from "./kube/clock.ts";
import { type Controller, type Result, runController } from "./kube/controller.ts";
import { DROP_REASONS, type EventRecorder, openEventRecorder } from "./kube/events.ts";
import { type Election, openElection } from "./kube/lease.ts";
import { runManager } from "./kube/manager.ts";
import { openTransport } from "./kube/transport.ts";
import { STAGES } from "./stages/registry.ts";
import { type OpenedLog, openLog } from "./infra/clog/log.ts";
import { type Effects, openEffects } from "./effects.ts";
import type { Seams, Tools } from "./seams.ts";
import type { OperatorSettings, Settings } from "./infra/config/settings.ts";
import type { SettingsSource } from "./settings-source.ts";
import { apiServerConnector } from "./infra/egress/api-server.ts";
import { openGuard } from "./infra/egress/connect.ts";
import { EGRESS_RULES } from "./infra/egress/policy.ts";
import { type HealthBoard, openHealth } from "./infra/health/health.ts";
import { type HealthServer, openHealthServer } from "./infra/health/health-server.ts";
import { type Metrics, openMetrics } from "./infra/metrics/metrics.ts";

export interface OperatorOptions {
  readonly connection: KubeConnection;
  /** Opened once there is a log that it can write to; its first settings decide whether there is an operator at all. */
  readonly settings: (tools: Tools) => Promise<SettingsSource>;
  /** null: every namespace. */
  readonly namespace: string | null;
  /** Lease identity: the pod's name, the same after a restart of its container. */
  readonly identity: string;
}

export interface Operator {
  readonly log: OpenedLog;
  readonly metrics: Metrics;
  readonly health: HealthServer;
  /** In words. */
  readonly settingsFrom: string;
  /** Works until `signal` is aborted, then ends what is under way, stores it, and gives the lease free. */
  run(signal: AbortSignal): Promise<void>;
}

/** Reconciles at once. The API server is the limit, not Node (performance.md); more only make its queue longer. */
const TASK_WORKERS = 64;
const TENANT_WORKERS = 8;
/** A write under way may need its attempt timeout; afterwards its outcome is unknown and the next process asks. */
const STOP_WITHIN: Millis = seconds(20);
const SWEEP_EVERY: Millis = minutes(10);
/** The API server is one destination for everything: lanes, watches, lease. */
const API_SOCKETS = { perAddress: 128, perNamespace: 128 } as const;

/** Closed sets of label values, so that no input can add a series (SEC-40). */
const LABELS = {
  phase: PHASES,
  to: PHASES,
  reason: [...WAITING_REASONS, ...DROP_REASONS],
  kind: Object.keys(STAGES),
  rule: EGRESS_RULES,
} as const;

/** Builds the whole operator by hand and connects nothing to anything global: several may live in one process. */
export async function compose(options: OperatorOptions, seams: Seams): Promise<Operator> {
  const { clock } = seams;
  await using opening = new AsyncDisposableStack();
  const log = openLog({ level: "info", destination: seams.logTo, clock, initialFields: { service: "turnout" } });
  opening.defer(() => log.close());
  const metrics = openMetrics({ values: LABELS });
  const health = openHealth({ clock, metrics, log });
  const tools: Tools = { log, metrics };
  const source = opening.use(await options.settings(tools));
  const live = { settings: source.first };
  log.level(live.settings.operator.log.level);
  for (const checker of source.checkers) health.add(checker);
  const server = await openHealthServer({ listen: live.settings.operator.listen, health, metrics, log });
  opening.defer(() => server.close());
  const api = openApi(options, seams, tools);
  opening.defer(() => api.transport.close());
  const apiServer = options.connection.origin;
  const effects = openEffects(live.settings, seams, { ...tools, own: server.address, apiServer });
  opening.defer(() => effects.close());
  const parts: Parts = { ...partsOf(options, seams, { tools, api, effects, live }), health, log, metrics };
  source.follow((next) => {
    live.settings = next;
    log.level(next.operator.log.level);
    effects.apply(next);
    parts.caches.wakeWaiting("EndpointUnavailable");
  });
  feedMetrics({ metrics, caches: parts.caches, log, time: api.time, loopDelay: seams.loopDelay });
  const open = opening.move();
  const close = async (): Promise<void> => {
    // What they hold for later would keep the process: the next sweep is minutes away.
    for (const queue of [parts.caches.taskQueue, parts.caches.tenantQueue, parts.caches.sweepQueue]) queue.close();
    // No later settings for what is being closed.
    await source[Symbol.asyncDispose]();
    await parts.events.close(seconds(2));
    await open.disposeAsync();
  };
  const run = async (signal: AbortSignal): Promise<void> => {
    try {
      await runAll(parts, options, signal);
    } finally {
      await close();
    }
  };
  return { log, metrics, health: server, settingsFrom: source.from, run };
}

interface Api {
  readonly transport: KubeTransport;
  readonly client: KubeClient;
  readonly time: ApiTime;
}

/** The way to the API server, and its time. */
function openApi({ connection }: OperatorOptions, { clock, boundary, resolve }: Seams, { log, metrics }: Tools): Api {
  const time = apiTime(clock);
  const guard = openGuard({
    resolve,
    clock,
    sockets: API_SOCKETS,
    reserved: () => [],
    metrics,
    log: log.module("egress"),
  });
  const transport = openTransport(connection, {
    clock,
    boundary,
    connect: apiServerConnector(guard, connection.origin),
    onServerDate: (date, sentAt) => time.observe(date, sentAt),
    userAgent: "turnout/0.1",
  });
  const onRequest = ({ verb, code }: RequestSeen): void => metrics.count("turnout_kube_requests_total", { verb, code });
  return { transport, client: openClient(transport, { clock, onRequest }), time };
}

interface Opened {
  readonly tools: Tools;
  readonly api: Api;
  readonly effects: Effects;
  /** As they are now. */
  readonly live: { readonly settings: Settings };
}

function partsOf(
  options: OperatorOptions,
  seams: Seams,
  { tools, api, effects, live }: Opened,
): Omit<Parts, keyof Tools | "health"> {
  const { clock, rng } = seams;
  const { log, metrics } = tools;
  const { client, time } = api;
  const limits = (): OperatorSettings["limits"] => live.settings.operator.limits;
  const memories = createMemories();
  const caches = openCaches({ client, namespace: options.namespace, memories, clock, rng, log: log.module("kube") });
  const events = openEventRecorder({
    client,
    clock,
    rng,
    log: log.module("events"),
    wall: () => time.now(),
    reportingController: `${GROUP}/operator`,
    reportingInstance: options.identity,
    onFlushed: (uid) => caches.wakeTask(uid, "continuation"),
    onDropped: (reason) => metrics.count("turnout_events_dropped_total", { reason }),
  });
  const election = electionOf(live.settings.operator, options.identity, seams, { client, time, log });
  const deps: ControllerDeps = {
    client,
    tasks: caches.tasks,
    tenants: caches.tenants,
    memories,
    clock,
    rng,
    time,
    identity: options.identity,
    hasEnded: (identity) => election?.hasEnded(identity) === true,
    settings: () => ({ endpoints: effects.facts(), defaults: live.settings.operator.defaults }),
    kinds: STAGES,
    decodeSpec: specDecoder(Object.fromEntries(Object.entries(STAGES).map(([kind, { config }]) => [kind, config]))),
    ports: effects.ports,
    policiesMissing: watchPolicies(client, clock),
    namespaceTerminating: watchNamespaces(client, clock),
    turns: createTurns(() => limits().acts),
    crowd: (namespace) => ({ holding: caches.holding(namespace), most: limits().claimed }),
    events,
    listeners: [logListener(log.module("switch")), metricsListener(metrics)],
    onRelease: (held) => metrics.observe("turnout_lock_held_seconds", {}, held / 1000),
    log: log.module("controllers"),
  };
  return { deps, caches, election, events };
}

interface Parts {
  readonly deps: ControllerDeps;
  readonly caches: Caches;
  readonly election: Election | null;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly health: HealthBoard;
  readonly log: OpenedLog;
}

async function runAll(parts: Parts, options: OperatorOptions, signal: AbortSignal): Promise<void> {
  const { deps, caches, election, health, log } = parts;
  for (const reflector of caches.reflectors) {
    health.add({
      component: `watch/${reflector.resource.plural}`,
      critical: true,
      check: async () =>
        reflector.isSynced ? { status: "healthy", message: "" } : { status: "unhealthy", message: "not yet synced" },
    });
  }
  await runManager(
    {
      reflectors: caches.reflectors,
      election,
      start: () => {
        log.info({ identity: options.identity, elected: election !== null }, "leading: switches go on");
        health.markStarted();
        return startControllers(parts, options);
      },
      clock: deps.clock,
      log: log.module("kube"),
      stopWithin: STOP_WITHIN,
    },
    signal,
  );
}

function startControllers(
  { deps, caches, metrics, log }: Parts,
  { namespace }: OperatorOptions,
): readonly Controller[] {
  const about = { clock: deps.clock, rng: deps.rng, log: log.module("controllers") };
  const onResult =
    (controller: string) =>
    ({ took }: Result): void =>
      metrics.observe("turnout_reconcile_duration_seconds", { controller }, took / 1000);
  return [
    runController({
      ...about,
      name: "tasks",
      queue: caches.taskQueue,
      workers: TASK_WORKERS,
      reconcile: (key, attention) => reconcileTask(key, deps, attention),
      onResult: onResult("tasks"),
    }),
    runController({
      ...about,
      name: "tenants",
      queue: caches.tenantQueue,
      workers: TENANT_WORKERS,
      reconcile: (key, attention) => reconcileTenant(key, deps, attention),
      onResult: onResult("tenants"),
    }),
    runController({
      ...about,
      name: "finished",
      queue: caches.sweepQueue,
      workers: 1,
      reconcile: async (_key, attention) => {
        await sweepFinished(namespace, deps, attention);
        return { again: "after", after: SWEEP_EVERY };
      },
      onResult: onResult("finished"),
    }),
  ];
}

function electionOf(
  { leaderElection }: OperatorSettings,
  identity: string,
  { clock, rng }: Seams,
  about: { readonly client: KubeClient; readonly time: ApiTime; readonly log: OpenedLog },
): Election | null {
  const { enabled, name, namespace } = leaderElection;
  if (!enabled) return null;
  return openElection({
    client: about.client,
    namespace,
    name,
    identity,
    clock,
    rng,
    log: about.log.module("lease"),
    wall: () => about.time.now(),
  });
}
