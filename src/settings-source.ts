import { stat } from "node:fs/promises";
import { join } from "node:path";
import { InfraError } from "./lib/infra-error.ts";
import type { JsonObject } from "./lib/json.ts";
import { formatDuration } from "./lib/time.ts";
import { coordOf } from "./infra/boot/kit-coord.ts";
import { openNetwork } from "./infra/boot/kit-network.ts";
import type { Coord } from "./infra/coord/coord.ts";
import type { ConfigManager } from "./infra/config/config-manager.ts";
import type { SettingsOf } from "./infra/config/components.ts";
import { crossCheck } from "./infra/config/cross-check.ts";
import { openConfig } from "./infra/config/open-config.ts";
import { formatProblem, type Problem } from "./infra/config/problems.ts";
import { type Environment, ENVIRONMENTS } from "./infra/config/services.ts";
import type { Settings } from "./infra/config/settings.ts";
import type { Checker } from "./infra/health/health.ts";
import type { Seams, Tools } from "./seams.ts";

/** Where the operator's settings come from, and how later ones reach it. */
export interface SettingsSource extends AsyncDisposable {
  readonly first: Settings;
  /** Where the first ones come from, in words. */
  readonly from: string;
  /** Called with each later value once it is in force; only what was checked as a whole gets there. */
  follow(apply: (next: Settings) => void): void;
  readonly checkers: readonly Checker[];
}

/** Read once, for as long as the process lives. */
export const fixedSettings = (settings: Settings, path: string): SettingsSource => ({
  first: settings,
  from: path,
  follow: () => undefined,
  checkers: [],
  [Symbol.asyncDispose]: () => Promise.resolve(),
});

export interface PlaneOptions {
  /** Root of the tree of files. */
  readonly files: string;
  readonly env: Environment;
  /** Folder for the last values of the centre; null: none is kept. */
  readonly snapshots: string | null;
}

/**
 * The operator's settings from the config plane: the tree of files, and above it the centre where one is configured (COORD_ENDPOINTS,
 * or a `coord` file for turnout). The centre down is no reason not to start, and a later value that does not hold changes nothing.
 * @throws InfraError CONFIG where files and centre give no settings that hold
 */
export async function planeSettings(options: PlaneOptions, seams: Seams, tools: Tools): Promise<SettingsSource> {
  await using opening = new AsyncDisposableStack();
  await mustBeTree(options);
  const about = { ...options, ...tools, service: "turnout", clock: seams.clock, rng: seams.rng } as const;
  const coord = await centreOf(about, seams);
  if (coord !== null) opening.use(coord);
  const centre = coord?.centre ?? null;
  const [operator, endpoints] = await bothOf(opening, [
    opened("operator", () => openConfig(centre, { ...about, component: "operator" }), options),
    opened("endpoints", () => openConfig(centre, { ...about, component: "endpoints" }), options),
  ]);
  const first = fitting({ operator: operator.current(), endpoints: endpoints.current() });
  for (const problem of first.left) tools.log.error({ problem }, "an endpoint is left out until it is corrected");
  let { left } = first;
  const open = opening.move();
  return {
    first: first.settings,
    from: [operator, endpoints].map((manager) => formatSource(options, manager)).join(", "),
    follow: (apply) =>
      follow(operator, endpoints, (next) => {
        left = [];
        apply(next);
      }),
    checkers: [checkerOf("operator", operator, () => []), checkerOf("endpoints", endpoints, () => left)],
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

function formatSource({ files, env }: PlaneOptions, manager: Operator | Endpoints): string {
  const { source, revision } = manager.status();
  if (source === "file") return `files of ${join(files, env)}`;
  return revision === null ? source : `${source} at revision ${revision}`;
}

/** @throws InfraError CONFIG */
async function mustBeTree({ files, env }: PlaneOptions): Promise<void> {
  const folder = join(files, env);
  const found = await stat(folder).catch(() => null);
  if (found?.isDirectory() === true) return;
  const message = `${folder}: there is no such folder (allowed: the root of a tree of ${ENVIRONMENTS.join(", ")})`;
  throw new InfraError({ component: "config", type: "CONFIG", code: "NoTree", message, retryable: false });
}

/** A refusal names the file that would have to hold the value. */
async function opened<M>(component: string, open: () => Promise<M>, { files, env }: PlaneOptions): Promise<M> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof InfraError) || error.code !== "NoGoodValue" || error.message.startsWith(files)) throw error;
    const { type, code, retryable } = error;
    const message = `${join(files, env, "turnout", `${component}.json`)}: ${error.message}`;
    throw new InfraError({ component: "config", type, code, message, retryable }, { cause: error });
  }
}

