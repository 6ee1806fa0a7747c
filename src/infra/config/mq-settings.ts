import { z } from "zod";
import { tls } from "./endpoint-settings.ts";
import { address, byteSize, type DeepReadonly, duration, secretReference, whole } from "./setting-fields.ts";

const clientId = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9._-]+$/, { error: "is not an identifier: letters, digits and . _ -" });

const producer = z
  .strictObject({
    clientId: clientId.optional().describe("Left out, the service's name and its instance."),
    acks: z.enum(["all", "1", "0"]).default("all").describe("Replicas that must have a record before it counts."),
    retries: whole(0, 100).default(3).describe("Further tries to send a batch."),
    batchSize: byteSize("0B", "16MiB").prefault("16KiB").describe("Size at which a batch is sent."),
    linger: duration("0ms", "10s").prefault("5ms").describe("Longest wait for a batch to fill."),
    bufferMemory: byteSize("1MiB", "1GiB")
      .prefault("32MiB")
      .describe("Records that wait to be sent; beyond it, sending waits."),
    compression: z.enum(["none", "gzip", "snappy", "lz4"]).default("snappy").describe("How batches are compressed."),
    maxRequestSize: byteSize("1KiB", "64MiB").prefault("1MiB").describe("Largest request."),
    idempotent: z
      .boolean()
      .default(true)
      .describe("Whether the broker drops what a retry sent twice; demands acks all."),
  })
  .prefault({})
  .describe("How records are sent.");

const consumer = z
  .strictObject({
    groupId: clientId.optional().describe("Left out, the service's name."),
    clientId: clientId.optional().describe("Left out, the service's name and its instance."),
    autoOffsetReset: z
      .enum(["earliest", "latest"])
      .default("earliest")
      .describe("Where a group begins that has no offset."),
    autoCommit: z
      .literal(false, { error: "is not allowed here: offsets are committed after a record was handled, never before" })
      .default(false)
      .describe("Always false: offsets are committed after success."),
    sessionTimeout: duration("1s", "10m").prefault("30s").describe("Silence after which the group goes on without us."),
    heartbeat: duration("100ms", "1m")
      .prefault("3s")
      .describe("Interval of the sign of life; at most a third of sessionTimeout."),
    maxPollRecords: whole(1, 10_000).default(500).describe("Records taken at once."),
    fetchMin: whole(1, 1_048_576).default(1).describe("Bytes that the broker waits for before it answers."),
    fetchWait: duration("0ms", "1m").prefault("500ms").describe("Longest time that it waits for them."),
    maxRetries: whole(0, 20).default(3).describe("Further tries to handle a record before it goes to TOPIC.dlq."),
    retryBackoff: z
      .strictObject({
        min: duration("1ms", "1m").prefault("100ms").describe("Longest wait before the first of them."),
        max: duration("1ms", "10m").prefault("10s").describe("Longest wait of all; each has full jitter."),
      })
      .prefault({})
      .describe("Waits between tries."),
  })
  .prefault({})
  .describe("How records are received.");

/** How a process uses Kafka. */
export const mqSettings = z
  .strictObject({
    brokers: z
      .array(address)
      .min(1)
      .max(64)
      .prefault(["127.0.0.1:19092", "127.0.0.1:29092", "127.0.0.1:39092"])
      .describe("host:port of brokers to begin with."),
    tls: tls.prefault({}),
    username: z.string().min(1).max(128).optional().describe("User (SASL SCRAM-SHA-512); left out, no authentication."),
    password: secretReference.optional().describe("Password of the user."),
    dialTimeout: duration("10ms", "1m").prefault("5s").describe("Bound of connecting."),
    requestTimeout: duration("100ms", "10m").prefault("30s").describe("Bound of one request."),
    producer,
    consumer,
    topics: z
      .record(
        z.string().regex(/^[a-z][A-Za-z0-9]{0,31}$/, { error: "is not a word of letters and digits" }),
        z
          .string()
          .min(1)
          .max(249)
          .regex(/^[A-Za-z0-9._-]+$/, { error: "is not a topic: letters, digits and . _ -" }),
      )
      .default({})
      .describe("Name in the code → topic."),
    codec: z.enum(["json", "protobuf"]).default("json").describe("How values are written."),
    enableMetrics: z.boolean().default(true).describe("Whether records, lag and failures are counted."),
    enableTracing: z.boolean().default(false).describe("Whether records carry and continue a trace."),
  })
  .refine(({ producer: { idempotent, acks } }) => !idempotent || acks === "all", {
    error: "is not enough although producer.idempotent is true",
    path: ["producer", "acks"],
    params: { allowed: "all" },
  })
  .refine(({ consumer: { heartbeat, sessionTimeout } }) => heartbeat * 3 <= sessionTimeout, {
    error: "is longer than a third of consumer.sessionTimeout",
    path: ["consumer", "heartbeat"],
    params: { allowed: "at most a third of consumer.sessionTimeout" },
  });

export type MqSettings = DeepReadonly<z.output<typeof mqSettings>>;
