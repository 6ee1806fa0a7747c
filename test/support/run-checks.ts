import { fenceOf } from "../../src/domain/lock.ts";
import { isTerminal, mayEnter, STAGE_EDGES, type StageState } from "../../src/domain/phase.ts";
import { type StageEntry, type Status, type TaskSpec } from "../../src/domain/stored.ts";
import { between } from "../../src/lib/time.ts";
import type { Run } from "./run-process.ts";
import type { Happening } from "./run-world.ts";
import { undoOrder } from "./undo-order.ts";

// What must hold in every run (protocol.md, Invariants). Each check reads the trace alone and answers with what it found wrong.

type Version = Extract<Happening, { readonly is: "version" }>;
type Check = (run: Run) => readonly string[];

const versions = ({ trace }: Run): readonly Version[] => trace.flatMap((one) => (one.is === "version" ? [one] : []));

/** The stage that this write claimed; null where it claimed nothing. */
export function claimedBy({ before, after }: Version): StageEntry | null {
  const open = after.stages.find(({ claim }) => claim !== null);
  const old = before?.stages.find(({ claim }) => claim !== null);
  return open === undefined || open.claim?.nonce === old?.claim?.nonce ? null : open;
}

const specOf = ({ world }: Run, task: string): TaskSpec => {
  const found = world.tasks[task];
  if (found === undefined) throw new Error(`no task ${task}`);
  return found.spec;
};

/** States that can follow within one write: one edge or several. */
function reachable(from: StageState): ReadonlySet<StageState> {
  const found = new Set<StageState>([from]);
  for (const state of found) for (const next of STAGE_EDGES[state]) found.add(next);
  return found;
}

const phases: Check = (run) =>
  versions(run).flatMap(({ task, after, before }) => {
    const broken = after.history.flatMap(({ from, to }, i) => {
      const arrow = from !== null && mayEnter(from, to) ? [] : [`[R24] ${task}: ${from} → ${to} is no arrow`];
      const next = after.history[i + 1];
      return next !== undefined && next.from !== to ? [...arrow, `[R22] ${task}: history jumps at ${to}`] : arrow;
    });
    const last = after.history.at(-1)?.to ?? "Created";
    const ends = last === after.phase ? [] : [`[R22] ${task}: history ends at ${last}, the phase is ${after.phase}`];
    const kept = (before?.history ?? []).at(-1);
    const follows =
      kept === undefined ||
      after.history.some((entry) => entry.at === kept.at && entry.to === kept.to && entry.from === kept.from);
    return [...broken, ...ends, ...(follows ? [] : [`[R22] ${task}: history lost ${kept.to}`])];
  });

const steps: Check = (run) =>
  versions(run).flatMap((version) => (version.before === null ? [] : step(version, version.before)));

function step({ task, after }: Version, before: Status): readonly string[] {
  const wrong: string[] = [];
  if (before.direction === "Back" && after.direction === "Forward") wrong.push(`[S4] ${task} turned forward again`);
  if (after.seq < before.seq) wrong.push(`[S5] ${task}: seq fell from ${before.seq} to ${after.seq}`);
  if (after.seq > before.seq + 1) wrong.push(`[S5] ${task}: one write, ${after.seq - before.seq} claims`);
  if (before.plan !== null && JSON.stringify(before.plan) !== JSON.stringify(after.plan)) {
    wrong.push(`[S5] ${task}: the plan changed`);
  }
  const names = after.stages.map(({ name }) => name);
  if (before.stages.some(({ name }, i) => names[i] !== name))
    wrong.push(`[S5] ${task}: entries were moved or taken out`);
  if (before.instances.some((address, i) => after.instances[i] !== address))
    wrong.push(`[S5] ${task}: instances moved`);
  for (const old of before.stages) {
    const now = after.stages.find(({ name }) => name === old.name);
    if (now === undefined) continue;
    if (!reachable(old.state).has(now.state)) wrong.push(`[S5] ${task}: stage ${old.name} ${old.state} → ${now.state}`);
    const settled = old.state === "Completed" || old.state === "Skipped";
    if (settled && now.state !== old.state && after.direction === "Forward") {
      wrong.push(`[S6] ${task}: the checkpoint of ${old.name} is lost`);
    }
    if (old.undone.some((part) => !now.undone.includes(part)))
      wrong.push(`[S6] ${task}: ${old.name} lost an undone part`);
  }
  return wrong;
}

