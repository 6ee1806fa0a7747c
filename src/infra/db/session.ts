export interface Statement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

export interface StatementResult {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Null for what changes nothing. */
  readonly affected: bigint | null;
  /** Of a row with a number that the server gave it; null: none. */
  readonly insertId: bigint | null;
}

/** One connection. One statement at a time. */
export interface Session {
  /** False once nothing can be sent on it any more. */
  readonly alive: boolean;
  /** Cut short by the signal it is dead, for nobody knows what the server still does. @throws InfraError */
  query(statement: Statement, ended: AbortSignal): Promise<StatementResult>;
  /** Ends it at once. Safe to call twice. */
  destroy(): void;
}

/** @throws InfraError */
export type OpenSession = (ended: AbortSignal) => Promise<Session>;
