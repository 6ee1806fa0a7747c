/** They stand at the front of a line, or are the same on every line of a terminal. */
const FRONT: ReadonlySet<string> = new Set([
  "timestamp",
  "level",
  "module",
  "message",
  "service",
  "environment",
  "version",
]);

/** A JSON line of the log as people read it: `12:00:00.000 WARN  cache  slow command  command=GET millis=31`. */
export function prettyLine(line: string): string {
  const {
    timestamp = "",
    level = "",
    module = "",
    message = "",
    ...rest
  } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(rest)
    .filter(([name]) => !FRONT.has(name))
    .map(
      ([name, value]) => `${name}=${typeof value === "string" && PLAIN.test(value) ? value : JSON.stringify(value)}`,
    );
  const front = `${String(timestamp).slice(11, 23)} ${String(level).toUpperCase().padEnd(5)}`;
  return `${[front, String(module), String(message), fields.join(" ")].filter((part) => part !== "").join("  ")}\n`;
}

const PLAIN = /^[^\s"=]+$/;
