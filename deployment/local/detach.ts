import { spawn } from "node:child_process";
import { once } from "node:events";

/** What the process that stays tells the one that waits for it. */
type Message = { readonly say: string } | { readonly ready: true };

/** Set in the process that stays. */
const STAYS = "TURNOUT_LOCAL_STAYS";

export interface Detached {
  readonly script: string;
  readonly args: readonly string[];
  readonly say: (line: string) => void;
}

/** Runs the script in a session of its own; resolves with 0 when it reports that it is ready, else with its exit code. */
export async function startDetached({ script, args, say }: Detached): Promise<number> {
  const child = spawn(process.execPath, [script, ...args], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    env: { ...process.env, [STAYS]: "1" },
  });
  const ready = new Promise<number>((resolve) => {
    child.on("message", (message: Message) => {
      if ("say" in message) say(message.say);
      else resolve(0);
    });
  });
  const failed = once(child, "exit").then(([code]: readonly unknown[]) =>
    typeof code === "number" && code !== 0 ? code : 1,
  );
  const code = await Promise.race([ready, failed]);
  if (child.connected) child.disconnect();
  child.unref();
  return code;
}

export const isDetached = (): boolean => process.env[STAYS] !== undefined && process.send !== undefined;

/** To the process that waits for us. Once that is gone nobody listens: the servers' logs and `status` remain. */
export function tell(message: Message): Promise<void> {
  return new Promise((sent) => {
    if (process.send === undefined || !process.connected) sent();
    else process.send(message, undefined, undefined, () => sent());
  });
}

/** Calls back when the process that waits for us is gone, in whatever way. */
export function onceAbandoned(then: () => void): void {
  process.once("disconnect", then);
}
