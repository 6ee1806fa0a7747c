import type { Socket } from "node:net";
import { createConnection, type Connection, type QueryError, type ResultSetHeader, type RowDataPacket } from "mysql2";
import { untilAborted } from "../../lib/deadline.ts";
import type { TlsMaterial } from "../egress/tls.ts";
import type { Dial } from "./db.ts";
import { codeOfMysql, dbError } from "./db-failures.ts";
import type { Session, Statement, StatementResult } from "./session.ts";

export interface MysqlTarget {
  /** `host:port` */
  readonly address: string;
  /** Null: none yet. */
  readonly database: string | null;
  readonly username: string;
  readonly password: string;
}

export interface MysqlDeps {
  readonly dial: Dial;
  readonly tls: TlsMaterial | null;
}

/** The vendor client over one socket that the guard opened; it neither connects nor waits by itself. @throws InfraError */
export async function openMysql(target: MysqlTarget, deps: MysqlDeps, ended: AbortSignal): Promise<Session> {
  const { address } = target;
  const dialled = await deps.dial(address, ended);
  if (!dialled.ok) throw dbError("ConnectFailed", `${address} (${dialled.fault.code})`);
  if (deps.tls !== null) knownAs(deps.tls, dialled.socket);
  const connection = createConnection(optionsOf(target, deps.tls, dialled.socket));
  const session = new MysqlSession(connection, address);
  try {
    await untilAborted(greeted(connection), ended);
    return session;
  } catch (error) {
    session.destroy();
    throw connectFailure(error, { address, inClear: deps.tls === null }, ended);
  }
}

function optionsOf({ database, username, password }: MysqlTarget, tls: TlsMaterial | null, stream: Socket) {
  return {
    stream,
    user: username,
    password,
    ...(database === null ? {} : { database }),
    // The client (3.24) checks the certificate against its own `host`, and nothing else that it is told.
    ...(tls === null ? {} : { ssl: sslOf(tls), host: tls.identity.text }),
    connectTimeout: 0,
    charset: "utf8mb4_bin",
    timezone: "Z",
    multipleStatements: false,
    // An object among the values is text, never a piece of SQL.
    stringifyObjects: true,
    supportBigNumbers: true,
  };
}

/**
 * For a literal the client names no host, and node checks the certificate against that of the socket below, which it knows only of
 * sockets that it looked a name up for. Without it, it would check `localhost`, and refuse.
 */
function knownAs({ identity }: TlsMaterial, stream: Socket): void {
  if (identity.kind === "ip") Object.assign(stream, { _host: identity.text });
}

function sslOf({ ca, cert, key }: TlsMaterial) {
  return {
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
    verifyIdentity: true,
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
  };
}

function greeted(connection: Connection): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.connect((error) => (error === null ? resolve() : reject(error)));
  });
}

/** Nothing was asked yet: whatever happened, a new connection may be tried, unless the server said no. */
function connectFailure(
  error: unknown,
  { address, inClear }: { readonly address: string; readonly inClear: boolean },
  ended: AbortSignal,
): Error {
  const errno = errnoOf(error);
  if (!ended.aborted && errno !== null) {
    const known = codeOfMysql(errno);
    // MariaDB (require_secure_transport) says no more to who comes in the clear.
    const hint = known === "AuthRefused" && inClear ? " (without TLS, which the server may demand)" : "";
    return dbError(known, `${address}${hint}`, error);
  }
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const isTls = code === "HANDSHAKE_SSL_ERROR" || code === "HANDSHAKE_NO_SSL_SUPPORT";
  return dbError(isTls && !ended.aborted ? "TlsFailed" : "ConnectFailed", address, error);
}

/** The server's own number; null where the client made the error. */
function errnoOf(error: unknown): number | null {
  const errno = typeof error === "object" && error !== null && "errno" in error ? error.errno : undefined;
  return typeof errno === "number" && errno >= 1000 ? errno : null;
}

class MysqlSession implements Session {
  readonly #connection: Connection;
  readonly #address: string;
  #alive = true;

  constructor(connection: Connection, address: string) {
    this.#connection = connection;
    this.#address = address;
    const lost = (): void => void (this.#alive = false);
    connection.on("error", lost);
    connection.on("end", lost);
  }
  get alive(): boolean {
    return this.#alive;
  }

  destroy(): void {
    this.#alive = false;
    this.#connection.destroy();
  }

  async query({ sql, parameters }: Statement, ended: AbortSignal): Promise<StatementResult> {
    if (!this.#alive) throw dbError("ConnectionLost", this.#address);
    try {
      return await untilAborted(this.#send(sql, parameters), ended);
    } catch (error) {
      if (ended.aborted) {
        this.destroy();
        throw dbError("QueryTimeout", this.#address, error);
      }
      const errno = errnoOf(error);
      if (errno !== null) throw dbError(codeOfMysql(errno), this.#address, error);
      this.destroy();
      throw dbError("ConnectionLost", this.#address, error);
    }
  }

  #send(sql: string, parameters: readonly unknown[]): Promise<StatementResult> {
    return new Promise((resolve, reject) => {
      const done = (error: QueryError | null, answer: RowDataPacket[] | ResultSetHeader): void =>
        error === null ? resolve(resultOf(answer)) : reject(error);
      this.#connection.query<RowDataPacket[] | ResultSetHeader>(sql, [...parameters], done);
    });
  }
}

function resultOf(answer: RowDataPacket[] | ResultSetHeader): StatementResult {
  if (Array.isArray(answer)) return { rows: answer, affected: null, insertId: null };
  const { affectedRows, insertId } = answer;
  return { rows: [], affected: BigInt(affectedRows), insertId: insertId === 0 ? null : BigInt(insertId) };
}
