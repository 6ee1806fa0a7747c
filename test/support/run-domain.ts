import { fault } from "../../src/lib/failures.ts";
import { maxFence, NO_FENCE } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { never } from "../../src/lib/never.ts";
import { between, type Instant, millisOf, type Millis, plus } from "../../src/lib/time.ts";
import { statusFrom, statusTo } from "../../src/api/status-wire.ts";
import { tenantFrom, tenantTo } from "../../src/api/tenant-wire.ts";
import { announcements, sequenceAfter } from "../../src/domain/announcements.ts";
import { sidesOf } from "../../src/domain/backward.ts";
import { conditionsOf } from "../../src/domain/conditions.ts";
import { decide } from "../../src/domain/decide.ts";
import { fenceOf } from "../../src/domain/lock.ts";
import { settle } from "../../src/domain/settle.ts";
import { freshStatus, openEntry } from "../../src/domain/status.ts";
import type { Status, TaskSpec, TenantStatus } from "../../src/domain/stored.ts";
import type { Act, Decision, Found, Mine, Outcome, Rival, TaskView } from "../../src/domain/task.ts";
import { aSpec, aTenant, NO_CONTROL } from "./build.ts";
import { KINDS, SETTINGS } from "./domain-kinds.ts";
import { NOON } from "./manual-clock.ts";
import {
  aReceiver,
  type Fate,
  type Happening,
  type Memory,
  type Message,
  type Move,
  NO_MEMORY,
  type Process,
  type Put,
  received,
  servedAt,
  type TaskObject,
  type Verdict,
  type World,
} from "./run-world.ts";

/** A world and everything that happened in it. */
export interface Run {
  readonly world: World;
  readonly trace: readonly Happening[];
}

/** A world in which nothing has happened: the tasks exist, the tenant is where `tenant` says. */
export function aWorld(
  specs: Readonly<Record<string, TaskSpec>> = { "acme-green": aSpec() },
  about: { readonly tenant?: TenantStatus | null; readonly processes?: readonly string[] } = {},
): World {
  const tenant = about.tenant === undefined ? aTenant() : about.tenant;
  const tasks = Object.fromEntries(
    Object.entries(specs).map(([name, spec], i) => [name, aTaskObject(name, `uid-${i + 1}`, spec)] as const),
  );
  const world: World = {
    now: NOON,
    tasks,
    tenant: tenant === null ? null : { version: 1, status: tenant },
    receivers: {},
    flying: [],
    processes: {},
    settings: SETTINGS,
    nonces: 0,
  };
  const processes = (about.processes ?? ["p1"]).map((identity) => [identity, newProcess(identity, world)] as const);
  return { ...world, processes: Object.fromEntries(processes) };
}

const aTaskObject = (name: string, uid: string, spec: TaskSpec): TaskObject => ({
  name,
  uid,
  version: 1,
  generation: 1,
  spec,
  control: NO_CONTROL,
  finalizer: false,
  done: false,
  deletedAt: null,
  status: undefined,
});

const newProcess = (identity: string, { tasks, tenant }: World): Process => ({ identity, tasks, tenant, memory: {} });

export const statusOf = (task: TaskObject): Status | null => statusFrom(task.status, task.generation);

/** One move; the same run and move give the same run. */
export function make(run: Run, move: Move): Run {
  const { world } = run;
  switch (move.move) {
    case "turn":
      return turn(run, move);
    case "sync":
      return { ...run, world: withProcess(world, synced(world, processOf(world, move.process))) };
    case "restart":
      return { ...run, world: withProcess(world, newProcess(move.process, world)) };
    case "patch":
      return {
        ...run,
        world: patched(world, move.task, (task) => ({ control: { ...task.control, ...move.control } })),
      };
    case "delete":
      return { ...run, world: patched(world, move.task, ({ deletedAt }) => ({ deletedAt: deletedAt ?? world.now })) };
    case "arrive": {
      const message = world.flying[move.index];
      if (message === undefined) return run;
      return delivered({ ...run, world: { ...world, flying: world.flying.filter((one) => one !== message) } }, message)
        .run;
    }
    case "settings":
      return { ...run, world: { ...world, settings: settingsWithout(move.without) } };
    case "pass":
      return { ...run, world: { ...world, now: plus(world.now, move.time) } };
    default:
      return never(move);
  }
}

