import { type DestinationStream, pino } from "pino";
import { formatInstant } from "../../lib/time.ts";
import type { Clock } from "../../lib/seams.ts";
import { LineWriter } from "./line-writer.ts";
import { logContext } from "./log-context.ts";
import { ALWAYS_REDACTED, cleanFields, cleanText, type LogFields } from "./log-fields.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** The same log under another `module`; level and destination stay shared. */
  module(name: string): Log;
  /** Changes the least level of this log and of every module of it, at once. */
  level(next: LogLevel): void;
}

export interface OpenedLog extends Log {
  /** Lines that were not written because the destination was full, slow or broken. */
  dropped(): number;
  /** Waits until what is buffered was written, at most a second. Safe to call twice. */
  close(): Promise<void>;
}

/** A file descriptor, written in the background; or whatever takes lines (tests). */
export type LogDestination = { readonly fd: number } | { readonly write: (line: string) => void };

export interface LogOptions {
  readonly level: LogLevel;
  readonly destination: LogDestination;
  readonly clock: Clock;
  /** On every line: service, version, environment. */
  readonly initialFields?: LogFields;
  /** Field names masked besides {@link ALWAYS_REDACTED}. */
  readonly redact?: readonly string[];
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
/** They are the line's own; a field that is called so moves aside. */
const RESERVED: ReadonlySet<string> = new Set(["timestamp", "level", "module", "message"]);

export const noLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  module: () => noLog,
  level: () => undefined,
};

/** One JSON line each: timestamp, level, module, context and fields, message. Never blocks, never throws. */
export function openLog({ level, destination, clock, initialFields = {}, redact = [] }: LogOptions): OpenedLog {
  const redacted = new Set([...ALWAYS_REDACTED, ...redact].map((name) => name.toLowerCase()));
  const shared = { rank: RANK[level] };
  const sink = "fd" in destination ? openDescriptor(destination.fd, clock) : openFunction(destination.write);
  const lines = pino(
    {
      base: cleanFields(initialFields, redacted),
      level: "debug",
      messageKey: "message",
      timestamp: () => `,"timestamp":"${formatInstant(clock.now())}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    sink.stream,
  );
  const write = (at: LogLevel, module: string, fields: LogFields, message: string): void => {
    if (RANK[at] < shared.rank) return;
    const own = Object.entries({ ...logContext(), ...fields }).map(([key, value]) => [
      RESERVED.has(key) ? `${key}_` : key,
      value,
    ]);
    lines[at]({ module, ...cleanFields(Object.fromEntries(own) as LogFields, redacted) }, cleanText(message));
  };
  const change = (next: LogLevel): void => void (shared.rank = RANK[next]);
  return { ...moduleOf("main", write, change), dropped: sink.dropped, close: sink.close };
}

type Write = (at: LogLevel, module: string, fields: LogFields, message: string) => void;

function moduleOf(name: string, write: Write, change: (next: LogLevel) => void): Log {
  const own = cleanText(name);
  return {
    debug: (fields, message) => write("debug", own, fields, message),
    info: (fields, message) => write("info", own, fields, message),
    warn: (fields, message) => write("warn", own, fields, message),
    error: (fields, message) => write("error", own, fields, message),
    module: (next) => moduleOf(next, write, change),
    level: change,
  };
}

interface Sink {
  readonly stream: DestinationStream;
  readonly dropped: () => number;
  readonly close: () => Promise<void>;
}

function openFunction(take: (line: string) => void): Sink {
  let dropped = 0;
  const write = (line: string): void => {
    try {
      take(line);
    } catch {
      dropped += 1;
    }
  };
  return { stream: { write }, dropped: () => dropped, close: () => Promise.resolve() };
}

function openDescriptor(fd: number, clock: Clock): Sink {
  const writer = new LineWriter(fd, clock);
  return {
    stream: { write: (line) => writer.write(line) },
    dropped: () => writer.dropped,
    close: () => writer.close(),
  };
}
