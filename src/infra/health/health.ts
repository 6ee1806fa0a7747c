// health: who is well, asked with a bound and folded into one word, and the probes that show it.
// Nothing here decides anything about a switch, and probes show no content.
import type { Log } from "../clog/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Clock } from "../../lib/seams.ts";
import { formatDuration, type Millis, seconds } from "../../lib/time.ts";

export type HealthStatus = "healthy" | "degraded" | "unhealthy";

export interface Health {
  readonly status: HealthStatus;
  /** Why, for people; no secrets, no bodies. */
  readonly message: string;
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

export interface Checker {
  readonly component: string;
  /** Whether the process is of no use without it. Another one that is unhealthy only degrades the whole. */
  readonly critical: boolean;
  /** 5 s unless said otherwise. */
  readonly timeout?: Millis;
  check(signal: AbortSignal): Promise<Health>;
}

export interface HealthReport extends Health {
  readonly components: Readonly<Record<string, Health>>;
}

export interface HealthBoard {
  add(checker: Checker): void;
  /** Asks every checker at once. Askers within a second share one round, so a probe cannot load what it asks about. */
  report(): Promise<HealthReport>;
  /** From here on /startupz says yes. */
  markStarted(): void;
  readonly started: boolean;
}

export interface HealthDeps {
  readonly clock: Clock;
  readonly metrics?: Metrics;
  readonly log?: Log;
}

const PATIENCE = seconds(5);
const FRESH = seconds(1);
const GAUGE: Readonly<Record<HealthStatus, number>> = { healthy: 1, degraded: 0.5, unhealthy: 0 };
const MOST_CHECKERS = 64;

export function openHealth({ clock, metrics, log }: HealthDeps): HealthBoard {
  const checkers = new Map<string, Checker>();
  const last = new Map<string, HealthStatus>();
  let started = false;
  let round: { readonly at: Millis; readonly report: Promise<HealthReport> } | null = null;

  const note = (component: string, { status, message }: Health): void => {
    metrics?.set("turnout_health", { component }, GAUGE[status]);
    if (last.get(component) !== status && (last.has(component) || status !== "healthy")) {
      log?.[status === "healthy" ? "info" : "warn"]({ component, status }, `${component} is ${status}: ${message}`);
    }
    last.set(component, status);
  };
  const ask = async (): Promise<HealthReport> => {
    const asked = [...checkers.values()];
    const answers = await Promise.all(asked.map((checker) => askOne(checker, clock)));
    const components = Object.fromEntries(asked.map(({ component }, i) => [component, answers[i] ?? silent]));
    for (const [component, health] of Object.entries(components)) note(component, health);
    return { ...aggregate(asked, components), components };
  };
  return {
    add: (checker) => {
      if (checkers.size >= MOST_CHECKERS && !checkers.has(checker.component))
        throw new Error(`more than ${MOST_CHECKERS} health checkers`);
      checkers.set(checker.component, checker);
    },
    report: () => {
      const now = clock.monotonic();
      if (round === null || now - round.at >= FRESH) round = { at: now, report: ask() };
      return round.report;
    },
    markStarted: () => void (started = true),
    get started() {
      return started;
    },
  };
}

/** Unhealthy if a critical one is; degraded if any is less than healthy. */
export function aggregate(
  checkers: readonly Pick<Checker, "component" | "critical">[],
  answers: Readonly<Record<string, Health>>,
): Health {
  const ill = checkers.filter(({ component }) => answers[component]?.status !== "healthy");
  if (ill.length === 0) return { status: "healthy", message: "all components are healthy" };
  const fatal = ill.some(
    ({ component, critical }) => critical && (answers[component]?.status ?? "unhealthy") === "unhealthy",
  );
  return {
    status: fatal ? "unhealthy" : "degraded",
    message: `not healthy: ${ill.map(({ component }) => component).join(", ")}`,
  };
}

const silent: Health = { status: "unhealthy", message: "gave no answer" };

async function askOne(checker: Checker, clock: Clock): Promise<Health> {
  const timeout = checker.timeout ?? PATIENCE;
  const done = new AbortController();
  const late = clock.sleep(timeout, done.signal).then(
    (): Health => ({ status: "unhealthy", message: `gave no answer within ${formatDuration(timeout)}` }),
    () => silent,
  );
  const overdue = new AbortController();
  try {
    return await Promise.race([checker.check(overdue.signal), late]);
  } catch {
    return { status: "unhealthy", message: "its check failed" };
  } finally {
    done.abort();
    overdue.abort();
  }
}