const settingsWithout = (name: string | null): World["settings"] => ({
  ...SETTINGS,
  endpoints: Object.fromEntries(Object.entries(SETTINGS.endpoints).filter(([endpoint]) => endpoint !== name)),
});

const isFenced = (endpoint: string | null): boolean =>
  endpoint === null || SETTINGS.endpoints[endpoint]?.fencing !== "None";

const processOf = (world: World, name: string): Process => {
  const process = world.processes[name];
  if (process === undefined) throw new Error(`no process ${name}`);
  return process;
};

const withProcess = (world: World, process: Process): World => ({
  ...world,
  processes: { ...world.processes, [process.identity]: process },
});

const synced = ({ tasks, tenant }: World, process: Process): Process => ({ ...process, tasks, tenant });

/** Somebody else's write to a task: a new version, and a new generation where the spec side of it changed. */
function patched(world: World, name: string, change: (task: TaskObject) => Partial<TaskObject>): World {
  const task = world.tasks[name];
  if (task === undefined) return world;
  const next = { ...task, ...change(task), version: task.version + 1, generation: task.generation + 1 };
  return { ...world, tasks: { ...world.tasks, [name]: next } };
}

/** The view that `process` has of a task: from its own, possibly old copies, with what it has in hand laid over. */
export function viewOf(world: World, process: Process, name: string): TaskView {
  const task = process.tasks[name];
  if (task === undefined) throw new Error(`${process.identity} knows no task ${name}`);
  const memory = process.memory[name] ?? NO_MEMORY;
  const stored = statusOf(task);
  const status = stored ?? freshStatus(task.generation);
  const open = openEntry(status);
  const { foreign } = memory;
  const seen = open?.claim !== null && open?.claim.nonce === foreign?.nonce ? (foreign?.since ?? world.now) : world.now;
  const view: TaskView = {
    ref: { namespace: "prod", name, uid: task.uid },
    generation: task.generation,
    deletedAt: task.deletedAt,
    finalizer: task.finalizer,
    done: task.done,
    rerun: null,
    spec: task.spec,
    issues: [],
    control: task.control,
    stored,
    status,
    tenant: {
      name: "acme",
      exists: process.tenant !== null,
      fresh: memory.fresh,
      deleting: false,
      status: process.tenant?.status ?? null,
    },
    rivals: memory.rivals,
    settings: world.settings,
    kinds: KINDS,
    mine: mineOf(memory, task, world.now),
    self: { by: process.identity, nonce: `claim-${world.nonces + 1}`, jitter: 0.5 },
    claimSeenFor: between(seen, world.now),
    claimantGone: false,
    rewound: false,
    namespaceTerminating: false,
    policiesMissing: false,
    crowd: { holding: 0, most: 100 },
    eventsPending: false,
  };
  const { inHand } = memory;
  return inHand === null ? view : { ...view, status: settle(view, inHand.act, inHand.outcome, world.now) };
}

function mineOf({ polling }: Memory, { generation }: TaskObject, now: Instant): Mine | null {
  if (polling === null) return null;
  const asked = polling.generation !== generation;
  const left = polling.until === null ? null : between(now, polling.until);
  return {
    nonce: polling.nonce,
    elapsed: between(polling.since, now),
    waitLeft: asked ? millisOf(0) : left,
    memo: polling.memo,
  };
}

interface Turn {
  readonly run: Run;
  readonly process: Process;
  readonly name: string;
  readonly put: Put;
}

