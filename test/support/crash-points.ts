import { appendFileSync } from "node:fs";
import type { Boundary, Point } from "../../src/lib/seams.ts";
import { fault } from "../../src/lib/failures.ts";
import { NoAnswer } from "../../src/kube/errors.ts";

export const POSITIONS = ["before", "sent", "done"] as const;
export type Position = (typeof POSITIONS)[number];
export const ACTIONS = ["kill", "stop", "cut"] as const;
export type Action = (typeof ACTIONS)[number];

/** `effect/redis#2.sent=kill`: at the second redis effect of a task, when the server has answered and the code has not seen it. */
export interface CrashPoint {
  readonly class: string;
  readonly n: number;
  readonly position: Position;
  readonly action: Action;
}

export interface Plan {
  readonly points: readonly CrashPoint[];
  /** File that gains a line per point passed. */
  readonly trace: string | null;
}

const POINT = /^((?:api|effect)\/[a-z]+)#(\d+)\.(before|sent|done)=(kill|stop|cut)$/;

/** `TURNOUT_TEST_BOUNDARY`: comma-separated crash points and `trace:FILE`. @throws Error for anything else: a point that cannot fire proves nothing. */
export function parsePlan(text: string): Plan {
  const items = text.split(",").filter((item) => item !== "");
  const trace = items.find((item) => item.startsWith("trace:"))?.slice("trace:".length) ?? null;
  const points = items.filter((item) => !item.startsWith("trace:")).map(parsePoint);
  return { points, trace };
}

function parsePoint(item: string): CrashPoint {
  const found = POINT.exec(item);
  if (found === null) throw new Error(`TURNOUT_TEST_BOUNDARY: ${item} is no crash point`);
  return { class: found[1] ?? "", n: Number(found[2]), position: found[3] as Position, action: found[4] as Action };
}

export const formatPoint = ({ class: kind, n, position, action }: CrashPoint): string =>
  `${kind}#${n}.${position}=${action}`;

/** Counts every boundary per class and subject, traces it, and dies where the plan says so. Each point fires once. */
export function crashingBoundary({ points, trace }: Plan): Boundary {
  const counts = new Map<string, number>();
  const armed = new Set(points);
  /** A `done` point: the answer is seen, the next step must not begin. */
  let dieFirst: (() => void) | null = null;
  const note = (line: string): void => {
    if (trace !== null) appendFileSync(trace, `${line}\n`);
  };
  const due = (point: Point, n: number, position: Position): CrashPoint | undefined => {
    const found = [...armed].find(
      (armedPoint) => armedPoint.class === point.class && armedPoint.n === n && armedPoint.position === position,
    );
    if (found !== undefined) {
      armed.delete(found);
      note(`fired ${formatPoint(found)} ${point.subject ?? ""}`);
    }
    return found;
  };
  return {
    async around(point, send) {
      dieFirst?.();
      const key = `${point.class} ${point.subject ?? ""}`;
      const n = (counts.get(key) ?? 0) + 1;
      counts.set(key, n);
      const name = `${point.class}#${n} ${point.subject ?? ""}`;
      note(`before ${name}`);
      const before = due(point, n, "before");
      if (before?.action === "cut") return loseConnection(point, "before") as Awaited<ReturnType<typeof send>>;
      signal(before?.action);
      const answer = await send();
      note(`sent ${name}`);
      const sent = due(point, n, "sent");
      if (sent?.action === "cut") return loseConnection(point, "sent") as typeof answer;
      signal(sent?.action);
      const done = due(point, n, "done");
      if (done !== undefined) {
        dieFirst = () => {
          dieFirst = null;
          signal(done.action);
        };
        // Where no further boundary comes, nothing else is begun meanwhile either.
        setTimeout(() => dieFirst?.(), 50).unref();
      }
      return answer;
    },
  };
}

/** SIGKILL ends the process here. SIGSTOP holds it here until somebody sends SIGCONT. */
function signal(action: Action | undefined): void {
  if (action === "kill") process.kill(process.pid, "SIGKILL");
  if (action === "stop") process.kill(process.pid, "SIGSTOP");
}

/** What code sees whose connection is reset before or after the request was carried out. */
function loseConnection(point: Point, position: "before" | "sent"): unknown {
  const nothingSent = position === "before";
  if (point.class.startsWith("api/")) throw new NoAnswer(nothingSent ? "Refused" : "Ambiguous", "ECONNRESET");
  const about = { endpoint: "test", address: "test" };
  return nothingSent
    ? { kind: "notSent", fault: fault("ConnectRefused", about) }
    : { kind: "lost", fault: fault("AnswerLost", about) };
}
