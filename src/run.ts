import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { realProcess, untilSignalled } from "./infra/boot/run-process.ts";
import { formatProblem } from "./infra/config/problems.ts";
import { loadSettings } from "./infra/config/load-settings.ts";
import { ConnectionError, type ConnectionChoice, loadConnection } from "./kube/connection.ts";
import { InfraError } from "./lib/infra-error.ts";
import { isEnvironment } from "./infra/config/services.ts";
import { compose, type OperatorOptions } from "./operator.ts";
import type { Seams } from "./seams.ts";
import { fixedSettings, type PlaneOptions, planeSettings } from "./settings-source.ts";

const USAGE = `turnout: the operator; "turnout config --help" shows config-cli

  --settings PATH     file {operator, endpoints} or folder with operator.json and endpoints.json: read once
  --config DIR        instead: the tree DIR/ENV/turnout/…, and above it the centre that COORD_ENDPOINTS names;
                      later values come into force while the operator runs
  --env ENV           dev, test or prod: which part of the tree (default: APP_ENV, else dev)
  --snapshots DIR     where the last values of the centre are kept for a start without it
  --kubeconfig FILE   cluster to work on; in a pod its service account is used instead
  --context NAME      context of the kubeconfig
  --namespace NS      only tasks of this namespace (default: all)
  --identity NAME     lease identity (default: POD_NAME, else host name and a random part)

Exit codes: 0 stopped as asked, 1 failed, 2 wrong arguments, settings or kubeconfig, 130 stopped at once by a second signal.
`;

interface Arguments {
  readonly settings: SettingsChoice;
  readonly choice: ConnectionChoice;
  readonly namespace: string | null;
  readonly identity: string;
}

type SettingsChoice = { readonly path: string } | PlaneOptions;

interface NamedSettings {
  readonly settings: string | undefined;
  readonly config: string | undefined;
  readonly env: string | undefined;
  readonly snapshots: string | undefined;
}

/** A text says what is wrong with what was named. */
function settingsChoice({ settings, config, env = "dev", snapshots }: NamedSettings): SettingsChoice | string {
  if (settings !== undefined && config !== undefined) return "--settings and --config exclude each other";
  if (settings !== undefined) return { path: settings };
  if (config === undefined) return "neither --settings nor --config is given";
  if (!isEnvironment(env)) return `--env ${env.slice(0, 64)} is not dev, test or prod`;
  return { files: config, env, snapshots: snapshots ?? null };
}

/** Null: help is asked for. @throws Error that says what is wrong */
function argumentsOf(args: readonly string[], { env, rng }: Seams): Arguments | null {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      settings: text,
      config: text,
      env: text,
      snapshots: text,
      kubeconfig: text,
      context: text,
      namespace: text,
      identity: text,
      help: { type: "boolean", short: "h" },
    },
  });
  const { settings: path, config, snapshots } = values;
  const settings = settingsChoice({ settings: path, config, env: values.env ?? env["APP_ENV"], snapshots });
  if (values.help === true) return null;
  if (typeof settings === "string") throw new Error(settings);
  const inCluster = env["KUBERNETES_SERVICE_HOST"] !== undefined && values.kubeconfig === undefined;
  return {
    settings,
    choice: {
      inCluster,
      ...(values.kubeconfig === undefined ? {} : { kubeconfig: values.kubeconfig }),
      ...(values.context === undefined ? {} : { context: values.context }),
    },
    namespace: values.namespace ?? null,
    // Two processes with one identity would both believe in their lease: only a pod's name is known to be unique and lasting.
    identity: values.identity ?? env["POD_NAME"] ?? `${hostname()}-${rng.id().slice(0, 8)}`,
  };
}

/** Runs the operator until it is signalled. Gives the exit code; throws nothing but bugs. */
export async function runOperator(args: readonly string[], seams: Seams): Promise<number> {
  try {
    return await run(args, seams);
  } catch (error) {
    if (error instanceof ConnectionError || error instanceof InfraError) {
      console.error(`${error.message}; nothing was started`);
      return error instanceof ConnectionError || error.type === "CONFIG" ? 2 : 1;
    }
    console.error(error);
    return 1;
  }
}

async function run(args: readonly string[], seams: Seams): Promise<number> {
  let given: Arguments | null;
  try {
    given = argumentsOf(args, seams);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (given === null) {
    console.error(USAGE);
    return 0;
  }
  const settings = await settingsOf(given.settings, seams);
  if (settings === null) return 2;
  const connection = loadConnection(given.choice);
  const operator = await compose(
    {
      connection,
      settings,
      namespace: given.namespace,
      identity: given.identity,
    },
    seams,
  );
  const { origin, user } = connection;
  const about = { identity: given.identity, listen: operator.health.address, settings: operator.settingsFrom };
  operator.log.info({ ...about, apiServer: origin, user }, "started");
  const stop = untilSignalled(realProcess);
  const told = (): void => operator.log.info({}, "told to stop: what is under way settles first");
  stop.addEventListener("abort", told, { once: true });
  await operator.run(stop);
  return 0;
}

/** Null where the file does not hold: what is wrong with it was said. */
async function settingsOf(choice: SettingsChoice, seams: Seams): Promise<OperatorOptions["settings"] | null> {
  if (!("path" in choice)) return (tools) => planeSettings(choice, seams, tools);
  const loaded = await loadSettings(choice.path);
  if (loaded.ok) return () => Promise.resolve(fixedSettings(loaded.settings, choice.path));
  console.error(`${choice.path}: ${loaded.problems.length} problem(s), nothing was started`);
  for (const problem of loaded.problems) console.error(`  ${formatProblem(problem)}`);
  return null;
}
