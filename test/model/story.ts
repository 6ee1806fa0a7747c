import { formatFence } from "../../src/lib/fence.ts";
import { openEntry } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import type { Decision } from "../../src/domain/task.ts";
import type { Counterexample } from "./search.ts";
import type { Flight, Process, TaskObject, TenantObject, Verdict } from "./world.ts";

// A run in words, one line for each step (testing.md, How a failure reads).

interface Telling {
  readonly process: Process;
  readonly index: number;
}

const who = ({ process }: Telling): string => `p${process.index + 1}`;
const ended = (fate: string): string =>
  fate === "ok" ? "" : fate === "late" ? ", given up, under way" : ", the answer is lost";

export function sayTask(telling: Telling, decision: Decision, after: TaskObject, fate: string): string {
  const name = `acme-${telling.index + 1}`;
  const before = telling.process.copies[telling.index]?.of.status ?? null;
  const by = `${who(telling)} (${decision.because})${ended(fate)}`;
  switch (decision.do) {
    case "act": {
      const { stage, direction, part, fence, base } = decision.act;
      const what = part === null ? stage : `${stage}/${part}`;
      const settles = settledBy(before, after.status);
      return `claim  ${name} ${what} ${direction}  fence ${fence}  base ${base}  ${by}${settles}`;
    }
    case "finalizer":
      return `patch  ${name} finalizer on  ${by}`;
    case "remove":
      return `patch  ${name} finalizer off, label on  ${by}`;
    default:
      return `write  ${name} ${after.status?.phase}  ${by}${settledBy(before, after.status)}`;
  }
}

/** Which stage the write settled, and how. */
function settledBy(before: Status | null, after: Status | null): string {
  const open = before === null ? undefined : openEntry(before);
  const now = after?.stages.find(({ name }) => name === open?.name);
  if (open === undefined || now === undefined || now.claim?.nonce === open.claim?.nonce) return "";
  const doubt = now.outcome === "Unknown" ? ", Unknown" : "";
  return `  settles ${now.name} ${now.state}${doubt}`;
}

export function sayTenant(telling: Telling, decision: Decision, after: TenantObject, fate: string): string {
  const { holder, epoch, current } = after.status ?? { holder: null, epoch: 0, current: null };
  const state =
    holder === null
      ? `free, at ${current?.deployUnit.name ?? "an unknown place"}`
      : `${holder.task} ${holder.direction} ${epoch}`;
  return `${decision.do.padEnd(6)} TenantState ${state}  ${who(telling)} (${decision.because})${ended(fate)}`;
}

export function sayFlight({ message, from }: Flight, verdict: Verdict): string {
  const { does, stage, direction, to, fence } = message;
  return `effect ${does} ${stage} ${direction} at ${to}  fence ${fence}  of p${from + 1}: ${verdict}`;
}

/** As a failure is printed: what broke, then the run, the line that broke it last. */
export function story(name: string, { wrong, run }: Counterexample): string {
  const lines = run.map(
    (line, i) => `  ${String(i + 1).padStart(3)} ${line}${i === run.length - 1 ? "    ← here" : ""}`,
  );
  return [`✘ [T1]${wrong.startsWith("[") ? "" : " "}${wrong.replace("] ", `] ${name}: `)}`, ...lines].join("\n");
}

/** Short form of the epochs of a model, which are all alike. */
export const fenceText = (epoch: number, seq: number): string => formatFence(epoch, seq);
