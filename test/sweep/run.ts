import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { DONE_LABEL } from "../../src/api/group.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { Json } from "../../src/lib/json.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { checkAll } from "../history/check-all.ts";
import { contentsOf } from "../history/plan.ts";
import type { Happening, Recording, Snapshot, Violation } from "../history/recording.ts";
import type { Hold, Wire } from "../support/fault-proxy.ts";
import { recordingOf } from "../support/recorder-run.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { fired, passed } from "../support/stand-trace.ts";
import { type OperatorAbout, PREVIOUS, type SweepOperator, type SweepWorld } from "../support/sweep-world.ts";
import type { Cell, Reference } from "./cells.ts";
import { type Left, leftBy, snapshotOf, TASK, TENANT } from "./outcome.ts";
import type { Pipeline, Way } from "./pipelines.ts";

/** What a run was and what it left. */
export interface Ran {
  readonly namespace: string;
  readonly recording: Recording;
  readonly violations: readonly Violation[];
  readonly wires: readonly Wire[];
  readonly left: Left;
  readonly before: Snapshot;
  readonly after: Snapshot;
  /** Mutating requests and effects that the first process passed, by its own trace. */
  readonly trace: readonly string[];
  readonly fired: readonly string[];
  readonly operators: readonly SweepOperator[];
}

const TERMINAL = seconds(60);
const OFTEN = millisOf(15);

export interface Disturbed {
  readonly cell: Cell;
  readonly reference: Reference;
}

/** One run from an empty namespace to the rest that follows it. null: undisturbed. */
export async function runCell(
  world: SweepWorld,
  pipeline: Pipeline,
  way: Way,
  disturbed: Disturbed | null,
): Promise<Ran> {
  const namespace = await world.prepare();
  const run = new Run(world, namespace, disturbed?.reference.contents ?? {});
  await seed(world, namespace, pipeline);
  const before = await snapshotOf(world, namespace);
  await run.go(pipeline, way, disturbed?.cell ?? null);
  const after = await snapshotOf(world, namespace);
  const recording = await caughtUp(() => run.recording({ before, after }));
  return {
    namespace,
    recording,
    violations: checkAll(recording),
    wires: world.proxy.passed(namespace),
    left: await leftBy(world, namespace),
    before,
    after,
    trace: await passed(run.trace, `${namespace}/${TASK}`),
    fired: await fired(run.trace),
    operators: run.operators,
  };
}

async function seed({ redis }: SweepWorld, namespace: string, pipeline: Pipeline): Promise<void> {
  for (const [key, value] of Object.entries(pipeline.redis)) {
    if (typeof value === "string") await redis.set(`${namespace}:${key}`, value);
    else await redis.hset(`${namespace}:${key}`, value);
  }
}

/** The watch tells of the last version a moment after the operator is done with it. */
async function caughtUp(read: () => Promise<Recording>): Promise<Recording> {
  let seen: Recording | null = null;
  const look = async (): Promise<boolean> => {
    seen = await read();
    return true;
  };
  await until(look, { clock: localClock, timeout: seconds(5), every: millisOf(50), what: "a record without a gap" });
  if (seen === null) throw new Error("no record");
  return seen;
}

class Run {
  readonly world: SweepWorld;
  readonly namespace: string;
  readonly trace: string;
  readonly operators: SweepOperator[] = [];
  readonly #happenings: Happening[] = [];
  readonly #contents: Reference["contents"];
  #unseen: Wire | null = null;

  constructor(world: SweepWorld, namespace: string, contents: Reference["contents"]) {
    this.world = world;
    this.namespace = namespace;
    this.#contents = contents;
    this.trace = join(world.folder, `${namespace}-trace`);
  }

  async go(pipeline: Pipeline, way: Way, cell: Cell | null): Promise<void> {
    const hold =
      cell?.place === "late" ? this.world.proxy.hold({ namespace: this.namespace, ...numbered(cell.boundary) }) : null;
    try {
      await this.#disturbed(pipeline, { way, cell, hold });
    } finally {
      await hold?.release();
      await Promise.all(this.operators.map((operator) => operator.kill()));
    }
  }

