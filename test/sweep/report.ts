import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stepsOf, taskHistories } from "../history/look-up.ts";
import type { Entry } from "../history/recording.ts";
import type { SweepWorld } from "../support/sweep-world.ts";
import { againOf, type Cell, nameOf } from "./cells.ts";
import type { Problem } from "./judge.ts";
import type { Ran } from "./run.ts";

/** A run that is not as it should be; `ran` null: it did not come to its end. */
export interface Failure {
  readonly cell: Cell;
  readonly problems: readonly Problem[];
  readonly ran: Ran | null;
}

const ROOT = join(import.meta.dirname, "..", "..");
const AROUND = 5;

/** docs/testing.md, How a failure reads. */
export async function reportOf(
  { cell, problems, ran }: Failure,
  about: { readonly seed: string; readonly number: number; readonly world: SweepWorld },
): Promise<string> {
  const [first] = problems;
  if (first === undefined) return "";
  const id = first.id === "T6" ? "[T6]" : `[T6][${first.id}]`;
  const lines = ran === null ? [] : linesAround(ran.recording.entries, first.order);
  const kept = ran === null ? null : await keep(ran, about);
  const more = problems.slice(1, 8).map(({ id, says }) => `  also [${id}] ${says}`);
  return [
    `✘ ${id} ${nameOf(cell)}: ${first.says}`,
    `  seed ${about.seed}   fault fired ${ran?.fired.length ?? 0}×`,
    ...lines.map((line) => `  ${line}`),
    ...more,
    `  again  ${againOf(cell, about.seed)}`,
    ...(kept === null ? [] : [`  kept   ${kept}`]),
  ].join("\n");
}

function linesAround(entries: readonly Entry[], order: number | null): readonly string[] {
  const told = entries.filter((entry) => line(entry) !== null);
  const at = order === null ? told.length - 1 : told.findIndex((entry) => entry.order >= order);
  const here = at < 0 ? told.length - 1 : at;
  return told.slice(Math.max(0, here - AROUND), here + 3).map((entry) => {
    const mark = entry.order === order ? "    ← here" : "";
    return `${String(Math.round(entry.order)).padStart(5)} ${line(entry) ?? ""}${mark}`;
  });
}

/** One line of a history; null for what says nothing about a stage. */
function line(entry: Entry): string | null {
  switch (entry.is) {
    case "task": {
      const open = entry.status?.stages.find(({ claim }) => claim !== null);
      const stages = entry.status?.stages.map(({ name, state }) => `${name} ${state}`).join(", ");
      const what =
        open === undefined ? `stored ${stages ?? ""}` : `claim ${open.name} ${open.part ?? "Forward"} seq ${open.seq}`;
      return `${what}   ${entry.status?.phase ?? "no status"}   rv ${entry.rv}`;
    }
    case "tenant":
      return `tenant ${entry.holder === null ? "free" : `held by ${entry.holder.task} ${entry.holder.direction}`}   epoch ${entry.epoch ?? "none"}   rv ${entry.rv}`;
    case "effect":
      return `effect ${entry.to}   fence ${entry.fence}   ${entry.verdict.toUpperCase()}   ${entry.process ?? ""}`;
    case "happening":
      if (entry.what === "lease") return `lease held by ${entry.holder ?? "nobody"}`;
      return `${entry.what} ${"process" in entry ? entry.process : ""}`;
    default:
      return null;
  }
}

/** What a person needs to look into it, without what is secret. */
async function keep(ran: Ran, { seed, number }: { readonly seed: string; readonly number: number }): Promise<string> {
  const folder = join(".failures", `${seed}-${number}`);
  const to = join(ROOT, folder);
  await mkdir(to, { recursive: true });
  const { entries } = ran.recording;
  const of = (...kinds: readonly Entry["is"][]): string =>
    entries
      .filter(({ is }) => kinds.includes(is))
      .map((entry) => JSON.stringify(entry))
      .join("\n");
  await writeFile(join(to, "versions"), of("task", "tenant"));
  await writeFile(join(to, "effects"), of("effect"));
  await writeFile(join(to, "requests"), of("write"));
  const steps = taskHistories(ran.recording).flatMap(stepsOf).length;
  await writeFile(join(to, "trace"), `${ran.trace.join("\n")}\n${ran.fired.join("\n")}\n${steps} versions\n`);
  for (const { log, process } of ran.operators) {
    await cp(log, join(to, `log-${process}`));
    await cp(log.replace(/log$/, "settings.json"), join(to, `settings-${process}`));
  }
  return `${folder}/`;
}