/** One decision of one process for one task, carried out. */
function turn(run: Run, { process: identity, task: name, fate, put }: Extract<Move, { readonly move: "turn" }>): Run {
  const { world } = run;
  const looking = lookedAt(world, processOf(world, identity), name);
  const view = viewOf(world, looking, name);
  const decision = decide(view, world.now);
  const decided: Happening = { is: "decision", task: name, process: identity, decision };
  const at: Turn = {
    run: { world: withProcess(world, looking), trace: [...run.trace, decided] },
    process: looking,
    name,
    put,
  };
  switch (decision.do) {
    case "sleep":
    case "leave":
      return remember(at, { fresh: false, rivals: null });
    case "write":
      return stored(at, decision.status).run;
    case "act":
      return acted(at, view, decision, fate);
    case "finalizer":
      return onTask(at, { finalizer: true, done: false }, true);
    case "remove":
      return onTask(at, { finalizer: false, done: true }, false);
    case "create-tenant":
      return createdTenant(at);
    case "lock":
    case "release":
      return lockStored(at, decision.tenant);
    case "read":
      return decision.what === "tenant" ? readTenant(at) : remember(at, { rivals: rivalsOf(world, view.ref.uid) });
    default:
      return never(decision);
  }
}

/** First sight of a claim that is not this process's own starts its wait (never the claim's own `until`, ◆). */
function lookedAt(world: World, process: Process, name: string): Process {
  const memory = process.memory[name] ?? NO_MEMORY;
  const task = process.tasks[name];
  const nonce = task === undefined ? undefined : openEntry(statusOf(task) ?? freshStatus(0))?.claim?.nonce;
  const own = nonce === undefined || nonce === memory.polling?.nonce || nonce === memory.inHand?.act.nonce;
  const foreign = own ? null : memory.foreign?.nonce === nonce ? memory.foreign : { nonce, since: world.now };
  return withMemory(process, name, { ...memory, foreign });
}

const withMemory = (process: Process, name: string, memory: Memory): Process => ({
  ...process,
  memory: { ...process.memory, [name]: memory },
});

const memoryOf = ({ process, name }: Turn): Memory => process.memory[name] ?? NO_MEMORY;

const remember = (at: Turn, change: Partial<Memory>): Run => ({
  ...at.run,
  world: withProcess(at.run.world, withMemory(at.process, at.name, { ...memoryOf(at), ...change })),
});

/** A write of this process with its version check. Answer lost: what was stored is read afterwards, as after a 409. */
function stored(at: Turn, status: Status): { readonly run: Run; readonly ok: boolean } {
  const { run, process, name, put } = at;
  const current = run.world.tasks[name];
  const copy = process.tasks[name];
  if (current === undefined || copy === undefined) return { run, ok: false };
  if (copy.version !== current.version || put === "lost") return { run: reread(at), ok: false };
  const view = viewOf(run.world, process, name);
  const made = announcements(view.stored, status, { spec: copy.spec, manager: null, sides: sidesOf(view, status) });
  const next: Status = { ...status, eventSequence: sequenceAfter(view.stored, made) };
  const raw = statusTo(copy.status, next, {
    generation: copy.generation,
    total: copy.spec.stages.length,
    conditions: conditionsOf(next, run.world.now),
  });
  const wire: unknown = JSON.parse(JSON.stringify(raw));
  const object: TaskObject = { ...current, status: wire, version: current.version + 1 };
  const after = statusOf(object);
  if (after === null) throw new Error(`${name}: what was stored is no status`);
  const happened: Happening = {
    is: "version",
    task: name,
    uid: object.uid,
    process: process.identity,
    before: view.stored,
    after,
    control: object.control,
    bytes: Buffer.byteLength(JSON.stringify(raw)),
    now: run.world.now,
    inHand: memoryOf(at).inHand,
  };
  const world = { ...run.world, tasks: { ...run.world.tasks, [name]: object } };
  const kept = put === "answer-lost" ? memoryOf(at) : { ...memoryOf(at), inHand: null };
  const holder = withMemory({ ...process, tasks: { ...process.tasks, [name]: object } }, name, kept);
  return { run: { world: withProcess(world, holder), trace: [...run.trace, happened] }, ok: true };
}

