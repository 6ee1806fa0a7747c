import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createConnection, type RowDataPacket } from "mysql2/promise";
import { inject } from "vitest";
import { openLog } from "../../src/infra/clog/log.ts";
import { type DbSettings, dbSettings } from "../../src/infra/config/db-settings.ts";
import type { Db, DbDeps, Dial, Migration } from "../../src/infra/db/db.ts";
import { openDb } from "../../src/infra/db/open-db.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { fault } from "../../src/lib/failures.ts";
import type { Target } from "./tcp-proxy.ts";

/** What the tests keep: `notes` by number, `chat` spread over shards. */
export interface Tables {
  readonly notes: { readonly id: number; readonly text: string; readonly at?: Date | null };
  readonly chat: { readonly tenant: string; readonly seq: number };
}
type Kind = DbSettings["driver"];
export const KINDS: readonly Kind[] = ["sqlite", "mysql"];

/** A database of one test's own; what opened it is closed and the database is gone at the end. */
export interface DbRig extends AsyncDisposable {
  readonly settings: DbSettings;
  readonly lines: readonly string[];
  /** Sockets that were dialled. */
  readonly dialled: () => number;
  open(about?: Partial<DbSettings>, deps?: Partial<DbDeps>): Promise<Db<Tables>>;
  /** `infra_errors_total{component="db"}` by type. */
  errors(): Promise<Readonly<Record<string, number>>>;
}

let made = 0;

export const rootUrl = (): URL => new URL(inject("env").MYSQL_URL ?? "");

/** As root, past the component. */
export async function asRoot(sql: string): Promise<RowDataPacket[]> {
  const connection = await createConnection({ uri: rootUrl().href, multipleStatements: true });
  try {
    const [rows] = await connection.query<RowDataPacket[]>(sql);
    return rows;
  } finally {
    connection.destroy();
  }
}

/** A plain socket, as the guard would open it. */
export const dialTo: Dial = (address, signal) =>
  new Promise((resolve) => {
    const [host = "", port = ""] = address.split(":");
    const socket = connect({ host, port: Number(port), noDelay: true });
    const fail = (): void => {
      socket.destroy();
      resolve({ ok: false, fault: fault("ConnectRefused", { endpoint: "db", address }) });
    };
    signal.addEventListener("abort", fail, { once: true });
    socket.once("error", fail);
    socket.once("connect", () => {
      signal.removeEventListener("abort", fail);
      socket.removeListener("error", fail);
      resolve({ ok: true, socket });
    });
  });

/** `through`: by way of this proxy, for MySQL. */
export async function openDbRig(kind: Kind, through?: Target): Promise<DbRig> {
  await using opening = new AsyncDisposableStack();
  made += 1;
  const name = `t_${process.pid}_${Date.now() % 1_000_000}_${made}`;
  const place = kind === "sqlite" ? await sqlitePlace(opening) : mysqlPlace(name, opening, through);
  const settings = dbSettings.parse({ driver: kind, maxOpenConns: 4, maxIdleConns: 4, ...place });
  const lines: string[] = [];
  const metrics = openMetrics();
  const log = openLog({ level: "debug", clock: systemClock, destination: { write: (line) => lines.push(line) } });
  let dialled = 0;
  const common: DbDeps = {
    clock: systemClock,
    rng: systemRng,
    dial: (address, signal) => {
      dialled += 1;
      return dialTo(address, signal);
    },
    secret: () => Promise.resolve(decodeURIComponent(rootUrl().password)),
    tls: null,
    log,
    metrics,
  };
  const open = opening.move();
  return {
    settings,
    lines,
    dialled: () => dialled,
    open: async (about = {}, deps = {}) =>
      open.use(await openDb<Tables>({ ...settings, ...about }, { ...common, ...deps })),
    errors: async () => errorsIn(await metrics.text()),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function sqlitePlace(opening: AsyncDisposableStack): Promise<{ readonly file: string }> {
  const folder = await mkdtemp(join(tmpdir(), "turnout-db-"));
  opening.defer(() => rm(folder, { recursive: true }));
  return { file: join(folder, "test.db") };
}

function mysqlPlace(name: string, opening: AsyncDisposableStack, through: Target | undefined) {
  opening.defer(async () => void (await asRoot(`DROP DATABASE IF EXISTS ${name}`)));
  const { hostname, port } = rootUrl();
  const addr = through === undefined ? `${hostname}:${port}` : `${through.host}:${through.port}`;
  return { addr, database: name, username: "root", password: { env: "TURNOUT_SECRET_DB" } };
}

function errorsIn(text: string): Readonly<Record<string, number>> {
  const rows = text.matchAll(/^infra_errors_total\{component="db",type="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...rows].map(([, type = "", count]) => [type, Number(count)]));
}

/** One migration: both tables. */
export const TABLES: readonly Migration[] = [
  {
    id: "0001-notes",
    up: (names) => [
      `CREATE TABLE ${names.table("notes")} (id INTEGER PRIMARY KEY, text VARCHAR(200) NOT NULL, at DATETIME(3))`,
    ],
  },
  {
    id: "0002-chat",
    up: (names) =>
      names
        .shards("chat")
        .map(
          (name) =>
            `CREATE TABLE ${name} (tenant VARCHAR(64) NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tenant, seq))`,
        ),
  },
];