const claims: Check = (run) =>
  versions(run).flatMap((version) => {
    const { task, after, before, control } = version;
    const open = after.stages.filter(({ claim }) => claim !== null);
    const wrong = open.length > 1 ? [`[S11] ${task}: ${open.length} open claims`] : [];
    const claim = claimedBy(version);
    if (claim === null) return wrong;
    if (claim.seq !== after.seq) wrong.push(`[S5] ${task}: the claim of ${claim.name} carries an old seq`);
    if (before !== null && isTerminal(before.phase) && !(before.phase === "Completed" && after.direction === "Back")) {
      wrong.push(`[S12] ${task} claimed ${claim.name} although it was ${before.phase}`);
    }
    wrong.push(...overOpen(version, claim));
    if (claim.part !== null) return wrong;
    if (after.direction === "Back") wrong.push(`[S21] ${task} claimed ${claim.name} forward on the way back`);
    if (before?.phase === "Paused" && control.paused !== false)
      wrong.push(`[S20] ${task} claimed ${claim.name} while paused`);
    const stages = specOf(run, task).stages.map(({ name }) => name);
    for (const earlier of stages.slice(0, stages.indexOf(claim.name))) {
      const state = after.stages.find(({ name }) => name === earlier)?.state ?? "Pending";
      if (state !== "Completed" && state !== "Skipped")
        wrong.push(`[S1] ${task} claimed ${claim.name} before ${earlier}, ${state}`);
    }
    return wrong;
  });

/** A claim that takes the place of an open one: its outcome was in hand, or its time to live is over; reads and gates may start again. */
function overOpen({ task, before, inHand, now }: Version, claim: StageEntry): string[] {
  const open = before?.stages.find((entry) => entry.claim !== null)?.claim ?? null;
  if (open === null || open.until === null || inHand?.act.nonce === open.nonce) return [];
  return between(open.at, now) < between(open.at, open.until)
    ? [`[S11] ${task} claimed ${claim.name} over a claim that may still act`]
    : [];
}

/** Back claims = undo plan less never-claimed writes and announces, in its order; complete where the task is over. */
const backward: Check = (run) =>
  Object.keys(run.world.tasks).flatMap((task) => {
    const all = versions(run).filter((version) => version.task === task);
    const first = all.findIndex(({ after }) => after.direction === "Back");
    const turned = all[first];
    if (turned === undefined || turned.after.plan === null) return [];
    const made = all
      .map(claimedBy)
      .flatMap((claim) => (claim !== null && claim.part !== null ? [`${claim.name}/${claim.part}`] : []))
      .filter((name, i, list) => list[i - 1] !== name);
    const due = undoOrder(specOf(run, task), {
      previousKnown: turned.after.plan.previous !== null,
      claimed: turned.after.stages.filter(({ seq }) => seq > 0).map(({ name }) => name),
      unfenced: turned.after.plan.unfenced.length > 0,
    });
    const last = all.at(-1)?.after;
    const done =
      last !== undefined && (last.phase === "RolledBack" || last.phase === "Cancelled") && last.abandoned === null;
    const wanted = done ? due : due.slice(0, made.length);
    const { unfenced } = turned.after.plan;
    const missed = specOf(run, task).stages.filter(
      ({ name, config }) => config["endpoint"] === "legacy" && !unfenced.includes(name),
    );
    if (missed.length > 0) return [`[S8] ${task}: ${missed.map(({ name }) => name).join(" ")} taken for fenced`];
    return made.join(" ") === wanted.join(" ")
      ? []
      : [`[S2] ${task} undid ${made.join(" ")}, due was ${due.join(" ")}`];
  });

