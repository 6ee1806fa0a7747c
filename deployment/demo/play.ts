import { type Millis, millisOf, seconds } from "../../src/lib/time.ts";
import type { Machine } from "../local/machine.ts";
import { until } from "../local/poll.ts";
import type { Board } from "./board.ts";
import type { OperatorProcess } from "./children.ts";
import { command } from "./kubectl.ts";
import type { Stand } from "./stand.ts";
import { readTasks, type TaskRow } from "./tasks.ts";

interface Stage {
  readonly stand: Stand;
  readonly board: Board;
  readonly machine: Machine;
}

/** Longest wait for one step of the play. */
const PATIENCE: Millis = seconds(60);
const LOOK_EVERY: Millis = millisOf(400);

/** Twelve tenants, one operator that dies, and a person who pauses, retries, approves and rolls back, all through kubectl. */
export async function play(stage: Stage, manifest: string): Promise<void> {
  const { stand, board, machine } = stage;
  board.say("$ npm run operator            (its own process, its own account and rights)");
  let operator = await stand.startOperator();
  await stand.green.tell({ mode: "old-version", tenant: `${stand.namespace}/initech` });
  await stand.green.tell({ mode: "old-version", tenant: `${stand.namespace}/wayne` });
  board.say("$ kubectl apply -f config/samples/demo/");
  await stand.kubectl.run("apply", "-f", manifest);
  const watching = new AbortController();
  const shown = watch(stage, watching.signal);
  try {
    operator = await killMidway(stage, operator);
    await Promise.all([pauseAndResume(stage), mendAndRetry(stage), approve(stage), rollBack(stage)]);
    await until(async () => (await tasks(stage)).every(({ isOver }) => isOver), {
      clock: machine.clock,
      timeout: PATIENCE,
      every: LOOK_EVERY,
      what: "every task to be over",
      signal: machine.signal,
    });
  } finally {
    watching.abort();
    await shown;
  }
  board.show(await tasks(stage));
  board.say(`the operator (pid ${operator.pid}) stops`);
  await operator.stop();
}

const tasks = ({ stand }: Stage): Promise<readonly TaskRow[]> => readTasks(stand.kubectl, stand.namespace);

async function watch(stage: Stage, signal: AbortSignal): Promise<void> {
  const { clock } = stage.machine;
  while (!signal.aborted) {
    const rows = await tasks(stage).catch(() => null);
    if (rows !== null && !signal.aborted) stage.board.show(rows);
    await clock.sleep(LOOK_EVERY, signal).catch(() => undefined);
  }
}

/** When several tasks are between their stages. */
async function killMidway(stage: Stage, operator: OperatorProcess): Promise<OperatorProcess> {
  const isMidway = ({ phase, stages }: TaskRow): boolean =>
    phase === "Running" && stages.some(({ state }) => state === "Completed");
  await seen(stage, "several tasks midway", (rows) => rows.filter(isMidway).length >= 4);
  stage.board.say(`$ kill -9 ${operator.pid}                 (the operator, with tasks midway)`);
  await operator.kill();
  await stage.machine.clock.sleep(seconds(1));
  const again = await stage.stand.startOperator();
  stage.board.say(`$ npm run operator            (again, pid ${again.pid}: it goes on from the stored claims)`);
  return again;
}

async function seen(stage: Stage, what: string, right: (rows: readonly TaskRow[]) => boolean): Promise<void> {
  const { clock, signal } = stage.machine;
  await until(async () => right(await tasks(stage)), { clock, timeout: PATIENCE, every: LOOK_EVERY, what, signal });
}

const one = (rows: readonly TaskRow[], tenant: string): TaskRow | undefined =>
  rows.find((row) => row.tenant === tenant);

async function tell(stage: Stage, tenant: string, control: unknown): Promise<void> {
  const { stand, board } = stage;
  board.say(`$ kubectl patch swt ${tenant}-green --type=merge -p '${JSON.stringify({ spec: { control } })}'`);
  await stand.kubectl.run(...command(`${tenant}-green`, stand.namespace, control));
}

async function pauseAndResume(stage: Stage): Promise<void> {
  await seen(
    stage,
    "globex to soak",
    (rows) => one(rows, "globex")?.stages.some(({ name }) => name === "soak") === true,
  );
  await tell(stage, "globex", { paused: true });
  await seen(stage, "globex to be paused", (rows) => one(rows, "globex")?.phase === "Paused");
  await stage.machine.clock.sleep(seconds(3));
  await tell(stage, "globex", { paused: false });
  await seen(stage, "globex to complete", (rows) => one(rows, "globex")?.phase === "Completed");
}

async function mendAndRetry(stage: Stage): Promise<void> {
  await seen(stage, "initech to fail its verify", (rows) => one(rows, "initech")?.phase === "Failed");
  stage.board.say(
    "# initech failed: its receiver reports the old version. Mended, it can be retried from where it stopped.",
  );
  await stage.stand.green.tell({ mode: "ok", tenant: `${stage.stand.namespace}/initech` });
  await tell(stage, "initech", { retry: 1 });
  await seen(stage, "initech to complete", (rows) => one(rows, "initech")?.phase === "Completed");
}

async function approve(stage: Stage): Promise<void> {
  await seen(stage, "umbrella to wait for a person", (rows) => one(rows, "umbrella")?.waiting === "AwaitingApproval");
  const me = (await stage.stand.kubectl.run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).trim();
  await tell(stage, "umbrella", { approvals: { gate: { [me]: { decision: "Approve", comment: "looks good" } } } });
  await seen(stage, "umbrella to complete", (rows) => one(rows, "umbrella")?.phase === "Completed");
}

async function rollBack(stage: Stage): Promise<void> {
  await seen(stage, "acme to complete", (rows) => one(rows, "acme")?.phase === "Completed");
  stage.board.say("# acme is Completed; somebody does not like what he sees.");
  await tell(stage, "acme", { rollback: true });
  await seen(stage, "acme to be rolled back", (rows) => one(rows, "acme")?.phase === "RolledBack");
}
