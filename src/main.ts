import { plainBoundary } from "./lib/seams.ts";
import { systemResolve } from "./infra/egress/resolve.ts";
import { systemClock, systemRng, watchEventLoop } from "./kube/clock.ts";
import { runOperator } from "./run.ts";

process.exitCode = await runOperator(process.argv.slice(2), {
  clock: systemClock,
  rng: systemRng,
  boundary: plainBoundary,
  resolve: systemResolve,
  env: process.env,
  logTo: { fd: 1 },
  loopDelay: watchEventLoop(),
});
