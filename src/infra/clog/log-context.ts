// clog: structured logs, one JSON line per event. No global logger: a Log is opened once and handed on.
// Nothing here knows what is logged; nobody else writes to stdout.
import { AsyncLocalStorage } from "node:async_hooks";

/** What every line of one piece of work carries. */
export interface LogContext {
  readonly task?: string;
  readonly tenant?: string;
  readonly stage?: string;
  readonly fence?: string;
  readonly trace?: string;
  /** Of a request that goes through several processes (W3C Trace Context: 32 hex digits). */
  readonly trace_id?: string;
  readonly request_id?: string;
  readonly user_id?: string;
}

/** Bound to the call chain, hence safe to share: two works never see each other's. */
const current = new AsyncLocalStorage<LogContext>();

/** Runs `work`; every line logged inside, also after an await, carries these fields and those of the contexts around. */
export function withLogContext<T>(context: LogContext, work: () => T): T {
  return current.run({ ...current.getStore(), ...context }, work);
}

export const logContext = (): LogContext => current.getStore() ?? {};
