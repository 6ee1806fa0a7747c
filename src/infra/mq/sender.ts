import type { MessageToProduce } from "@platformatic/kafka";
import type { InfraError } from "../../lib/infra-error.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import { Batcher } from "./batcher.ts";
import { commonOptions, listedIn, ListedProducer } from "./kafka-clients.ts";
import type { Headers, MqDeps } from "./mq.ts";
import { mqErrorOf, sendErrorOf } from "./mq-failures.ts";

/** A message as it goes over the wire. */
export interface WireRecord {
  readonly topic: string;
  readonly key: string | null;
  readonly value: Buffer | null;
  readonly headers: Headers;
}

const ACKS: Readonly<Record<MqSettings["producer"]["acks"], number>> = { all: -1, "1": 1, "0": 0 };
/** What the protocol adds to each record, and more. */
const OVERHEAD = 64;

/** One producer: numbered by the broker where it is idempotent, so that what is sent again arrives once and in order. */
export class Sender {
  readonly #producer: ListedProducer;
  readonly #batcher: Batcher<WireRecord>;
  readonly #acks: number;
  readonly #onError: (error: InfraError) => void;
  readonly #onSent: (topic: string) => void;

  constructor(settings: MqSettings, deps: MqDeps) {
    const { producer, requestTimeout } = settings;
    this.#onError = (error) => deps.metrics?.infraFailed(error);
    const counts = settings.enableMetrics ? deps.metrics : undefined;
    this.#onSent = (topic) => counts?.count("infra_mq_messages_total", { topic, result: "sent" });
    this.#acks = ACKS[producer.acks];
    this.#producer = ListedProducer.to(listedIn(settings), {
      ...commonOptions(settings, deps),
      clientId: producer.clientId ?? deps.instance,
      retries: producer.retries,
      acks: this.#acks,
      idempotent: producer.idempotent,
      compression: producer.compression,
      repeatOnStaleMetadata: true,
    });
    this.#batcher = new Batcher({
      clock: deps.clock,
      limits: {
        size: producer.batchSize,
        linger: producer.linger,
        buffer: producer.bufferMemory,
        most: producer.maxRequestSize,
        patience: requestTimeout,
      },
      send: (records) => this.#sendAll(records),
    });
  }

  /** @throws InfraError */
  async send(record: WireRecord): Promise<void> {
    try {
      await this.#batcher.add(record, sizeOf(record));
      this.#onSent(record.topic);
    } catch (error) {
      const known = mqErrorOf(error, record.topic);
      this.#onError(known);
      throw known;
    }
  }

  async close(): Promise<void> {
    await this.#batcher.close();
    await this.#producer.close(true).catch(() => undefined);
    this.drop();
  }

  /** Ends its connections, whatever waits to be sent. */
  drop(): void {
    this.#producer.made.end();
  }

  /** By topic, so that one that is missing does not hold up the others. */
  async #sendAll(records: readonly WireRecord[]): Promise<void> {
    const failed: InfraError[] = [];
    for (const [topic, of] of Map.groupBy(records, ({ topic }) => topic)) {
      try {
        await this.#producer.send({ messages: of.map(messageOf), acks: this.#acks });
      } catch (error) {
        failed.push(sendErrorOf(error, topic));
      }
    }
    if (failed[0] !== undefined) throw failed[0];
  }
}

function messageOf({ topic, key, value, headers }: WireRecord): MessageToProduce {
  const entries = Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)] as const);
  return {
    topic,
    ...(key === null ? {} : { key: Buffer.from(key) }),
    ...(value === null ? {} : { value }),
    headers: new Map(entries),
  };
}

const sizeOf = ({ key, value, headers }: WireRecord): number =>
  OVERHEAD +
  Buffer.byteLength(key ?? "") +
  (value?.byteLength ?? 0) +
  Object.entries(headers).reduce((sum, [name, text]) => sum + Buffer.byteLength(name) + Buffer.byteLength(text) + 8, 0);
