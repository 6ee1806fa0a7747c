import "./cli/config/node-version.ts";
import { plainBoundary } from "./lib/seams.ts";
import { runConfigCli } from "./cli/config/program.ts";
import { realSeams } from "./cli/config/real-seams.ts";
import { systemResolve } from "./infra/egress/resolve.ts";
import { systemClock, systemRng, watchEventLoop } from "./kube/clock.ts";
import { runOperator } from "./run.ts";

const args = process.argv.slice(2);
process.exitCode = args[0] === "config" ? await config(args.slice(1)) : await operator();

/** `turnout config …`: config-cli under another name. */
function config(rest: readonly string[]): Promise<number> {
  // What cannot be written is told where it is written (real-seams).
  process.stdout.on("error", () => undefined);
  return runConfigCli(rest, realSeams(), "turnout config");
}

function operator(): Promise<number> {
  return runOperator(args, {
    clock: systemClock,
    rng: systemRng,
    boundary: plainBoundary,
    resolve: systemResolve,
    env: process.env,
    logTo: { fd: 1 },
    loopDelay: watchEventLoop(),
  });
}
