import { backoffAfter } from "../lib/backoff.ts";
import { fault } from "../lib/failures.ts";
import { ExecutionError } from "../lib/errors.ts";
import { never } from "../lib/never.ts";
import { between, type Millis, millisOf, seconds } from "../lib/time.ts";
import { sequenceAfter } from "../domain/announcements.ts";
import { answer } from "../domain/commands.ts";
import { conditionsOf } from "../domain/conditions.ts";
import { decide } from "../domain/decide.ts";
import { openEntry } from "../domain/status.ts";
import { settle } from "../domain/settle.ts";
import type { Status, TenantStatus } from "../domain/stored.ts";
import type { Act, Decision, Found, Outcome, TaskView } from "../domain/task.ts";
import { SWITCH_TASKS, TENANT_STATES } from "../api/group.ts";
import { statusTo } from "../api/status-wire.ts";
import { tenantTo } from "../api/tenant-wire.ts";
import { isAmbiguous, isConflict, isNotFound } from "../kube/errors.ts";
import type { Attention, Next } from "../kube/controller.ts";
import { keyOf, type KubeObject, refOf } from "../kube/resource.ts";
import type { ControllerDeps } from "./deps.ts";
import { emit, emitHeartbeat, madeBy } from "./emit.ts";
import { informed, type Situation, situationOf, viewOf, withStatus } from "./gather.ts";
import { noteRead } from "./memory.ts";
import { addFinalizer, createTenant, readRivals, readTenant, removeFromWatch } from "./requests.ts";
import { type ClaimTime, claimTime, perform } from "./perform.ts";

/** Turns of one reconcile before others get theirs: 32 stages, their commands and the writes around them. */
const MAX_STEPS = 96;

/** An outcome in hand that no status holds yet. It is laid over every fresh copy until one is stored. */
interface InHand {
  readonly act: Act;
  readonly outcome: Outcome | Found;
}
interface Turn {
  readonly situation: Situation;
  readonly inHand: InHand | null;
}

/** Writes in a row that stored nothing, before the next; so many of unknown outcome, and the key backs off. */
const RETRY = { initial: millisOf(100), factor: 2, max: seconds(1) };
const MOST_LOST = 5;

/**
 * Takes one task as far as it goes and says when to look again. Before: this worker alone holds the key. After: no effect without a
 * stored claim (S3), no outcome dropped while its claim is ours. A 409 or an answer that got lost is read and decided again.
 */
export async function act(situation: Situation, deps: ControllerDeps, attention: Attention): Promise<Next> {
  let turn: Turn = { situation, inHand: null };
  let unstored = 0;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const asked = await informedOrNull(turn, deps);
    if (asked !== null) turn = { ...turn, situation: asked };
    const view = viewNow(turn, deps);
    const mayGoOn = asked !== null && !attention.signal.aborted;
    const decision = mayGoOn ? decide(view, deps.time.now()) : onlyStore(view);
    try {
      const next = await carryOut(decision, view, turn, { deps, attention });
      if (isNext(next)) return next;
      turn = next;
      if (decision.do !== "read") unstored = 0;
    } catch (error) {
      unstored += 1;
      if (!isConflict(error) && (!isAmbiguous(error) || unstored > MOST_LOST)) throw error;
      if (unstored > (isConflict(error) ? 3 : 1)) await pause(unstored, deps, attention);
      const fresh = await reread(turn, deps);
      if (fresh === null) return GONE;
      turn = { ...turn, situation: situationOf(fresh) };
      if (touchesTenant(decision)) turn = { ...turn, situation: await readTenant(turn.situation, view, deps) };
    }
  }
  return { again: "now", lane: "continuation" };
}

/** A sick API server gets time; a stop does not wait for it. */
function pause(unstored: number, { clock, rng }: ControllerDeps, { signal }: Attention): Promise<void> {
  return clock.sleep(backoffAfter(unstored, RETRY, rng.float()), signal).catch(() => undefined);
}

const GONE: Next = { again: "never" };
const isNext = (value: Turn | Next): value is Next => "again" in value;
const touchesTenant = ({ do: what }: Decision): boolean =>
  what === "lock" || what === "release" || what === "create-tenant";

