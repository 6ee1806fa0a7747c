import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { seconds } from "../../src/lib/time.ts";
import type { Machine } from "../local/machine.ts";
import { until } from "../local/poll.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** A small service of one colour that embeds the receiver library. */
export interface ReceiverProcess {
  readonly unit: string;
  readonly port: number;
  readonly log: string;
  /** Tells it to misbehave; see misbehaviour.ts. */
  tell(order: Readonly<Record<string, unknown>>): Promise<void>;
  /** What it serves for the tenant; null: it never heard of it. */
  state(tenant: string): Promise<Readonly<Record<string, unknown>> | null>;
  /** One entry per PUT that took effect or was refused. */
  effects(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  stop(): Promise<void>;
}

export interface ReceiverOptions {
  readonly unit: string;
  /** 0: any free one. */
  readonly port: number;
  readonly folder: string;
  readonly tokenFile: string;
}

export async function startReceiver(
  { unit, port, folder, tokenFile }: ReceiverOptions,
  machine: Machine,
): Promise<ReceiverProcess> {
  const log = join(folder, `${unit}.effects`);
  const store = join(folder, `${unit}.db`);
  const args = [
    join(import.meta.dirname, "receiver.ts"),
    "--unit",
    unit,
    "--port",
    String(port),
    "--token-file",
    tokenFile,
    "--store",
    store,
    "--log",
    log,
  ];
  const child = machine.lifeline.spawn({
    file: process.execPath,
    args,
    env: { ...machine.variables, NODE_NO_WARNINGS: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const first = await firstLine(child, `receiver ${unit}`);
  const told = JSON.parse(first) as { readonly port: number; readonly controlPort: number };
  const token = (await readFile(tokenFile, "utf8")).trim();
  const url = (tenant: string): string => `http://127.0.0.1:${told.port}/turnout/v1/tenants/${tenant}`;
  const authorization = `Bearer ${token}`;
  return {
    unit,
    port: told.port,
    log,
    tell: async (order) => {
      const answer = await fetch(`http://127.0.0.1:${told.controlPort}/control`, {
        method: "POST",
        body: JSON.stringify(order),
      });
      if (!answer.ok) throw new Error(`receiver ${unit} does not know ${JSON.stringify(order)}`);
    },
    state: async (tenant) => {
      const answer = await fetch(url(tenant), { headers: { authorization } });
      return answer.status === 404 ? null : ((await answer.json()) as Readonly<Record<string, unknown>>);
    },
    effects: async () => {
      const text = await readFile(log, "utf8").catch(() => "");
      return text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    },
    stop: () => end(child, "SIGTERM", machine),
  };
}

/** The built operator as a process of its own. */
export interface OperatorProcess {
  readonly pid: number;
  /** SIGKILL: nothing is stored, nothing is told. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export interface OperatorStart {
  readonly bundle: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
  /** It is there once it waits for another to end; else once it leads. */
  readonly standby?: boolean;
}

export async function startOperator(
  { bundle, args, env, log, standby = false }: OperatorStart,
  machine: Machine,
): Promise<OperatorProcess> {
  const child = machine.lifeline.spawn({
    file: process.execPath,
    args: ["--enable-source-maps", join(ROOT, bundle), ...args],
    env: { ...machine.variables, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const before = (await readFile(log, "utf8").catch(() => "")).length;
  const out = createWriteStream(log, { flags: "a" });
  child.stdout?.pipe(out, { end: false });
  child.stderr?.pipe(out, { end: false });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${bundle} could not be started`);
  const said = async (): Promise<string> => (await readFile(log, "utf8").catch(() => "")).slice(before);
  const there = standby ? /leads, \S+ waits"/ : /"leading/;
  await until(async () => there.test(await said()) || child.exitCode !== null, {
    clock: machine.clock,
    timeout: seconds(40),
    what: standby ? "the operator to wait for the one that leads" : "the operator to lead",
  });
  if (child.exitCode !== null)
    throw new Error(`the operator ended with ${child.exitCode}:\n${(await said()).slice(-2000)}`);
  return { pid, kill: () => end(child, "SIGKILL", machine), stop: () => end(child, "SIGTERM", machine) };
}

async function end(child: ChildProcess, signal: NodeJS.Signals, { clock }: Machine): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const late = new AbortController();
  const timer = clock.sleep(seconds(30), late.signal).then(
    () => child.kill("SIGKILL"),
    () => undefined,
  );
  await exited;
  late.abort();
  await timer;
}

async function firstLine(child: ChildProcess, what: string): Promise<string> {
  if (child.stdout === null) throw new Error(`${what} has no output`);
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error(`${what} ended before it said where it listens`);
}
