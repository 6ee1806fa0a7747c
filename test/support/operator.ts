import { appendFileSync, writeSync } from "node:fs";
import { plainBoundary } from "../../src/lib/seams.ts";
import { systemResolve } from "../../src/infra/egress/resolve.ts";
import { systemClock, systemRng, watchEventLoop } from "../../src/kube/clock.ts";
import { runOperator } from "../../src/run.ts";
import { crashingBoundary, parsePlan } from "./crash-points.ts";
import { blockingBoundary, reportUsage, scriptedResolve, throwingBoundary } from "./operator-seams.ts";
import { skewedClock } from "./skewed-clock.ts";

// The shipped operator with the seams of a test: it can kill itself at a crash point, live by a wrong clock, and write down every
// address that it connects to. The shipped bundle has none of this.

const { TURNOUT_TEST_BOUNDARY: boundary, TURNOUT_TEST_CLOCK: clock, TURNOUT_TEST_SOCKETS: sockets } = process.env;
const {
  TURNOUT_TEST_RESOLVE: names,
  TURNOUT_TEST_BLOCK: block,
  TURNOUT_TEST_THROW: throws,
  TURNOUT_TEST_USAGE: usage,
} = process.env;
if (usage !== undefined) reportUsage(usage);
const crashing = boundary === undefined ? plainBoundary : crashingBoundary(parsePlan(boundary));
const blocking = block === undefined ? crashing : blockingBoundary(block, crashing);

// A process that is told to end stores what it has in hand in a write of its own: recorders count that.
process.once("SIGTERM", () => writeSync(1, '{"test":"told to end"}\n'));

process.exitCode = await runOperator(process.argv.slice(2), {
  clock: clock === undefined ? systemClock : skewedClock(systemClock, clock),
  rng: systemRng,
  boundary: throws === undefined ? blocking : throwingBoundary(throws, blocking),
  resolve: names === undefined ? systemResolve : scriptedResolve(names, systemResolve),
  env: process.env,
  logTo: { fd: 1 },
  loopDelay: watchEventLoop(),
  ...(sockets === undefined
    ? {}
    : { onConnected: (connected) => appendFileSync(sockets, `${JSON.stringify(connected)}\n`) }),
});
