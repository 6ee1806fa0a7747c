import { readFile } from "node:fs/promises";

/** Mutating requests and effects that an operator passed, by class, as the boundary of the test entry wrote them down. */
export type Trace = Readonly<Record<string, number>>;

/** What was sent, counted by class: `{"api/status": 5, "effect/redis": 1}`. `subject`: of one task or tenant only. */
export async function traced(file: string, subject?: string): Promise<Trace> {
  const counts: Record<string, number> = {};
  for (const line of await linesOf(file)) {
    const found = /^before (\S+)#\d+ (\S*)$/.exec(line);
    if (found === null || (subject !== undefined && found[2] !== subject)) continue;
    const kind = found[1] ?? "";
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Boundaries in the order in which they were passed: `api/status#1`, `effect/http#1`. */
export async function passed(file: string, subject: string): Promise<readonly string[]> {
  return (await linesOf(file)).flatMap((line) => {
    const found = /^before (\S+) (\S*)$/.exec(line);
    return found?.[2] === subject && found[1] !== undefined ? [found[1]] : [];
  });
}

/** Crash points that fired. */
export const fired = async (file: string): Promise<readonly string[]> =>
  (await linesOf(file)).flatMap((line) => (line.startsWith("fired ") ? [line.slice("fired ".length).trim()] : []));

const linesOf = async (file: string): Promise<readonly string[]> =>
  (await readFile(file, "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
