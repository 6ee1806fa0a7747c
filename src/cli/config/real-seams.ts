import { realProcess, untilSignalled } from "../../infra/boot/run-process.ts";
import { openCoord } from "../../infra/coord/open-coord.ts";
import { systemClock, systemRng } from "../../kube/clock.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import { DOCUMENT_LIMITS } from "../../infra/config/json-text.ts";
import { askAt, readBounded } from "./ask.ts";
import { dial } from "./dial.ts";
import { EXIT } from "./failure.ts";
import type { CliSeams } from "./seams.ts";

/** A person waits: little, and then the failure is told. */
const RETRY = { maxRetries: 2, initial: millisOf(100), factor: 2, max: seconds(1) };

/** A reader that stops reading, such as `head`, ends the writing quietly; a full disk does not. Told before `error` is. */
function endUnwritten(error: Error | null | undefined): void {
  if (error === null || error === undefined) return;
  const { code = "failed" } = error as NodeJS.ErrnoException;
  if (code === "EPIPE") process.exit(EXIT.done);
  process.stderr.write(`the output cannot be written (${code})\n`);
  process.exit(EXIT.untold);
}

/** Everything real: the terminal, the clock, etcd. */
export const realSeams = (): CliSeams => ({
  out: (data) => void process.stdout.write(data, endUnwritten),
  talk: (talk) => void process.stderr.write(talk),
  terminal: process.stdin.isTTY && process.stderr.isTTY,
  ask: (question) => askAt({ input: process.stdin, output: process.stderr }, question),
  readStdin: () => readBounded(process.stdin, DOCUMENT_LIMITS.bytes),
  env: process.env,
  clock: systemClock,
  rng: systemRng,
  signal: untilSignalled(realProcess),
  openCentre: ({ endpoints, tls, credentials, timeout }) => {
    const coord = openCoord({
      endpoints,
      timeout,
      retry: RETRY,
      credentials: credentials === null ? null : () => Promise.resolve(credentials),
      dial: (address, signal) => dial(address, tls, signal),
      clock: systemClock,
      rng: systemRng,
    });
    return Promise.resolve({ centre: coord.centre, close: () => coord.close() });
  },
});
