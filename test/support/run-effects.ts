import { fault } from "../../src/lib/failures.ts";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { millisOf, type Millis, plus } from "../../src/lib/time.ts";
import type { Act, Decision, Found, Outcome, TaskView } from "../../src/domain/task.ts";
import { SETTINGS } from "./domain-kinds.ts";
import {
  aReceiver,
  type Fate,
  type Memory,
  type Message,
  NO_MEMORY,
  received,
  servedAt,
  type Verdict,
  type World,
} from "./run-world.ts";
import { processOf, restarted, type Run, withMemory, withProcess } from "./run-process.ts";
import { memoryOf, remember, stored, type Turn } from "./run-store.ts";

const isFenced = (endpoint: string | null): boolean =>
  endpoint === null || SETTINGS.endpoints[endpoint]?.fencing !== "None";

type ActDecision = Extract<Decision, { readonly do: "act" }>;

/** claim → act. The outcome stays in hand for the write that settles it. */
export function acted(at: Turn, view: TaskView, { act, status }: ActDecision, fate: Fate): Run {
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
  if (fate.startsWith("crash")) return restarted(at.run, at.process.identity);
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
  if (crash) return restarted(run, turn.process.identity);
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

export function delivered(run: Run, message: Message): { readonly run: Run; readonly verdict: Verdict } {
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
