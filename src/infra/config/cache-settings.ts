import { z } from "zod";
import { tls } from "./endpoint-settings.ts";
import { address, byteSize, type DeepReadonly, duration, secretReference, whole } from "./setting-fields.ts";

const local = z
  .strictObject({
    enabled: z.boolean().default(false).describe("Whether values are also kept in the process."),
    ttl: duration("1s", "24h").prefault("5m").describe("Life of a value there."),
    maxEntries: whole(1, 1_000_000).default(10_000).describe("Values kept there; the one unused longest goes first."),
  })
  .prefault({})
  .describe("Layer in the process, above Redis; other processes tell it what became invalid.");

const compression = z
  .strictObject({
    enabled: z.boolean().default(false).describe("Whether large values are compressed."),
    above: byteSize("64B", "16MiB").prefault("1KiB").describe("Size from which they are."),
  })
  .prefault({})
  .describe("Compression of values.");

/** How a process uses Redis as a cache. */
export const cacheSettings = z
  .strictObject({
    addr: address.prefault("127.0.0.1:6379").describe("host:port of Redis."),
    tls: tls.prefault({}),
    username: z.string().min(1).max(128).optional().describe("User of Redis; left out, its default user."),
    password: secretReference.optional().describe("Password of the user."),
    db: whole(0, 15).default(0).describe("Number of the database."),
    keyPrefix: z.string().max(64).default("").describe("Put before every key."),
    poolSize: whole(1, 1000).default(10).describe("Connections at most."),
    minIdleConns: whole(0, 1000).default(5).describe("Idle connections that are kept open."),
    maxIdleConns: whole(0, 1000).default(10).describe("Idle connections above this number are closed."),
    connMaxIdleTime: duration("1s", "24h").prefault("10m").describe("Time after which an idle connection is closed."),
    connMaxLifetime: duration("1s", "24h").prefault("30m").describe("Age at which a connection is replaced."),
    dialTimeout: duration("10ms", "1m").prefault("5s").describe("Bound of connecting."),
    readTimeout: duration("1ms", "1m").prefault("3s").describe("Bound of an answer."),
    writeTimeout: duration("1ms", "1m").prefault("3s").describe("Bound of sending."),
    poolTimeout: duration("1ms", "1m").prefault("4s").describe("Longest wait for a free connection."),
    maxRetries: whole(0, 20).default(3).describe("Further tries of a command that may be repeated."),
    retryBackoff: z
      .strictObject({
        min: duration("1ms", "1m").prefault("8ms").describe("Longest wait before the first of them."),
        max: duration("1ms", "1m").prefault("512ms").describe("Longest wait of all; each has full jitter."),
      })
      .prefault({})
      .describe("Waits between tries."),
    serializer: z.enum(["json"]).default("json").describe("How values are written."),
    compression,
    defaultTtl: duration("1s", "366d").prefault("1h").describe("Life of a value that says nothing itself."),
    ttlJitter: z
      .number()
      .min(0)
      .max(0.5)
      .default(0.1)
      .describe("Share of a life that is drawn at random, so that values do not all end at once; from 0 to 0.5."),
    local,
    slowThreshold: duration("1ms", "1m").prefault("10ms").describe("Commands that take longer are logged."),
    enableMetrics: z.boolean().default(true).describe("Whether commands are counted."),
    enableTracing: z.boolean().default(false).describe("Whether commands are spans of a trace."),
  })
  .refine(({ minIdleConns, poolSize }) => minIdleConns <= poolSize, {
    error: "is more than poolSize",
    path: ["minIdleConns"],
    params: { allowed: "at most poolSize" },
  })
  .refine(({ retryBackoff }) => retryBackoff.min <= retryBackoff.max, {
    error: "is longer than retryBackoff.max",
    path: ["retryBackoff", "min"],
    params: { allowed: "at most retryBackoff.max" },
  });

export type CacheSettings = DeepReadonly<z.output<typeof cacheSettings>>;
