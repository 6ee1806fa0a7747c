import type { DbSettings } from "../config/db-settings.ts";
import type { Tracer } from "../metrics/tracer.ts";
import type { RunStatement } from "./statement-runner.ts";

/** Each statement as a span of the present trace: what it does and, where it is nothing but names, its text; never a value (S17). */
export function traced(run: RunStatement, driver: DbSettings["driver"], tracer: Tracer | undefined): RunStatement {
  if (tracer === undefined) return run;
  return (session, statement) => {
    const operation = operationOf(statement.sql);
    const text = nameOnly(statement.sql);
    const attributes = {
      "db.system.name": driver,
      "db.operation.name": operation,
      ...(text === null ? {} : { "db.query.text": text }),
    };
    return tracer.call(`db ${operation}`, { kind: "client", attributes }, () => run(session, statement));
  };
}

const OPERATIONS: ReadonlySet<string> = new Set([
  ..."SELECT INSERT UPDATE DELETE REPLACE BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE WITH".split(" "),
  ..."CREATE ALTER DROP TRUNCATE CALL SET SHOW EXPLAIN PRAGMA ANALYZE".split(" "),
]);

function operationOf(sql: string): string {
  const [, word = ""] = /^[\s(]{0,32}([a-z]{2,16})\b/i.exec(sql) ?? [];
  return OPERATIONS.has(word.toUpperCase()) ? word.toUpperCase() : "statement";
}

const LONGEST = 500;

/**
 * Null for a text that holds, or may hold, anybody's data: quotes, numbers, comments. Statements of the builder hold placeholders,
 * and pass; where quotes begin and end in one written by hand is not guessed, for servers differ.
 */
export function nameOnly(sql: string): string | null {
  if (sql.length > LONGEST * 4 || /['"\\#$]|--|\/\*|(?<![\w`])\d|\b[xbn]'/i.test(sql)) return null;
  return /^[\w\s`.,()=<>!?*+%:;/-]*$/.test(sql) ? sql.replaceAll(/\s+/g, " ").trim().slice(0, LONGEST) : null;
}
