import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Boundary, Resolve } from "../../src/lib/seams.ts";
import { parseDuration } from "../../src/lib/time.ts";

// What the test entry of the operator lets go wrong beside crash points and clocks.

/** What a name answers: addresses, or no answer that helps. */
export type Answers = readonly string[] | "fails" | "silent";

/** `TURNOUT_TEST_RESOLVE=FILE`: names of a JSON file, read at each look-up; every other name is the system's. */
export const scriptedResolve =
  (file: string, real: Resolve): Resolve =>
  async (name, signal) => {
    const names = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<string, Answers>>;
    const answers = names[name];
    if (answers === "silent") return new Promise(() => {});
    if (answers === "fails") throw Object.assign(new Error("ENOTFOUND"), { code: "ENOTFOUND" });
    return answers ?? real(name, signal);
  };

/** `TURNOUT_TEST_BLOCK=effect/redis@20s`: before the first of its kind the event loop stands still for so long. */
export function blockingBoundary(text: string, inner: Boundary): Boundary {
  const [kind = "", time = ""] = text.split("@");
  const millis = parseDuration(time);
  if (millis === null) throw new Error(`TURNOUT_TEST_BLOCK: ${text} names no time`);
  let isSpent = false;
  return {
    around: (point, send) => {
      if (!isSpent && point.class === kind) {
        isSpent = true;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis);
      }
      return inner.around(point, send);
    },
  };
}

/** `TURNOUT_TEST_THROW=NAMESPACE/NAME@FILE`: while the file is there, whatever is sent for that object throws as a bug would. */
export function throwingBoundary(text: string, inner: Boundary): Boundary {
  const [subject, file = ""] = text.split("@");
  return {
    around: (point, send) => {
      if (point.subject === subject && existsSync(file)) throw new TypeError("Cannot read properties of undefined");
      return inner.around(point, send);
    },
  };
}

/** What a process holds, after a collection: one line each time. */
export interface Usage {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly heap: number;
  readonly external: number;
  readonly rss: number;
  /** Sockets, servers, requests under way; timers left out, which come and go with waits. */
  readonly handles: number;
}

/** Gives what collects and then looks. */
export function openUsage(): () => Usage {
  setFlagsFromString("--expose_gc");
  const collect = runInNewContext("gc") as () => void;
  return () => {
    collect();
    const { heapUsed: heap, external, rss } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo().filter((name) => name !== "Timeout").length;
    return { at: Date.now(), heap, external, rss, handles };
  };
}

/** `TURNOUT_TEST_USAGE=FILE`: a line every five seconds. */
export function reportUsage(file: string): void {
  const usage = openUsage();
  setInterval(() => appendFileSync(file, `${JSON.stringify(usage())}\n`), 5000).unref();
}
