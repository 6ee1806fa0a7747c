// Long runs on the clock, each a script of its own: nothing here runs with `npm test`, and nothing here is a test file.
// What they share: an environment, and what a run says at its end.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { parseEnv } from "../../deployment/local/env-file.ts";
import { type Environment, type EnvironmentOptions, openEnvironment } from "../../deployment/local/environment.ts";
import { openTestStand, type StandOptions, type TestStand } from "../support/stand.ts";

export interface SoakWorld extends AsyncDisposable {
  /** They may be several, one after the other. */
  stand(options: StandOptions): Promise<TestStand>;
}

/** In the environment that TURNOUT_ENV_FILE names, else one of its own. */
export async function openSoakWorld(): Promise<SoakWorld> {
  const open = await openSoakServers({ with: ["redis"] });
  return { stand: (options) => openTestStand(open.env, options), [Symbol.asyncDispose]: open[Symbol.asyncDispose] };
}

export interface SoakServers extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
  /** Null where somebody else's are used, which nobody else may stop. */
  readonly own: Environment | null;
}

/** As {@link openSoakWorld}, for who needs servers only. */
export async function openSoakServers(
  options: Pick<EnvironmentOptions, "with" | "controlPlane">,
): Promise<SoakServers> {
  const file = process.env["TURNOUT_ENV_FILE"];
  if (file !== undefined)
    return { env: parseEnv(await readFile(file, "utf8")), own: null, [Symbol.asyncDispose]: async () => undefined };
  const own = await openEnvironment({ ...options, print: say });
  return { env: own.env, own, [Symbol.asyncDispose]: () => own.close() };
}

export const say = (line: string): void => console.log(line);

/** Whole numbers by name, each with what it is unless told otherwise. @throws for any other argument but a flag that is known */
export function numbersFrom<T extends Readonly<Record<string, number>>>(defaults: T, flags: readonly string[] = []): T {
  const args = process.argv.slice(2).filter((argument) => !flags.includes(argument));
  const options = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: "string" } as const]));
  const { values } = parseArgs({ args, options });
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
