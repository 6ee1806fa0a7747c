import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface ChildSettings {
  readonly store: { readonly sqlite: string } | { readonly redis: string; readonly prefix: string };
  readonly tokenFile: string;
  readonly applyTimeoutMs: number;
}

export interface ChildOrder {
  readonly order: "fail" | "hold" | "let go" | "count";
  readonly tenant: string;
}

export interface ReceiverProcess extends AsyncDisposable {
  readonly origin: string;
  readonly pid: number;
  /** Gives back how many effects the tenant has seen in this process. */
  tell(order: ChildOrder["order"], tenant: string): Promise<number>;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
}

const CHILD = fileURLToPath(new URL("./receiver-child.ts", import.meta.url));

/** Starts the embedding service; it ends with the test's process at the latest. */
export async function startReceiver(settings: ChildSettings): Promise<ReceiverProcess> {
  const child = fork(CHILD, [JSON.stringify(settings)], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  let complaint = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(-2000)));
  const exited = once(child, "exit");
  const started = once(child, "message") as Promise<[{ port: number }]>;
  const [first] = await Promise.race([started, exited.then(() => [null])]);
  if (first === null || typeof first !== "object") throw new Error(`the receiver did not start: ${complaint}`);
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
  };
  return {
    origin: `http://127.0.0.1:${first.port}`,
    pid: child.pid ?? 0,
    tell: (order, tenant) => tell(child, { order, tenant }),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

async function tell(child: ChildProcess, order: ChildOrder): Promise<number> {
  const answered = once(child, "message") as Promise<[{ effects: number }]>;
  child.send(order);
  const [{ effects }] = await answered;
  return effects;
}
