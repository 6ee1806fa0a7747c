import { base32Digest } from "../../src/lib/digest.ts";
import { formatFence } from "../../src/lib/fence.ts";
import type { Direction, Effect, Recording, StageSeen, StatusSeen, TaskVersion, TenantVersion } from "./recording.ts";

// What checkers look up in a recording, each question once.

export const isTerminal = (phase: string): boolean =>
  phase === "Completed" || phase === "RolledBack" || phase === "Cancelled" || phase === "ValidationFailed";

export const tasksOf = ({ entries }: Recording): readonly TaskVersion[] =>
  entries.flatMap((entry) => (entry.is === "task" ? [entry] : [])).toSorted((a, b) => a.rv - b.rv);
export const tenantsOf = ({ entries }: Recording): readonly TenantVersion[] =>
  entries.flatMap((entry) => (entry.is === "tenant" ? [entry] : [])).toSorted((a, b) => a.rv - b.rv);
export const effectsOf = ({ entries }: Recording): readonly Effect[] =>
  entries.flatMap((entry) => (entry.is === "effect" ? [entry] : []));

/** The versions of each object, by uid, oldest first. */
export function histories<T extends { readonly uid: string }>(versions: readonly T[]): readonly (readonly T[])[] {
  const found = new Map<string, T[]>();
  for (const version of versions) {
    const known = found.get(version.uid);
    if (known === undefined) found.set(version.uid, [version]);
    else known.push(version);
  }
  return [...found.values()];
}

export const taskHistories = (recording: Recording): readonly (readonly TaskVersion[])[] =>
  histories(tasksOf(recording));

export interface Step {
  readonly before: TaskVersion | null;
  readonly after: TaskVersion;
}
export const stepsOf = (history: readonly TaskVersion[]): readonly Step[] =>
  history.map((after, i) => ({ before: history[i - 1] ?? null, after }));

export const stageOf = (status: StatusSeen | null | undefined, name: string): StageSeen | undefined =>
  status?.stages.find((stage) => stage.name === name);

/** A claim that a version stored and the one before had not. */
export interface Claim {
  readonly version: TaskVersion;
  readonly before: TaskVersion | null;
  readonly stage: StageSeen;
  readonly direction: Direction;
  readonly fence: string;
  readonly opId: string;
}

export function claimsOf(history: readonly TaskVersion[]): readonly Claim[] {
  return stepsOf(history).flatMap(({ before, after }) =>
    (after.status?.stages ?? []).flatMap((stage) => {
      const old = stageOf(before?.status, stage.name)?.claim ?? null;
      if (stage.claim === null || stage.claim.nonce === old?.nonce) return [];
      const direction = directionOf(stage);
      return [
        {
          version: after,
          before,
          stage,
          direction,
          fence: formatFence(after.status?.epoch ?? 0, stage.seq),
          opId: base32Digest(after.uid, stage.name, direction, stage.part ?? ""),
        },
      ];
    }),
  );
}

export const directionOf = ({ part }: Pick<StageSeen, "part">): Direction => (part === null ? "Forward" : "Back");

export const roleOf = ({ spec }: TaskVersion, stage: string): string =>
  spec.stages.find(({ name }) => name === stage)?.role ?? "unknown";

/** Whether a claim of it can change anything: writes and announces do, and the undo of a publication. */
export const canAct = (version: TaskVersion, stage: string): boolean => {
  const role = roleOf(version, stage);
  return role === "write" || role === "announce";
};
const isUndo = (part: string): boolean => !part.startsWith("verify");
export const acts = ({ version, stage }: Claim): boolean =>
  canAct(version, stage.name) && (stage.part === null || isUndo(stage.part));

/** Something of the task may be in force at a receiver, and nobody has said that it is over. */
export const isDirty = (version: TaskVersion): boolean => {
  const { status } = version;
  if (status === null || version.deleted) return false;
  const over = isTerminal(status.phase);
  return !over && status.stages.some((stage) => stage.seq > 0 && canAct(version, stage.name));
};

export interface Part {
  readonly stage: string;
  readonly part: string;
  readonly role: Role;
}
type Role = "write" | "announce" | "verify";

/**
 * The undo plan as protocol.md words it, the long way round: cut before each write that follows something else, take the pieces last first,
 * of each piece the writes in reverse, the announces again, the verifies.
 */
export function undoPlan({ spec, status }: TaskVersion, unfenced: readonly string[] = []): readonly Part[] {
  const { stages } = spec;
  const previousKnown = status?.previousKnown ?? spec.previousKnown;
  const starts = stages.flatMap(({ role }, i) =>
    i > 0 && role === "write" && stages[i - 1]?.role !== "write" ? [i] : [],
  );
  const cuts = [0, ...starts, stages.length];
  const plan: Part[] = [];
  for (let piece = cuts.length - 2; piece >= 0; piece -= 1) {
    const inside = stages.slice(cuts[piece], cuts[piece + 1]);
    for (const { name, role } of inside.toReversed())
      if (role === "write") plan.push({ stage: name, part: role, role });
    for (const { name, role, publishes } of inside) {
      if (role === "announce") plan.push({ stage: name, part: role, role });
      if (publishes) plan.push({ stage: name, part: "publish", role: "announce" });
    }
    for (const { name, role } of inside)
      if (role === "verify" && previousKnown) plan.push({ stage: name, part: "verify", role });
  }
  const again = plan.filter(({ role }) => role === "verify").map((part) => ({ ...part, part: `${part.part}-again` }));
  const slow = stages.some(({ endpoint }) => endpoint !== null && unfenced.includes(endpoint));
  return slow ? [...plan, ...again] : plan;
}

/** What an undo owes: the plan less writes and announces that were never claimed; nothing where only reads and gates were. */
export function owed(history: readonly TaskVersion[], unfenced: readonly string[] = []): readonly Part[] {
  const version = history.findLast(({ status }) => status !== null);
  if (version === undefined) return [];
  const forward = claimsOf(history).filter(({ direction }) => direction === "Forward");
  const claimed = (name: string): boolean => forward.some(({ stage }) => stage.name === name);
  const plan = undoPlan(version, unfenced);
  if (!plan.some(({ stage, role }) => role !== "verify" && claimed(stage))) return [];
  return plan.filter(({ stage, role }) => role === "verify" || claimed(stage));
}
