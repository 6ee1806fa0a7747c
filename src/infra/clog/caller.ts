/** Files of the log itself, between who logs and the method that was called. */
const OURS = /[/\\](?:clog[/\\]log|boot[/\\]relay-log)\.[tj]s/;

/** `src/run.ts:97` of whoever called `method`; costs a stack trace. */
export function callerOf(method: (...given: never[]) => unknown): string {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, method);
  const frame = (holder.stack ?? "").split("\n").find((line) => /^\s+at /.test(line) && !OURS.test(line));
  const place = /((?:[^\s()/\\]+[/\\]){0,3}[^\s()/\\]+):(\d+):\d+\)?$/.exec(frame ?? "");
  return place === null ? "unknown" : `${place[1]}:${place[2]}`;
}