const writeAhead: Check = ({ trace }) => {
  const claimed = new Set<string>();
  return trace.flatMap((one) => {
    if (one.is === "version") {
      for (const { name, seq, part, claim } of one.after.stages) {
        if (claim !== null) claimed.add([one.uid, name, part, fenceOf({ epoch: one.after.epoch, seq })].join(" "));
      }
    }
    if (one.is !== "effect") return [];
    const { uid, stage, part, fence } = one.message;
    return claimed.has([uid, stage, part, fence].join(" "))
      ? []
      : [`[S3] ${stage} ${part ?? ""} took effect without a claim`];
  });
};

/** After an undo of a stage settled, nothing forward of it takes force at a fencing receiver. */
const undoIsLast: Check = ({ trace }) => {
  const undone = new Set<string>();
  return trace.flatMap((one) => {
    if (one.is === "version") {
      for (const { name, state } of one.after.stages) if (state === "RolledBack") undone.add(`${one.uid} ${name}`);
    }
    if (one.is !== "effect" || one.verdict !== "accepted" || one.message.direction !== "Forward") return [];
    const { uid, stage, fenced } = one.message;
    return fenced && undone.has(`${uid} ${stage}`) ? [`[S8] ${stage} took force after its undo settled`] : [];
  });
};

const fences: Check = (run) => {
  let highest = "";
  return versions(run).flatMap((version) => {
    const claim = claimedBy(version);
    if (claim === null) return [];
    const fence = fenceOf({ epoch: version.after.epoch, seq: claim.seq });
    const wrong = fence > highest ? [] : [`[S10] ${version.task}: fence ${fence} after ${highest}`];
    highest = fence > highest ? fence : highest;
    return wrong;
  });
};

/** An outcome that nobody knows is stored as such until a probe, an answer, or a new operation says more. */
const unknowns: Check = (run) =>
  versions(run).flatMap((version) => {
    const { task, before, after, inHand } = version;
    return (before?.stages ?? []).flatMap((old) => {
      const now = after.stages.find(({ name }) => name === old.name);
      if (now === undefined || old.outcome !== "Unknown" || now.outcome === "Unknown" || now.part !== old.part)
        return [];
      const known = inHand?.act.stage === old.name && (inHand.act.probe !== "no" || inHand.outcome.is === "done");
      return known || now.state === "RolledBack" ? [] : [`[S26] ${task}: the doubt about ${old.name} was dropped`];
    });
  });

const ambiguous: Check = (run) =>
  versions(run).flatMap(({ task, after, inHand }) => {
    if (inHand === null || inHand.outcome.is !== "unknown") return [];
    const entry = after.stages.find(({ name }) => name === inHand.act.stage);
    const asked = entry?.part === inHand.act.part && entry.seq === inHand.act.seq;
    return asked && entry.outcome !== "Unknown"
      ? [`[S26] ${task}: nobody knows about ${entry.name}, and the status says otherwise`]
      : [];
  });

/** A stage that was claimed and is neither undone nor part of a Completed task. */
const isDirty = ({ phase, stages, abandoned }: Status): boolean =>
  abandoned === null &&
  phase !== "Completed" &&
  phase !== "RolledBack" &&
  phase !== "Cancelled" &&
  stages.some(({ seq, state }) => seq > 0 && state !== "RolledBack");