/** After a 409 or an answer that got lost: the task is read, the outcome in hand stays in hand. */
function reread({ run, process, name }: Turn): Run {
  const current = run.world.tasks[name];
  if (current === undefined) return run;
  return { ...run, world: withProcess(run.world, { ...process, tasks: { ...process.tasks, [name]: current } }) };
}

function onTask(at: Turn, change: Partial<TaskObject>, on: boolean): Run {
  const { run, process, name, put } = at;
  const current = run.world.tasks[name];
  const copy = process.tasks[name];
  if (current === undefined || copy === undefined || copy.version !== current.version || put === "lost")
    return reread(at);
  const object = { ...current, ...change, version: current.version + 1 };
  const world = { ...run.world, tasks: { ...run.world.tasks, [name]: object } };
  const happened: Happening = { is: "finalizer", task: name, uid: object.uid, on };
  return {
    world: withProcess(world, { ...process, tasks: { ...process.tasks, [name]: object } }),
    trace: [...run.trace, happened],
  };
}

function createdTenant(at: Turn): Run {
  const { run, process } = at;
  const tenant = run.world.tenant ?? { version: 1, status: null };
  const memory = { ...memoryOf(at), fresh: true };
  return { ...run, world: withProcess({ ...run.world, tenant }, withMemory({ ...process, tenant }, at.name, memory)) };
}

function readTenant(at: Turn): Run {
  const { run, process } = at;
  const memory = { ...memoryOf(at), fresh: true };
  const reader = withMemory({ ...process, tenant: run.world.tenant }, at.name, memory);
  return { ...run, world: withProcess(run.world, reader) };
}

function lockStored(at: Turn, status: TenantStatus): Run {
  const { run, process, put } = at;
  const current = run.world.tenant;
  if (current === null || process.tenant?.version !== current.version || put === "lost") return readTenant(at);
  const tenant = { version: current.version + 1, status: tenantFrom(JSON.parse(JSON.stringify(tenantTo({}, status)))) };
  const happened: Happening = { is: "lock", process: process.identity, before: current.status, after: status };
  const writer = withMemory({ ...process, tenant }, at.name, { ...memoryOf(at), fresh: true });
  return { world: withProcess({ ...run.world, tenant }, writer), trace: [...run.trace, happened] };
}

function rivalsOf({ tasks }: World, uid: string): readonly Rival[] {
  return Object.values(tasks)
    .filter((task) => task.uid !== uid)
    .map((task) => {
      const status = statusOf(task);
      const fence = status === null || status.epoch === 0 ? NO_FENCE : fenceOf(status);
      return { name: task.name, uid: task.uid, phase: status?.phase ?? null, finalizer: task.finalizer, fence };
    });
}

type ActDecision = Extract<Decision, { readonly do: "act" }>;

/** claim → act. The outcome stays in hand for the write that settles it. */
function acted(at: Turn, view: TaskView, { act, status }: ActDecision, fate: Fate): Run {
  let now: Turn = at;
  const polls = act.attemptTimeout === null;
  if (status !== null) {
    const claim = stored(at, status);
    const world = { ...claim.run.world, nonces: claim.run.world.nonces + 1 };
    const run = { ...claim.run, world };
    if (!claim.ok) return run;
    const memory: Memory = {
      ...NO_MEMORY,
      fresh: memoryOf(at).fresh,
      polling: polls
        ? { nonce: act.nonce, since: world.now, until: world.now, memo: null, generation: view.generation }
        : null,
    };
    const process = withMemory(processOf(world, at.process.identity), at.name, memory);
    now = { ...at, run: { ...run, world: withProcess(world, process) }, process };
  }
  return polls ? polled(now, act, fate) : sent(now, act, fate);
}

function polled(at: Turn, act: Act, fate: Fate): Run {
  if (fate.startsWith("crash")) return make(at.run, { move: "restart", process: at.process.identity });
  const outcome = seenBy(at.run.world, act, fate);
  const memory = memoryOf(at);
  if (outcome.is !== "waiting" || memory.polling === null)
    return remember(at, { inHand: { act, outcome }, polling: null });
  const until = outcome.again === null ? null : plus(at.run.world.now, outcome.again);
  const task = at.run.world.tasks[at.name];
  const generation = at.process.tasks[at.name]?.generation ?? task?.generation ?? 0;
  return remember(at, {
    inHand: { act, outcome },
    polling: { ...memory.polling, until, memo: outcome.memo, generation },
  });
}