  recording(about: Pick<Recording, "before" | "after">): Promise<Recording> {
    const { world, namespace, operators } = this;
    const run = { happenings: this.#happenings, unseen: this.#unseen, contents: this.#contents };
    return recordingOf(world, { namespace, operators, ...run }).then((recording) => ({ ...recording, ...about }));
  }

  async #disturbed(
    pipeline: Pipeline,
    { way, cell, hold }: { readonly way: Way; readonly cell: Cell | null; readonly hold: Hold | null },
  ): Promise<void> {
    const point = cell === null || hold !== null ? [] : [`${cell.boundary}.${cell.place}=${cell.does}`];
    const first = await this.#start({ boundary: [...point, `trace:${this.trace}`].join(",") });
    const { elects } = this.world;
    if (elects && cell !== null) await this.#start({ standby: true });
    await this.world.create(this.namespace, manifest(this.world, pipeline, way));
    if (way === "back" && cell?.turn !== "after fault") await this.#turnAtTheEnd();
    if (cell === null) {
      await this.#over(way);
      await first.stop();
      return;
    }
    await this.#struck(cell, hold, first);
    if (cell.turn === "after fault") await this.#rollback();
    if (cell.does !== "cut" && !elects) await this.#start();
    await this.#over(way);
    await hold?.release();
    if (cell.does === "stop") await this.#awake(first);
    else await this.operators.at(-1)?.stop();
  }

