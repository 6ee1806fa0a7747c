import { z } from "zod";
import { tls } from "./endpoint-settings.ts";
import { absolutePath, address, type DeepReadonly, duration, secretReference, whole } from "./setting-fields.ts";

const identifier = z
  .string()
  .max(48)
  .regex(/^[A-Za-z][A-Za-z0-9_]*$/, { error: "is not a name: letters, digits and _, beginning with a letter" });

const tablePrefix = z
  .string()
  .max(16)
  .regex(/^(?:[A-Za-z][A-Za-z0-9_]*)?$/, { error: "is not a prefix: letters, digits and _, beginning with a letter" });

/** How a process uses its database. */
export const dbSettings = z
  .strictObject({
    driver: z.enum(["mysql", "sqlite"]).default("mysql").describe("mysql also means MariaDB; sqlite is embedded."),
    dsn: secretReference
      .optional()
      .describe("mysql://USER:PASSWORD@HOST:PORT/DATABASE as a whole; outranks addr, database, username and password."),
    addr: address.prefault("127.0.0.1:3306").describe("host:port of the server (mysql)."),
    tls: tls.prefault({}),
    database: identifier.default("im_dev").describe("Database (mysql); created if absent and the user may."),
    username: z.string().min(1).max(32).default("im_dev").describe("User (mysql)."),
    password: secretReference.optional().describe("Password of the user (mysql)."),
    file: absolutePath.optional().describe("File of the database (sqlite); left out, it lives in memory."),
    maxOpenConns: whole(1, 1000).default(25).describe("Connections at most."),
    maxIdleConns: whole(0, 1000).default(10).describe("Idle connections above this number are closed."),
    connMaxLifetime: duration("1s", "24h").prefault("1h").describe("Age at which a connection is replaced."),
    connMaxIdleTime: duration("1s", "24h").prefault("30m").describe("Time after which an idle connection is closed."),
    dialTimeout: duration("10ms", "1m").prefault("5s").describe("Bound of connecting."),
    queryTimeout: duration("10ms", "10m").prefault("10s").describe("Bound of one statement."),
    poolTimeout: duration("1ms", "1m").prefault("4s").describe("Longest wait for a free connection."),
    maxRetries: whole(0, 20)
      .default(3)
      .describe("Further tries of a transaction that the server chose to end (deadlock)."),
    logLevel: z
      .enum(["silent", "error", "warn", "info"])
      .default("warn")
      .describe("info: every statement, warn: slow and failed ones; never their values."),
    slowThreshold: duration("1ms", "10m").prefault("200ms").describe("Statements that take longer are logged as slow."),
    tablePrefix: tablePrefix.default("").describe("Put before the name of every table."),
    shards: whole(1, 64).default(1).describe("Tables NAME_00, NAME_01, … that a sharded table is spread over."),
    enableMetrics: z.boolean().default(true).describe("Whether statements are counted."),
    enableTracing: z.boolean().default(false).describe("Whether statements are spans of a trace."),
  })
  .refine(({ maxIdleConns, maxOpenConns }) => maxIdleConns <= maxOpenConns, {
    error: "is more than maxOpenConns",
    path: ["maxIdleConns"],
    params: { allowed: "at most maxOpenConns" },
  });

export type DbSettings = DeepReadonly<z.output<typeof dbSettings>>;