const wait = (again: Millis | null, reason: "Waiting" | "AwaitingVersions" | "AwaitingApproval"): Outcome => ({
  is: "waiting",
  again,
  reason,
  message: `${reason} goes on`,
  memo: null,
});

/** What a read or gate sees. */
function seenBy(world: World, act: Act, fate: Fate): Outcome {
  if (fate === "rejected") {
    return { is: "terminal", fault: fault("VersionsLate", { late: "1", total: "1", version: "42", answers: "41" }) };
  }
  const { inputs } = act;
  if (act.kind === "wait") {
    const left = millisOf(Number(at(inputs, "/duration")) - act.ran);
    return left === 0 ? { is: "done", outputs: {} } : wait(left, "Waiting");
  }
  if (act.kind === "approval") {
    const given = Object.values(act.approvals);
    if (given.some(({ decision }) => decision === "Reject")) {
      return { is: "terminal", fault: fault("ApprovalRejected", { user: "bob", stage: act.stage }) };
    }
    return given.length > 0 ? { is: "done", outputs: {} } : wait(null, "AwaitingApproval");
  }
  const version = at(inputs, "/version");
  const right = act.addresses.every((address) => {
    const receiver = world.receivers[address] ?? untouched(world, act, address);
    return at(receiver.value, "/version") === version;
  });
  return right && fate !== "lost"
    ? { is: "done", outputs: { version: version ?? null } }
    : wait(millisOf(3000), "AwaitingVersions");
}

/** A receiver that nobody has written to serves what the tenant's task found there: nothing, or the previous version. */
function untouched(world: World, act: Act, address: string): ReturnType<typeof aReceiver> {
  const previous = world.tenant?.status?.current ?? null;
  const here = previous?.endpoints.some(({ key, host, port }) => address === `${key}|${host}:${port}`) === true;
  const shared = !Object.values(world.tasks).some(({ spec }) =>
    spec.target.endpoints.some(({ key, host, port }) => address === `${key}|${host}:${port}`),
  );
  return aReceiver(
    isFenced(act.endpoint),
    here || shared ? servedAt(previous === null ? null : { ...previous }) : null,
  );
}

const messagesOf = (act: Act, uid: string): readonly Message[] => {
  const value = at(act.inputs, act.part === "publish" ? "/told" : "/value") ?? null;
  const targets = act.part === "publish" ? act.addresses.map((key) => `${key}#told`) : act.addresses;
  return targets.map((to) => ({
    to,
    fenced: isFenced(act.endpoint),
    uid,
    stage: act.stage,
    kind: act.kind,
    does: act.does,
    direction: act.direction,
    part: act.part,
    fence: act.fence,
    base: act.base,
    opId: act.opId,
    value,
  }));
};

/** Sends the messages of a write or announce and says what came back, as `fate` has it. */
function sent(turn: Turn, act: Act, fate: Fate): Run {
  const { world } = turn.run;
  const uid = world.tasks[turn.name]?.uid ?? "";
  const messages = messagesOf(act, uid);
  const crash = fate.startsWith("crash");
  const found = act.probe === "no" || crash ? null : probed(world, act, messages, fate);
  if (found !== null && (found.is !== "not-in-force" || act.probe === "only"))
    return remember(turn, { inHand: { act, outcome: found } });
  const landing = fate === "ok" || fate === "landed" || fate === "crash-landed";
  const arriving = landing ? messages : fate === "partly" ? messages.slice(0, 1) : [];
  const later = fate === "late" || fate === "crash-late" ? messages : [];
  const after = arriving.reduce<{ run: Run; verdicts: readonly Verdict[] }>(
    ({ run, verdicts }, message) => {
      const one = delivered(run, message);
      return { run: one.run, verdicts: [...verdicts, one.verdict] };
    },
    { run: turn.run, verdicts: [] },
  );
  const run = { ...after.run, world: { ...after.run.world, flying: [...after.run.world.flying, ...later] } };
  if (crash) return make(run, { move: "restart", process: turn.process.identity });
  const outcome = outcomeOf(act, fate, after.verdicts);
  return remember({ ...turn, run }, { inHand: { act, outcome } });
}

