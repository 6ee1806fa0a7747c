#!/usr/bin/env node
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatDuration, millisOf } from "../../src/lib/time.ts";
import { openEnvironment } from "../local/environment.ts";
import { type Machine, openMachine } from "../local/machine.ts";
import { untilAborted, untilOrphaned } from "../local/orphan.ts";
import { EnvironmentProblem } from "../local/problem.ts";
import { audit, auditTable } from "./audit.ts";
import { openBoard } from "./board.ts";
import { play } from "./play.ts";
import { buildOperator, openStand, SAMPLE_PORTS, type Stand } from "./stand.ts";

const USAGE = `npm run demo -- [--keep] [--context NAME]

Moves twelve tenants from blue to green on a real Kubernetes API server, kills the operator in the middle, pauses one tenant,
retries one, approves one, rolls one back, and compares at the end what statuses claim with what receivers and Redis hold.

  --keep           leaves everything running afterwards, until Ctrl-C
  --context NAME   uses that context of your kubeconfig instead of a local control plane
`;
const NAMESPACE = "turnout-demo";
const MANIFEST = join(import.meta.dirname, "..", "..", "config", "samples", "demo", "tenants.yaml");

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      keep: { type: "boolean", default: false },
      context: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => ending.abort(new Error(`stopped by ${signal}`)));
  await using machine = await openMachine({ print: (line) => console.error(line), signal: ending.signal });
  const watching = new AbortController();
  using _ended = { [Symbol.dispose]: () => watching.abort() };
  void untilOrphaned({ clock: machine.clock, signal: watching.signal }).then(() => ending.abort());
  const started = machine.clock.monotonic();
  await using environment = await openEnvironment({
    with: ["redis"],
    print: machine.print,
    signal: ending.signal,
    ...(values.context === undefined ? {} : { controlPlane: false }),
  });
  await buildOperator(machine);
  await using stand = await openStand({ environment, namespace: NAMESPACE, context: values.context ?? null }, machine);
  await seed(stand);
  const board = openBoard(process.stdout);
  await play({ stand, board, machine }, await manifestFor(stand));
  const code = await report(stand, formatDuration(millisOf(Math.round(machine.clock.monotonic() - started))));
  if (values.keep) await stay(stand, environment.stateDir, machine);
  return code;
}

/** What Redis says before the night: every tenant on blue, version 41. hooli is new. An undo has to bring exactly this back. */
async function seed(stand: Stand): Promise<void> {
  for (const [, tenant] of (await readFile(MANIFEST, "utf8")).matchAll(/tenantId: (\S+)/g)) {
    if (tenant !== "hooli")
      await stand.redis.hset(`tenant:${tenant}`, { unit: "blue", trunkGroup: "tg-1", version: "41" });
  }
}

/** The samples name fixed ports; where those were taken, the manifest is written with the real ones. */
async function manifestFor(stand: Stand): Promise<string> {
  if (stand.blue.port === SAMPLE_PORTS.blue && stand.green.port === SAMPLE_PORTS.green) return MANIFEST;
  const text = await readFile(MANIFEST, "utf8");
  const path = join(stand.folder, "tenants.yaml");
  await writeFile(
    path,
    text
      .replaceAll(String(SAMPLE_PORTS.blue), String(stand.blue.port))
      .replaceAll(String(SAMPLE_PORTS.green), String(stand.green.port)),
  );
  return path;
}

async function report(stand: Stand, took: string): Promise<number> {
  const rows = await audit(stand);
  const wrong = rows.filter(({ problems }) => problems.length > 0).length;
  console.log(`\nWhat statuses claim, against what receivers serve and Redis holds:\n`);
  for (const line of auditTable(rows)) console.log(`  ${line}`);
  console.log(
    wrong === 0 && rows.length === 12
      ? `\nAll 12 tenants are where their status says, no operation took effect twice. ${took} in all.`
      : `\n${wrong} of ${rows.length} tenants are not where their status says; the operator's log is ${stand.operatorLog}`,
  );
  console.log(`
Try next:
  npm run demo -- --keep                                   leaves it running; then, with the kubeconfig that it prints:
  kubectl get swt,tstate -n ${NAMESPACE}                  where every tenant is
  kubectl describe swt acme-green -n ${NAMESPACE}         what happened to one, event by event
  kubectl explain swt.spec.stages                          every field, from the server
  less config/samples/demo/tenants.yaml                    the twelve tasks`);
  return wrong === 0 && rows.length === 12 ? 0 : 1;
}

async function stay(stand: Stand, stateDir: string, machine: Machine): Promise<void> {
  const operator = await stand.startOperator();
  console.log(
    `\nStill running (operator pid ${operator.pid}); Ctrl-C ends it all.\n  set -a; . ${join(stateDir, "env")}; set +a\n  $KUBECTL get swt -n ${NAMESPACE} -w`,
  );
  await untilAborted(machine.signal);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof EnvironmentProblem ? error.message : error);
  process.exitCode = 1;
}
