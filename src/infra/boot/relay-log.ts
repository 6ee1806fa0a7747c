import type { Log } from "../clog/log.ts";

export interface RelayLog {
  /** Whoever holds it, or a module of it, logs to the present one. */
  readonly log: Log;
  to(next: Log): void;
  present(): Log;
}

/** What is opened in the first phase logs to the bootstrap log, and from the second on to the full one. */
export function relayLog(first: Log): RelayLog {
  let present = first;
  return { log: relayOf(() => present), to: (next) => void (present = next), present: () => present };
}

function relayOf(target: () => Log): Log {
  const modules = new Map<string, { readonly of: Log; readonly log: Log }>();
  const moduleOf = (name: string): Log => {
    const now = target();
    const known = modules.get(name);
    if (known?.of === now) return known.log;
    const log = now.module(name);
    modules.set(name, { of: now, log });
    return log;
  };
  return {
    debug: (fields, message) => target().debug(fields, message),
    info: (fields, message) => target().info(fields, message),
    warn: (fields, message) => target().warn(fields, message),
    error: (fields, message) => target().error(fields, message),
    module: (name) => relayOf(() => moduleOf(name)),
    level: (next) => target().level(next),
  };
}