  /** The fault has happened; else the run proves nothing. */
  async #struck({ boundary, place, does }: Cell, hold: Hold | null, first: SweepOperator): Promise<void> {
    const happened = hold === null ? async () => (await fired(this.trace)).length > 0 : () => hold.caught;
    await until(happened, {
      clock: localClock,
      timeout: seconds(30),
      every: OFTEN,
      what: `${boundary}.${place} to happen`,
    });
    if (hold !== null && does === "cut") hold.cut();
    if (hold !== null && does === "stop") first.signal("SIGSTOP");
    if (hold !== null && does === "kill") first.signal("SIGKILL");
    if (does === "kill") await first.ended();
    // Stopped is as good as dead: nobody can tell.
    if (does !== "cut") this.#happens("crashed", first);
    const { kind, n } = numbered(boundary);
    const wire = this.world.proxy.passed(this.namespace).find((one) => one.kind === kind && one.n === n);
    if (place === "sent" && wire !== undefined && wire.process === first.process) this.#unseen = wire;
  }

  /** Whoever was stopped goes on, alone: with what it had in mind, and with a task that it has never seen. */
  async #awake(first: SweepOperator): Promise<void> {
    const other = this.operators.at(-1);
    await other?.kill();
    if (other !== undefined) this.#happens("crashed", other);
    // It says that it stops, and stops a moment later: woken before that, it would stop for good.
    const stopped = async (): Promise<boolean> => (await stateOf(first.pid)) === "T";
    await until(stopped, {
      clock: localClock,
      timeout: seconds(10),
      every: OFTEN,
      what: "the first one to be stopped",
    });
    first.signal("SIGCONT");
    const { world, namespace } = this;
    await world.create(namespace, { ...manifest(world, NOTHING, "forward", SENTINEL) });
    await this.#until(
      SENTINEL,
      "to be seen by the one that was stopped",
      (task) => at(json(task), "/status/phase") === "Completed",
    );
    // A lock that it still took for a task that is over is given back.
    const free = (): boolean =>
      at((world.record.of(namespace).tenants.at(-1)?.object ?? null) as unknown as Json, "/status/holder") ===
      undefined;
    await until(free, { clock: localClock, timeout: TERMINAL, every: OFTEN, what: "the tenant to be held by nobody" });
    await first.stop();
  }

  async #start(how: Pick<OperatorAbout, "boundary" | "standby"> = {}): Promise<SweepOperator> {
    const { namespace, operators } = this;
    const operator = await this.world.operator({ namespace, process: `${namespace}-${operators.length + 1}`, ...how });
    operators.push(operator);
    this.#happens("started", operator);
    return operator;
  }

  #happens(what: "started" | "crashed", { process }: Pick<SweepOperator, "process">): void {
    const place = { order: this.world.proxy.next(), at: Date.now() };
    this.#happenings.push({ is: "happening", ...place, what, process, asked: true });
  }

  async #turnAtTheEnd(): Promise<void> {
    await this.#until(
      TASK,
      "to wait at its gate",
      (task) => at(json(task), "/status/waiting/reason") === "AwaitingApproval",
    );
    await this.#rollback();
  }
  #rollback(): Promise<void> {
    return this.world.command(this.namespace, TASK, { rollback: true });
  }

  /** Ended as it should, released, and out of the operator's watch. */
  async #over(way: Way): Promise<void> {
    const phase = way === "forward" ? "Completed" : "RolledBack";
    await this.#until(
      TASK,
      `to be ${phase} and out of the watch`,
      (task) => at(json(task), "/status/phase") === phase && task.metadata.labels?.[DONE_LABEL] === "true",
    );
  }

  async #until(name: string, what: string, right: (task: KubeObject) => boolean): Promise<void> {
    let last: KubeObject | null = null;
    const look = (): boolean => {
      const { tasks } = this.world.record.of(this.namespace);
      last = tasks.findLast(({ object }) => object.metadata.name === name)?.object ?? null;
      return last !== null && right(last);
    };
    await until(look, { clock: localClock, timeout: TERMINAL, every: OFTEN, what: `${name} ${what}` }).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n${JSON.stringify(last?.["status"] ?? null)}`, {
          cause: error,
        });
      },
    );
  }
}

/** As proc(5) says it: T where it is stopped by a signal. */
const stateOf = async (pid: number): Promise<string | undefined> =>
  /\) (\S)/.exec(await readFile(`/proc/${pid}/stat`, "utf8"))?.[1];

const json = (object: KubeObject): Json => object as unknown as Json;
const SENTINEL = "sentinel";
const NOTHING: Pipeline = { name: "nothing", stages: () => [{ name: "wait", wait: { duration: "1ms" } }], redis: {} };

export function numbered(boundary: string): { readonly kind: string; readonly n: number } {
  const [kind = "", n = ""] = boundary.split("#");
  return { kind, n: Number(n) };
}

function manifest(world: SweepWorld, pipeline: Pipeline, way: Way, name = TASK): Readonly<Record<string, unknown>> {
  const sentinel = name === SENTINEL;
  return {
    apiVersion: "turnout.dev/v1alpha1",
    kind: "SwitchTask",
    metadata: { name },
    spec: {
      tenantId: sentinel ? SENTINEL : TENANT,
      ...(sentinel ? { dryRun: true } : {}),
      plan: { id: 17, version: 42 },
      target: {
        deployUnit: { id: 2, name: "green", version: 7 },
        endpoints: [{ key: "im-gateway", host: "127.0.0.1", port: world.proxy.receiverPort("green") }],
        parameters: { trunkGroup: "tg-2" },
      },
      previous: { ...PREVIOUS(world), planVersion: 41 },
      stages: pipeline.stages(way),
    },
  };
}

/** The undisturbed run as a list of boundaries. */
export async function referenceOf(pipeline: Pipeline, way: Way, ran: Ran): Promise<Reference> {
  const own = ran.trace.filter((name) => !isAside(name));
  const rollback = ran.recording.entries.find((entry) => entry.is === "task" && entry.spec.rollback);
  const order = rollback?.order ?? Number.POSITIVE_INFINITY;
  const turn = ran.wires.filter((wire) => !isAside(wire.kind) && wire.order < order).length;
  const events = ran.trace.filter((name) => name.startsWith("api/event")).length;
  const said = Object.entries(contentsOf(ran.recording, TASK));
  const contents = Object.fromEntries(said.map(([what, one]) => [what.replaceAll(ran.namespace, "NS"), one]));
  return { pipeline, way, boundaries: own, turn, events, contents };
}

export const isAside = (name: string): boolean => name.startsWith("api/event") || name.startsWith("api/lease");

export async function traceLines(file: string): Promise<readonly string[]> {
  return (await readFile(file, "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
}
