// Long runs on the clock, each a script of its own: nothing here runs with `npm test`, and nothing here is a test file.
// What they share: an environment, and what a run says at its end.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { parseEnv } from "../../deployment/local/env-file.ts";
import { openEnvironment } from "../../deployment/local/environment.ts";
import { openTestStand, type StandOptions, type TestStand } from "../support/stand.ts";

export interface SoakWorld extends AsyncDisposable {
  /** They may be several, one after the other. */
  stand(options: StandOptions): Promise<TestStand>;
}

/** In the environment that TURNOUT_ENV_FILE names, else one of its own. */
export async function openSoakWorld(): Promise<SoakWorld> {
  await using opening = new AsyncDisposableStack();
  const file = process.env["TURNOUT_ENV_FILE"];
  const env =
    file === undefined
      ? opening.use(await openEnvironment({ with: ["redis"], print: say })).env
      : parseEnv(await readFile(file, "utf8"));
  const open = opening.move();
  return { stand: (options) => openTestStand(env, options), [Symbol.asyncDispose]: () => open.disposeAsync() };
}

export const say = (line: string): void => console.log(line);

/** Whole numbers by name, each with what it is unless told otherwise. @throws for any other argument */
export function numbersFrom<T extends Readonly<Record<string, number>>>(defaults: T): T {
  const options = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: "string" } as const]));
  const { values } = parseArgs({ options });
  const given = Object.entries(values).map(([name, text]) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} ${String(text)} is no whole number above 0`);
    return [name, value] as const;
  });
  return { ...defaults, ...Object.fromEntries(given) };
}

/** Runs it, says what was wrong, and ends with that. */
export async function runScript(work: () => Promise<readonly string[]>): Promise<void> {
  const started = performance.now();
  const wrong = await work().catch((error: unknown) => [
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  ]);
  for (const line of wrong) say(`✘ ${line}`);
  say(`${wrong.length === 0 ? "held" : "broken"} after ${Math.round((performance.now() - started) / 1000)} s`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
