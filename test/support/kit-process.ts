import { once } from "node:events";
import { join } from "node:path";
import { openLifeline } from "../../deployment/local/lifeline.ts";
import { until } from "./egress/until.ts";
import type { KitRig } from "./kit-rig.ts";

/** The service as a process of its own, which ends with this one. */
export async function startKitChild(
  { files, env }: Pick<KitRig, "files" | "env">,
  more: Readonly<Record<string, string>> = {},
  program: "kit-child.ts" | "traced-child.ts" | "../soak/kit-child.ts" = "kit-child.ts",
) {
  const entry = join(import.meta.dirname, program);
  const lifeline = await openLifeline();
  const child = lifeline.spawn({
    file: process.execPath,
    args: [entry],
    env: { PATH: process.env.PATH, ...env, ...more, KIT_FILES: files },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout?.on("data", (bytes: Buffer) => (text += bytes.toString()));
  const ended = once(child, "exit") as Promise<[code: number | null, signal: string | null]>;
  const said = (): readonly Readonly<Record<string, unknown>>[] =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return {
    ended,
    /** Null while it runs. */
    code: () => child.exitCode,
    said,
    send: (signal: "SIGTERM" | "SIGINT") => child.kill(signal),
    says: (message: RegExp) =>
      until(
        () => said().map((line) => String(line.message)),
        (lines) => lines.some((line) => message.test(line)),
        30_000,
      ),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
      await lifeline.close();
    },
  };
}
