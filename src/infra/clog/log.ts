import { type DestinationStream, pino } from "pino";
import { formatInstant } from "../../lib/time.ts";
import type { Clock } from "../../lib/seams.ts";
import { callerOf } from "./caller.ts";
import { descriptor, type LineTarget, LineWriter } from "./line-writer.ts";
import { logContext } from "./log-context.ts";
import { ALWAYS_REDACTED, cleanFields, cleanText, type LogFields, withoutFrames } from "./log-fields.ts";
import { prettyLine } from "./pretty-line.ts";

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

/** A file descriptor or a target of one's own, written in the background; or whatever takes lines (tests). */
export type LogDestination =
  { readonly fd: number } | { readonly target: LineTarget } | { readonly write: (line: string) => void };

export interface LogOptions {
  readonly level: LogLevel;
  readonly destination: LogDestination;
  readonly clock: Clock;
  /** On every line: service, version, environment. */
  readonly initialFields?: LogFields;
  /** Field names masked besides {@link ALWAYS_REDACTED}. */
  readonly redact?: readonly string[];
  /** json unless said otherwise. */
  readonly format?: "json" | "pretty";
  /** Whether each line names the source that wrote it; no unless said otherwise. */
  readonly caller?: boolean;
  /** Whether errors show their frames; yes unless said otherwise. */
  readonly frames?: boolean;
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
export function openLog(options: LogOptions): OpenedLog {
  const { level, destination, clock, initialFields = {}, redact = [] } = options;
  const redacted = new Set([...ALWAYS_REDACTED, ...redact].map((name) => name.toLowerCase()));
  const shared = { rank: RANK[level] };
  const sink = sinkOf(destination, clock);
  const lines = pino(
    {
      base: cleanFields(initialFields, redacted),
      level: "debug",
      messageKey: "message",
      timestamp: () => `,"timestamp":"${formatInstant(clock.now())}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.format === "pretty" ? { write: (line) => sink.stream.write(prettyLine(line)) } : sink.stream,
  );
  const write: Write = (at, module, { fields, message, say }) => {
    if (RANK[at] < shared.rank) return;
    const own = Object.entries({ ...logContext(), ...fields }).map(([key, value]) => [
      RESERVED.has(key) ? `${key}_` : key,
      value,
    ]);
    const cleaned = cleanFields(Object.fromEntries(own) as LogFields, redacted);
    const caller = options.caller === true ? { caller: callerOf(say) } : {};
    const shown = options.frames === false ? withoutFrames(cleaned) : cleaned;
    lines[at]({ module, ...caller, ...shown }, cleanText(message));
  };
  const change = (next: LogLevel): void => void (shared.rank = RANK[next]);
  return { ...moduleOf("main", write, change), dropped: sink.dropped, close: sink.close };
}

type Say = (fields: LogFields, message: string) => void;
interface Said {
  readonly fields: LogFields;
  readonly message: string;
  /** The method that was called: what lies above it in the stack is the caller. */
  readonly say: Say;
}
type Write = (at: LogLevel, module: string, said: Said) => void;

function moduleOf(name: string, write: Write, change: (next: LogLevel) => void): Log {
  const own = cleanText(name);
  const sayAt = (at: LogLevel): Say => {
    const say: Say = (fields, message) => write(at, own, { fields, message, say });
    return say;
  };
  return {
    debug: sayAt("debug"),
    info: sayAt("info"),
    warn: sayAt("warn"),
    error: sayAt("error"),
    module: (next) => moduleOf(next, write, change),
    level: change,
  };
}

function sinkOf(destination: LogDestination, clock: Clock): Sink {
  if ("write" in destination) return openFunction(destination.write);
  return openTarget("fd" in destination ? descriptor(destination.fd) : destination.target, clock);
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

function openTarget(target: LineTarget, clock: Clock): Sink {
  const writer = new LineWriter(target, clock);
  return {
    stream: { write: (line) => writer.write(line) },
    dropped: () => writer.dropped,
    close: () => writer.close(),
  };
}