const LOST = fault("HttpTimeout", { endpoint: "receivers", address: "10.0.0.1", timeout: "3s" });
const REFUSED = fault("ConnectRefused", { endpoint: "receivers", address: "10.0.0.1" });
const REJECTED = fault("HttpRejected", { endpoint: "receivers", address: "10.0.0.1", status: "400" });

function outcomeOf(act: Act, fate: Fate, verdicts: readonly Verdict[]): Outcome {
  const seen = { endpoint: "receivers", address: "10.0.0.1", seen: "9" };
  if (verdicts.includes("diverged")) return { is: "diverged", fault: fault("Diverged", seen) };
  if (verdicts.includes("fenced")) return { is: "fenced", fault: fault("Fenced", seen) };
  switch (fate) {
    case "ok":
      return { is: "done", outputs: act.does === "undo" ? {} : { version: 42, key: act.stage, instances: 1 } };
    case "refused":
      return { is: "retryable", fault: REFUSED, after: null };
    case "rejected":
      return { is: "terminal", fault: REJECTED };
    case "partly":
      return { is: "unknown", fault: LOST, reach: { acked: act.addresses.slice(0, 1), failures: failuresOf(act) } };
    default:
      return { is: "unknown", fault: LOST };
  }
}

const failuresOf = (act: Act): readonly { readonly address: string; readonly code: string }[] =>
  act.addresses.slice(1).map((address) => ({ address, code: "HttpTimeout" }));

/** Asks the receivers themselves. */
function probed(world: World, act: Act, messages: readonly Message[], fate: Fate): Found {
  const about = { endpoint: "receivers", address: "10.0.0.1" };
  if (fate === "unreadable") return { is: "unreadable", fault: fault("ProbeFailed", about) };
  if (fate === "foreign") return { is: "foreign", fault: fault("ForeignOperation", about) };
  const receivers = messages.map(({ to }) => world.receivers[to] ?? untouched(world, act, to));
  if (receivers.every(({ opId }) => opId === act.opId)) return { is: "in-force", outputs: { version: 42 } };
  return receivers.some(({ seen, fenced, opId }) => fenced && seen > act.base && opId !== act.opId)
    ? { is: "foreign", fault: fault("ForeignOperation", about) }
    : { is: "not-in-force" };
}

function delivered(run: Run, message: Message): { readonly run: Run; readonly verdict: Verdict } {
  const { world } = run;
  const previous = world.tenant?.status?.current ?? null;
  const before =
    world.receivers[message.to] ?? firstSeen(world, message, previous === null ? null : servedAt(previous));
  const { receiver, verdict } = received(before, message);
  return {
    run: {
      world: { ...world, receivers: { ...world.receivers, [message.to]: receiver } },
      trace: [...run.trace, { is: "effect", message, verdict }],
    },
    verdict,
  };
}

function firstSeen(world: World, message: Message, served: Json): ReturnType<typeof aReceiver> {
  const isNew = Object.values(world.tasks).some(({ spec }) =>
    spec.target.endpoints.some(({ key, host, port }) => message.to === `${key}|${host}:${port}`),
  );
  return aReceiver(message.fenced, isNew ? null : served);
}

/** Everything that `task` ever did: its stored versions in order. */
export const versionsOf = (run: Run, task: string): readonly Status[] =>
  run.trace.flatMap((one) => (one.is === "version" && one.task === task ? [one.after] : []));

/** The greatest fence that was claimed for the tenant. */
export const greatestFence = ({ world }: Run): string =>
  maxFence(
    ...Object.values(world.tasks).flatMap((task) => {
      const status = statusOf(task);
      return status === null || status.epoch === 0 ? [] : [fenceOf(status)];
    }),
  );
