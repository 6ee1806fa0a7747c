import { seconds } from "../../src/lib/time.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { run } from "../../deployment/local/command.ts";
import type { Document, TestStand } from "./stand.ts";

/** A condition as `kubectl describe` shows it; empty texts where there is none. */
export interface Shown {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

export function conditionOf(task: Document, type: string): Shown {
  const all = at(task, "/status/conditions");
  const found = (Array.isArray(all) ? all : []).find((one) => at(one, "/type") === type);
  const text = (pointer: string): string => {
    const value = at(found ?? null, pointer);
    return typeof value === "string" ? value : "";
  };
  return { status: text("/status"), reason: text("/reason"), message: text("/message") };
}

/** The command that a task names to go on: what it waits for says it, else why it is stalled. @throws where it names none */
export function wayOut(task: Document): string {
  const waiting = at(task, "/status/waiting/unblock");
  const text = `${typeof waiting === "string" ? waiting : ""}\n${conditionOf(task, "Stalled").message}`;
  const found = /echo '[^'\n]*' \| kubectl [^\n';]+|kubectl (?:[^\n';]*'[^'\n]*'|[^\n';]+)/.exec(text);
  if (found === null) throw new Error(`no command is named in: ${text}`);
  return found[0];
}

/** Types the command into a shell, as the cluster's admin unless told otherwise, with the words that stand for the person filled in. */
export async function type(
  stand: TestStand,
  text: string,
  kubeconfig = stand.env["KUBECONFIG_ADMIN"],
): Promise<string> {
  const kubectl = `${stand.env["KUBECTL"]} --kubeconfig ${kubeconfig}`;
  const shell = (script: string) =>
    run({ file: "/bin/sh", args: ["-c", script], timeout: seconds(30), env: stand.env }, stand.machine);
  const { stdout: me } = await shell(`${kubectl} auth whoami -o jsonpath='{.status.userInfo.username}'`);
  const filled = text
    .replaceAll("YOU", me)
    .replaceAll("WHY", "seen in the night")
    .replace(/(?<=^|\| )kubectl/, kubectl);
  const { code, output } = await shell(filled);
  if (code !== 0) throw new Error(`${text}\n${output}`);
  return output;
}

/** What kubectl says when it is refused. @throws where it is not */
export async function refusal(work: Promise<unknown>): Promise<string> {
  const said = await work.then(
    () => null,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  if (said === null) throw new Error("it was not refused");
  return said;
}

/** The tenant's record once it is there and nobody holds it: a task gives it back, and a lost one is made again, after the task's last status. */
export async function released(stand: TestStand, tenantId: string): Promise<Document> {
  let seen: Document = {};
  const free = async (): Promise<boolean> => {
    seen = await stand.tenant(tenantId);
    return at(seen, "/status") !== undefined && at(seen, "/status/holder") === undefined;
  };
  await until(free, { clock: localClock, timeout: seconds(10), what: `${tenantId} to be held by nobody` });
  return seen;
}