const mutex: Check = ({ trace }) => {
  const latest = new Map<string, Status>();
  let holder: string | null = null;
  return trace.flatMap((one) => {
    if (one.is === "version") {
      latest.set(one.uid, one.after);
      const dirty = [...latest].filter(([, status]) => isDirty(status)).map(([uid]) => uid);
      return dirty.length > 1 ? [`[S9] dirty at once: ${dirty.join(", ")}`] : [];
    }
    if (one.is === "lock") {
      const freed = holder !== null && one.after.holder === null;
      const over = latest.get(holder ?? "");
      const wrong =
        freed && (over === undefined || !isTerminal(over.phase))
          ? [`[S28] the lock of ${holder} was cleared under it`]
          : [];
      holder = one.after.holder?.uid ?? null;
      return wrong;
    }
    if (one.is === "finalizer" && !one.on && holder === one.uid)
      return [`[S27] ${one.task} let go while it held the tenant`];
    return [];
  });
};

const finalizers: Check = ({ trace }) => {
  const on = new Set<string>();
  return trace.flatMap((one) => {
    if (one.is === "finalizer") {
      if (one.on) on.add(one.task);
      else on.delete(one.task);
    }
    return one.is === "version" && claimedBy(one) !== null && !on.has(one.task)
      ? [`[S27] ${one.task} claimed without its finalizer`]
      : [];
  });
};

/** Completed only with every stage settled; RolledBack only with nothing left to undo. */
const ends: Check = (run) =>
  versions(run).flatMap(({ task, after }) => {
    if (after.phase === "Completed" && after.history.at(-1)?.reason === "AllStagesSettled") {
      const open = specOf(run, task).stages.filter(({ name }) => {
        const state = after.stages.find((entry) => entry.name === name)?.state;
        return state !== "Completed" && state !== "Skipped";
      });
      return open.map(({ name }) => `[R25] ${task} Completed without ${name}`);
    }
    if (after.phase !== "RolledBack") return [];
    return after.stages
      .filter(({ state, seq }) => seq > 0 && state !== "RolledBack")
      .map(({ name, state }) => `[S7] ${task} RolledBack with ${name} ${state}`);
  });

const LARGEST = 60 * 1024;
const bounds: Check = (run) =>
  versions(run).flatMap(({ task, bytes, after, before }) => {
    const events = after.eventSequence - (before?.eventSequence ?? 0);
    return [
      ...(bytes > LARGEST ? [`[S25] ${task}: ${bytes} bytes`] : []),
      ...(events > 25 ? [`[S25] ${task}: ${events} Events of one write`] : []),
      ...(after.history.length > 20 ? [`[R22] ${task}: ${after.history.length} entries of history`] : []),
    ];
  });

/** Of a stored answer other than Accepted nothing changes while the command stays the same. */
const answers: Check = (run) =>
  versions(run).flatMap(({ task, before, after }) =>
    Object.entries(before?.commands ?? {}).flatMap(([field, old]) => {
      const now = Object.entries(after.commands).find(([name]) => name === field)?.[1];
      const same = now?.value === old.value && now.result === old.result && now.reason === old.reason;
      return now?.value !== old.value || old.result === "Accepted" || same
        ? []
        : [`[R66] ${task}: the answer to ${field} went from ${old.result} to ${now.result}`];
    }),
  );

/** Write nothing when nothing changed: two stored versions differ in more than moments. */
const idle: Check = (run) =>
  versions(run).flatMap(({ task, before, after }) =>
    before !== null && timeless(before) === timeless(after) ? [`[L8] ${task}: a write changed nothing but times`] : [],
  );

const timeless = ({ conditions: _projected, ...status }: Status): string =>
  JSON.stringify(status, (_key, value: unknown) => (typeof value === "number" && value > 1e12 ? "T" : value));

export const CHECKS = {
  phases,
  steps,
  claims,
  backward,
  writeAhead,
  undoIsLast,
  fences,
  unknowns,
  ambiguous,
  mutex,
  finalizers,
  ends,
  bounds,
  answers,
  idle,
} as const satisfies Readonly<Record<string, Check>>;
export type CheckName = keyof typeof CHECKS;

/** Everything that is wrong with a run. */
export const wrongWith = (run: Run): readonly string[] => Object.values(CHECKS).flatMap((check) => check(run));