/** Null: what is worth knowing cannot be asked now, and an outcome is in hand that must be stored first. */
async function informedOrNull({ situation, inHand }: Turn, deps: ControllerDeps): Promise<Situation | null> {
  try {
    return await informed(situation, deps);
  } catch (error) {
    if (inHand === null) throw error;
    return null;
  }
}

/** The process is stopping, or not everything is known: what is in hand is stored, nothing new begins. */
const onlyStore = (view: TaskView): Decision =>
  view.status === view.stored
    ? { do: "sleep", after: null, because: "NothingToDo" }
    : { do: "write", status: view.status, because: "StageSettled" };

function viewNow({ situation, inHand }: Turn, deps: ControllerDeps): TaskView {
  const view = viewOf(situation, deps);
  return inHand === null ? view : withStatus(view, settle(view, inHand.act, inHand.outcome, deps.time.now()));
}

async function reread({ situation }: Turn, deps: ControllerDeps): Promise<KubeObject | null> {
  try {
    const fresh = await deps.client.get(SWITCH_TASKS, refOf(situation.task), { lane: "bulk" });
    // The name was given to another object: nothing of this one is ours to do any more (S13).
    if (fresh.metadata.uid !== situation.task.metadata.uid) return null;
    noteRead(deps.memories.of(keyOf(fresh), fresh.metadata.uid), situation.task, fresh);
    return fresh;
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

interface Shell {
  readonly deps: ControllerDeps;
  readonly attention: Attention;
}

async function carryOut(decision: Decision, view: TaskView, turn: Turn, shell: Shell): Promise<Turn | Next> {
  const { deps } = shell;
  const { situation } = turn;
  switch (decision.do) {
    case "sleep":
      return decision.after === null ? { again: "never" } : { again: "after", after: decision.after };
    case "leave":
      deps.log.error(
        { task: view.ref.name, namespace: view.ref.namespace },
        "status of a newer protocol: left alone until this operator is upgraded",
      );
      return { again: "never" };
    case "write": {
      const task = await storeStatus(decision.status, view, situation, deps);
      return { situation: { ...situation, task }, inHand: null };
    }
    case "act":
      return claimAndPerform(decision, view, turn, shell);
    case "lock":
    case "release": {
      const tenant = await storeLock(decision.tenant, view, situation, deps);
      deps.memories.of(keyOf(situation.task), view.ref.uid).released = decision.do === "release" ? tenant : null;
      const since = view.tenant.status?.holder?.since;
      if (decision.do === "release" && since !== undefined) deps.onRelease(between(since, deps.time.now()));
      return { ...turn, situation: { ...situation, tenant } };
    }
    case "create-tenant":
      return { ...turn, situation: await createTenant(situation, view, deps) };
    case "finalizer":
      return { ...turn, situation: { ...situation, task: await addFinalizer(view, situation.task, deps) } };
    case "remove":
      await removeFromWatch(view, situation.task, deps);
      return { again: "never" };
    case "read":
      return {
        ...turn,
        situation:
          decision.what === "tenant"
            ? await readTenant(situation, view, deps)
            : await readRivals(situation, view, deps),
      };
    default:
      return never(decision);
  }
}

type ActDecision = Extract<Decision, { readonly do: "act" }>;

/** claim → act; the outcome stays in hand for the write that settles it together with the next claim (R48). */
async function claimAndPerform(decision: ActDecision, view: TaskView, turn: Turn, shell: Shell): Promise<Turn | Next> {
  const { deps } = shell;
  const claimed = claimTime(deps);
  const polls = decision.act.attemptTimeout === null;
  let { situation } = turn;
  if (decision.status !== null) {
    const task = await storeClaim({ status: decision.status, act: decision.act }, view, situation, deps);
    if (task === null) return GONE;
    situation = { ...situation, task };
    if (polls) remember(view, decision.act, deps);
  }
  const outcome = polls
    ? await pollOnce(situation.task, view, decision.act, shell)
    : await effect(decision.act, view, claimed, shell);
  if (outcome === null) return { situation: latest(situation, deps), inHand: null };
  return afterOutcome({ situation, inHand: { act: decision.act, outcome } }, view, shell);
}

/**
 * Stores a status that claims. A 409 or a lost answer is read: our nonce in the open claim means that the write was ours (protocol.md,
 * The three steps). @throws KubeError where it was not: decide again. null: the task is gone.
 */
async function storeClaim(
  claim: { readonly status: Status; readonly act: Act },
  view: TaskView,
  situation: Situation,
  deps: ControllerDeps,
): Promise<KubeObject | null> {
  try {
    return await storeStatus(claim.status, view, situation, deps);
  } catch (error) {
    if (!isConflict(error) && !isAmbiguous(error)) throw error;
    const task = await reread({ situation, inHand: null }, deps);
    const open = task === null ? undefined : openEntry(viewOf({ ...situation, task }, deps).status);
    if (task !== null && open?.claim?.nonce !== claim.act.nonce) throw error;
    return task;
  }
}

/** From now on, when the claim is stored: counted from before it was sent, a wait would end early by what the API server took (S19). */
function remember(view: TaskView, act: Act, deps: ControllerDeps): void {
  const memory = deps.memories.of(`${view.ref.namespace}/${view.ref.name}`, view.ref.uid);
  const now = deps.clock.monotonic();
  memory.polling = {
    nonce: act.nonce,
    since: now,
    until: now,
    memo: null,
    generation: view.generation,
  };
}

/** A write or announce: never cut short; commands that come meanwhile are answered while it is under way. */
async function effect(
  act: Act,
  view: TaskView,
  claimed: ClaimTime,
  { deps, attention }: Shell,
): Promise<Outcome | Found> {
  const outcome = perform(view, act, { deps, signal: NEVER_CUT, claimed });
  while ((await first(outcome, attention)) === "changed") await answerMeanwhile(view, deps).catch(() => undefined);
  return outcome;
}

const NEVER_CUT = new AbortController().signal;

const first = (outcome: Promise<unknown>, attention: Attention): Promise<"done" | "changed"> =>
  Promise.race([outcome.then(() => "done" as const), attention.changed().then(() => "changed" as const)]);

/** Answers commands in the middle of an act: the claim stays as it is. A conflict is not worth a second try: the settle answers too. */
async function answerMeanwhile(view: TaskView, deps: ControllerDeps): Promise<void> {
  const task = deps.tasks.get(`${view.ref.namespace}/${view.ref.name}`);
  if (task === undefined || task.metadata.uid !== view.ref.uid) return;
  const situation = await informed(situationOf(task), deps);
  const now = viewOf(situation, deps);
  const answered = answer(now, now.status, deps.time.now());
  if (now.stored !== null && answered !== now.status) await storeStatus(answered, now, situation, deps);
}

/** One poll of a read or gate; null: a command came, what was seen is dropped. */
async function pollOnce(
  task: KubeObject,
  view: TaskView,
  act: Act,
  { deps, attention }: Shell,
): Promise<Outcome | Found | null> {
  const stop = new AbortController();
  const polled = perform(view, act, {
    deps,
    signal: AbortSignal.any([stop.signal, attention.signal]),
    claimed: claimTime(deps),
  });
  while ((await first(polled, attention)) === "changed") {
    if (!isCommanded(task, deps.tasks.get(keyOf(task)))) continue;
    stop.abort();
    await polled;
    return null;
  }
  return attention.signal.aborted ? null : polled;
}

/** A newer spec (control is all that can change) or a deletion. */
const isCommanded = (before: KubeObject, now: KubeObject | undefined): boolean =>
  now === undefined ||
  now.metadata.generation !== before.metadata.generation ||
  now.metadata.deletionTimestamp !== before.metadata.deletionTimestamp;

/** The newest copy there is: the cache may have a command that the copy in hand has not. */
function latest(situation: Situation, deps: ControllerDeps): Situation {
  const cached = deps.tasks.get(keyOf(situation.task));
  const newer =
    cached !== undefined && cached.metadata.uid === situation.task.metadata.uid && isCommanded(situation.task, cached);
  return newer ? situationOf(cached) : situation;
}

async function afterOutcome(turn: Turn, view: TaskView, { deps }: Shell): Promise<Turn | Next> {
  const { inHand } = turn;
  if (inHand === null) return turn;
  const memory = deps.memories.of(`${view.ref.namespace}/${view.ref.name}`, view.ref.uid);
  const { outcome } = inHand;
  if (outcome.is === "waiting" && memory.polling !== null) {
    const now = deps.clock.monotonic();
    beat(view, outcome.message, now, deps);
    const until = outcome.again === null ? null : millisOf(now + outcome.again);
    memory.polling = {
      ...memory.polling,
      until,
      memo: outcome.memo,
      generation: turn.situation.task.metadata.generation ?? 0,
    };
    return turn;
  }
  memory.polling = null;
  if (outcome.is !== "fenced") return turn;
  // Fenced: either another process took over, or the receiver knows a history that we do not (protocol.md, On Fenced).
  const fresh = await reread(turn, deps);
  if (fresh === null) return GONE;
  const situation = situationOf(fresh);
  const current = openEntry(viewOf(situation, deps).status)?.claim?.nonce === inHand.act.nonce;
  return current ? { situation, inHand } : { situation, inHand: null };
}

/** At most one heartbeat in ten seconds, counted per stage. */
function beat(view: TaskView, message: string, now: Millis, deps: ControllerDeps): void {
  const memory = deps.memories.of(`${view.ref.namespace}/${view.ref.name}`, view.ref.uid);
  const stage = memory.polling?.nonce ?? "";
  const before = memory.heartbeat?.stage === stage ? memory.heartbeat : null;
  if (before === null) memory.heartbeat = { stage, at: now, count: 0 };
  if (before === null || now - before.at < HEARTBEAT) return;
  memory.heartbeat = { stage, at: now, count: before.count + 1 };
  emitHeartbeat(view, message, before.count + 1, deps);
}
const HEARTBEAT = seconds(10);

/** The one place where a task's status is written, for tenants' controller too: full replace of what was read, with its resourceVersion; Events only afterwards. */
export async function storeStatus(
  status: Status,
  view: TaskView,
  situation: Situation,
  deps: ControllerDeps,
): Promise<KubeObject> {
  const now = deps.time.now();
  const made = madeBy(view, status, deps);
  const next: Status = { ...status, eventSequence: sequenceAfter(view.stored, made) };
  const conditions = conditionsOf(next, now, view.ref);
  const total = view.spec?.stages.length ?? 0;
  const raw = statusTo(situation.task["status"], next, { generation: view.generation, total, conditions });
  assertBounded(raw, view);
  const stored = await deps.client.replaceStatus(
    SWITCH_TASKS,
    { ...situation.task, status: raw },
    { point: { class: "api/status", subject: `${view.ref.namespace}/${view.ref.name}` }, lane: "bulk" },
  );
  deps.tasks.refresh(stored);
  emit(made, view, deps);
  tellAll(next, view, deps);
  return stored;
}

/** One listener that throws disturbs no other (R77). */
function tellAll(after: Status, view: TaskView, deps: ControllerDeps): void {
  for (const listener of deps.listeners) {
    try {
      listener(view.stored, after, view);
    } catch (error) {
      deps.log.error({ error }, "a listener threw");
    }
  }
}

/** S25: a status that outgrew its bound is a bug; storing it would only move the failure to the API server. */
const LARGEST_STATUS = 60 * 1024;
function assertBounded(raw: unknown, view: TaskView): void {
  const bytes = Buffer.byteLength(JSON.stringify(raw));
  if (bytes > LARGEST_STATUS) {
    throw new ExecutionError(fault("Internal", { reason: `the status of ${view.ref.name} has ${bytes} bytes` }));
  }
}

/** The one place where a TenantState's status is written. @throws KubeError Conflict where the copy is not the newest. */
export async function storeTenantStatus(
  tenant: KubeObject,
  status: TenantStatus,
  subject: string,
  deps: ControllerDeps,
): Promise<KubeObject> {
  const stored = await deps.client.replaceStatus(
    TENANT_STATES,
    { ...tenant, status: tenantTo(tenant["status"], status) },
    { point: { class: "api/tenant", subject } },
  );
  deps.tenants.refresh(stored);
  return stored;
}

/** Lock and release, on the copy that was decided on. */
async function storeLock(
  status: TenantStatus,
  view: TaskView,
  { tenant }: Situation,
  deps: ControllerDeps,
): Promise<KubeObject> {
  const object = tenant === undefined ? deps.tenants.get(`${view.ref.namespace}/${view.tenant.name}`) : tenant;
  if (object === undefined || object === null) throw new Error(`no TenantState ${view.tenant.name} to write`);
  return storeTenantStatus(object, status, `${view.ref.namespace}/${view.ref.name}`, deps);
}
