import { spawn } from "node:child_process";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { backoffAfter } from "../../lib/backoff.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { Context } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";

/** One change of one key, as it is told onwards. */
export interface Told {
  readonly key: string;
  readonly revision: number;
  /** When it was told here: etcd keeps no times of changes. */
  readonly toldAt: string;
  readonly kind: "put" | "delete";
  /** Null where the key is gone, or holds no JSON. */
  readonly value: unknown;
  readonly changed: readonly string[];
}

export interface HookFlags {
  readonly exec?: string | undefined;
  readonly args: readonly string[];
  readonly webhook?: string | undefined;
}

const TRIES = 5;
const BOUND = seconds(60);
const WAIT = { initial: millisOf(500), factor: 2, max: seconds(10) };

/** Tells the change onwards until it was taken; where nobody takes it, says from which revision to go on, and ends. */
export async function tellHook(context: Context, flags: HookFlags, told: Told): Promise<void> {
  const { exec, webhook } = flags;
  if (exec !== undefined)
    await untilTaken(context, told, (signal) => run({ command: exec, args: flags.args, told }, signal));
  if (webhook !== undefined) await untilTaken(context, told, (signal) => post(webhook, told, signal));
}

async function untilTaken(
  { seams }: Context,
  { key, revision }: Told,
  tell: (signal: AbortSignal) => Promise<string | null>,
): Promise<void> {
  let trouble = "";
  for (let tries = 1; tries <= TRIES; tries += 1) {
    const bound = { clock: seams.clock, timeout: BOUND, signal: seams.signal };
    const failed = await withDeadline(bound, tell).catch((error: unknown) => {
      seams.signal.throwIfAborted();
      return error instanceof Error ? error.name : "failed";
    });
    if (failed === null) return;
    trouble = failed;
    seams.talk(`${key} at revision ${revision}: ${failed} (try ${tries} of ${TRIES})\n`);
    if (tries < TRIES) await seams.clock.sleep(backoffAfter(tries, WAIT, seams.rng.float()), seams.signal);
  }
  throw new CliFailure(
    EXIT.untold,
    `${key} at revision ${revision} could not be told on: ${trouble}; repair it, then go on with --from ${revision - 1}`,
  );
}

/** No shell: the command is a program, the change comes on its stdin (SEC-49). Null: it ended well. */
function run(
  { command, args, told }: { readonly command: string; readonly args: readonly string[]; readonly told: Told },
  signal: AbortSignal,
): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(command, [...args], { shell: false, stdio: ["pipe", "inherit", "inherit"], signal });
    child.once("error", (error: NodeJS.ErrnoException) => {
      const hint = /\s/.test(command) ? "; its arguments follow --, there is no shell" : "";
      resolve(`${command} cannot be run (${error.code ?? "failed"})${hint}`);
    });
    child.once("close", (code) => resolve(code === 0 ? null : `${command} ended with ${code ?? "a signal"}`));
    child.stdin.on("error", () => undefined);
    child.stdin.end(`${JSON.stringify(told)}\n`);
  });
}

/** Without user, password and query: they may be secrets. */
function shownUrl(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

function post(url: string, told: Told, signal: AbortSignal): Promise<string | null> {
  const body = Buffer.from(JSON.stringify(told));
  const request = new URL(url).protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve) => {
    const asked = request(
      url,
      { method: "POST", signal, headers: { "content-type": "application/json", "content-length": body.length } },
      (answer) => {
        const status = answer.statusCode ?? 0;
        answer.resume();
        resolve(status >= 200 && status < 300 ? null : `${shownUrl(url)} answered ${status}`);
      },
    );
    asked.once("error", (error: NodeJS.ErrnoException) =>
      resolve(`${shownUrl(url)} cannot be reached (${error.code ?? "failed"})`),
    );
    asked.end(body);
  });
}