/** Both, or neither is left open. @throws what the first of them says */
async function bothOf<A extends AsyncDisposable, B extends AsyncDisposable>(
  opening: AsyncDisposableStack,
  [first, second]: readonly [Promise<A>, Promise<B>],
): Promise<readonly [A, B]> {
  for (const one of await Promise.allSettled([first, second])) if (one.status === "fulfilled") opening.use(one.value);
  return [await first, await second];
}

/**
 * What there is to start with. An endpoint that does not fit is left out rather than the whole operator: whoever has to go back at
 * night needs the others. @throws InfraError CONFIG where it is not an endpoint that does not fit
 */
function fitting(settings: Settings): { readonly settings: Settings; readonly left: readonly string[] } {
  const problems = problemsOf(settings);
  const places = new Set(problems.map(({ path }) => /^endpoints\[(\d+)\]/.exec(path)?.[1]));
  if (places.has(undefined)) throw doNotFit(problems);
  const endpoints = settings.endpoints.filter((_endpoint, i) => !places.has(String(i)));
  return { settings: { ...settings, endpoints }, left: problems.map(formatProblem) };
}

type Operator = ConfigManager<SettingsOf<"operator">>;
type Endpoints = ConfigManager<SettingsOf<"endpoints">>;

/** Each is judged together with the other as it is: what does not fit is refused, and the last good value stays. */
function follow(operator: Operator, endpoints: Endpoints, apply: (next: Settings) => void): void {
  const judge = (next: Settings): void => {
    const problems = problemsOf(next);
    if (problems.length > 0) throw doNotFit(problems);
  };
  const changed = (): void => apply({ operator: operator.current(), endpoints: endpoints.current() });
  operator.subscribe({
    name: "operator",
    prepare: (_old, next) => judge({ operator: next, endpoints: endpoints.current() }),
    commit: changed,
  });
  endpoints.subscribe({
    name: "operator",
    prepare: (_old, next) => judge({ operator: operator.current(), endpoints: next }),
    commit: changed,
  });
}

/** What no single component shows: an endpoint beyond the ceiling, a bound inside a shorter one. */
function problemsOf({ operator, endpoints }: Settings): readonly Problem[] {
  const { timeout, attemptTimeout, instanceTimeout } = operator.defaults;
  const texts = {
    timeout: formatDuration(timeout),
    attemptTimeout: formatDuration(attemptTimeout),
    instanceTimeout: formatDuration(instanceTimeout),
  };
  const raw = { operator: { ...operator, defaults: texts }, endpoints } as unknown as JsonObject;
  return crossCheck(raw);
}

const MOST_SAID = 8;
function doNotFit(problems: readonly Problem[]): InfraError {
  const said = problems.slice(0, MOST_SAID).map(formatProblem);
  const more = problems.length > MOST_SAID ? [`and ${problems.length - MOST_SAID} more`] : [];
  const message = [...said, ...more].join("; ");
  return new InfraError({ component: "config", type: "CONFIG", code: "DoesNotFit", message, retryable: false });
}

const checkerOf = (name: string, manager: Operator | Endpoints, left: () => readonly string[]): Checker => ({
  component: `config/${name}`,
  critical: false,
  check: () => {
    const [problem] = left();
    if (problem === undefined) return Promise.resolve(manager.check());
    return Promise.resolve({ status: "degraded", message: `${left().length} left out: ${problem}` });
  },
});

type About = PlaneOptions & Tools & { readonly service: "turnout" } & Pick<Seams, "clock" | "rng">;

/** Null where no centre is configured. */
async function centreOf(about: About, { resolve, env }: Seams): Promise<Coord | null> {
  const named = env["COORD_ENDPOINTS"] ?? "";
  await using manager = await openConfig(null, { ...about, component: "coord" });
  if (named === "" && manager.status().source === "default") return null;
  const network = openNetwork({ ...about, resolve, env, secretRoots: [] });
  return coordOf(manager.current(), named, { ...about, network });
}
