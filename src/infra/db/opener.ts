import { parseAddress } from "../../lib/address.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { millisOf } from "../../lib/time.ts";
import type { DbSettings } from "../config/db-settings.ts";
import type { TlsMaterial } from "../egress/tls.ts";
import type { DbDeps } from "./db.ts";
import { dbError, isDbError } from "./db-failures.ts";
import { type MysqlTarget, openMysql } from "./mysql-session.ts";
import type { OpenSession, Session } from "./session.ts";
import { IN_MEMORY, openSqlite } from "./sqlite-session.ts";

/** SQLite waits while the whole process stands still, so it may not wait long; a transaction is done again instead. */
const SQLITE_PATIENCE = millisOf(100);

/** How a connection to the configured database is made. */
export function openerOf(settings: DbSettings, deps: DbDeps): OpenSession {
  if (settings.driver === "sqlite") return async () => openSqlite(settings.file ?? IN_MEMORY, SQLITE_PATIENCE);
  return (signal) =>
    withDeadline({ clock: deps.clock, timeout: settings.dialTimeout, signal }, async (ended) => {
      const target = await targetOf(settings, deps);
      const secured = { ...deps, tls: tlsFor(target, settings, deps) };
      try {
        return await openMysql(target, secured, ended);
      } catch (error) {
        if (!isDbError(error, "DatabaseAbsent")) throw error;
        await createDatabase(target, secured, ended);
        return openMysql(target, secured, ended);
      }
    });
}

/** The certificate must carry the configured name, else the host's that is called: the DSN's where there is one. */
function tlsFor({ address }: MysqlTarget, settings: DbSettings, { tls }: DbDeps): TlsMaterial | null {
  const isNamed = settings.tls !== "None" && settings.tls.serverName !== undefined;
  const host = settings.dsn === undefined || isNamed ? undefined : parseAddress(address)?.host;
  return tls === null || host === undefined ? tls : { ...tls, identity: host };
}

/** Where to, and as whom: read anew each time, for secrets change. @throws InfraError */
async function targetOf(settings: DbSettings, { secret }: Pick<DbDeps, "secret">): Promise<MysqlTarget> {
  const { dsn, addr, database, username, password } = settings;
  if (dsn !== undefined) return targetOfDsn(await secret(dsn));
  return { address: addr, database, username, password: password === undefined ? "" : await secret(password) };
}

/** `mysql://USER:PASSWORD@HOST:PORT/DATABASE`, escaped as URLs are. @throws InfraError CONFIG `BadDsn`, without a piece of it */
export function targetOfDsn(text: string): MysqlTarget {
  const url = URL.parse(text.trim());
  const database = url?.pathname.slice(1) ?? "";
  if (
    url === null ||
    url.protocol !== "mysql:" ||
    url.hostname === "" ||
    url.username === "" ||
    !/^\w{1,64}$/.test(database)
  )
    throw dbError("BadDsn", "");
  return {
    address: `${url.hostname}:${url.port === "" ? "3306" : url.port}`,
    database,
    username: unescaped(url.username),
    password: unescaped(url.password),
  };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw dbError("BadDsn", "");
  }
}

/** @throws InfraError CONFIG `DatabaseAbsent` where the user may not */
async function createDatabase(target: MysqlTarget, deps: DbDeps, ended: AbortSignal): Promise<void> {
  const name = target.database ?? "";
  let session: Session | null = null;
  try {
    session = await openMysql({ ...target, database: null }, deps, ended);
    // The settings and the DSN allow plain names only.
    const sql = `CREATE DATABASE IF NOT EXISTS \`${name}\` CHARACTER SET utf8mb4`;
    await session.query({ sql, parameters: [] }, ended);
    deps.log?.info({ database: name }, "made the database, which was absent");
  } catch (error) {
    throw isDbError(error, "PermissionDenied") ? dbError("DatabaseAbsent", name, error) : error;
  } finally {
    session?.destroy();
  }
}
