import { type Message, MessagesStreamFallbackModes, MessagesStreamModes } from "@platformatic/kafka";
import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { instantOf, seconds } from "../../lib/time.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import { Committer } from "./committer.ts";
import type { RawMessage } from "./dead-letter.ts";
import type { Intake } from "./intake.ts";
import { commonOptions, listedIn, ListedConsumer } from "./kafka-clients.ts";
import { Lane } from "./lane.ts";
import type { Work, Worked } from "./message-work.ts";
import type { MqDeps } from "./mq.ts";
import { mqError } from "./mq-failures.ts";

export interface SessionDeps {
  readonly topic: string;
  readonly group: string;
  readonly settings: MqSettings;
  readonly deps: MqDeps;
  readonly intake: Intake;
  readonly work: Work;
  readonly onJoined: () => void;
  readonly onDone: (worked: Exclude<Worked, "left">) => void;
  readonly onCommitFailed: (error: unknown) => void;
}

const CLOSES_WITHIN = seconds(5);
/** What one answer to a fetch may hold. */
const MOST_FETCHED = 4 * 1024 * 1024;
const never = new AbortController().signal;

/**
 * One membership in the group. With each new assignment of partitions reading begins anew from what is committed: what was read
 * and not begun is dropped, what is in work may end first.
 */
export class GroupSession {
  readonly consumer: ListedConsumer;
  readonly #about: SessionDeps;
  readonly #lanes = new Map<number, Lane>();
  readonly #over = new AbortController();
  readonly #committer: Committer;
  #topicId: string | null = null;

  constructor(about: SessionDeps) {
    this.#about = about;
    const { settings, deps } = about;
    const consumer = openConsumer(about);
    this.consumer = consumer;
    this.#committer = new Committer({
      clock: deps.clock,
      rng: deps.rng,
      timeout: settings.requestTimeout,
      over: this.#over.signal,
      onFailed: about.onCommitFailed,
      commit: async (positions) => consumer.commit({ offsets: [...positions] }),
    });
    // Out of the group, with nobody who would join again.
    consumer.on("error", (error: unknown) => this.#over.abort(error));
    consumer.on("consumer:heartbeat:stalled", () => this.#over.abort(mqError("TimedOut", about.topic)));
  }

  /** Runs until the signal, then resolves; rejects with what ended it before. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#over.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    let reading: Reading | null = null;
    try {
      for (;;) reading = await this.#generation(reading);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      this.#over.abort();
      await this.#leave(signal);
    }
  }

  /** Reads until the group gives out its partitions anew. */
  async #generation(last: Reading | null): Promise<Reading> {
    const { topic, settings, onJoined } = this.#about;
    const over = this.#over.signal;
    const stream = await untilAborted(this.consumer.consume(readingOf(topic, settings)), over);
    stream.on("error", () => undefined);
    this.consumer.made.follow(stream.connections);
    const ended = new AbortController();
    const end = (): void => ended.abort();
    this.consumer.on("consumer:group:join", end);
    // Only now: without any stream of the topic the client would leave the group.
    last?.destroy();
    try {
      await untilAborted(this.#idle(), over);
      onJoined();
      const until = AbortSignal.any([over, ended.signal]);
      await this.#forgetIfAnother(until);
      const messages = stream[Symbol.asyncIterator]();
      const arrived = new Map<number, bigint>();
      while (!until.aborted) {
        const next = await untilAborted(messages.next(), until);
        if (next.done === true) throw mqError("Rebalanced", topic);
        const { partition, offset } = next.value;
        if (offset <= (arrived.get(partition) ?? -1n)) this.#lane(partition).forget();
        arrived.set(partition, offset);
        await this.#take(next.value, until);
      }
    } catch (error) {
      if (over.aborted || !ended.signal.aborted) {
        stream.destroy();
        throw over.aborted ? over.reason : error;
      }
    } finally {
      this.consumer.removeListener("consumer:group:join", end);
    }
    return stream;
  }

  /** Puts it into the lane of its partition, once there is room for another one. */
  async #take(message: Message, until: AbortSignal): Promise<void> {
    const release = await this.#about.intake.admit(until);
    const lane = this.#lane(message.partition);
    lane.push(async () => {
      try {
        await this.#finish(message, lane, until);
      } finally {
        release();
      }
    });
  }

  #lane(partition: number): Lane {
    const lane = this.#lanes.get(partition) ?? new Lane();
    this.#lanes.set(partition, lane);
    return lane;
  }

  /** A topic that was deleted and made again counts its messages from the start. */
  async #forgetIfAnother(until: AbortSignal): Promise<void> {
    const { topic } = this.#about;
    const { topics } = await untilAborted(this.consumer.metadata({ topics: [topic] }), until);
    const id = topics.get(topic)?.id ?? null;
    if (this.#topicId !== null && this.#topicId !== id) for (const lane of this.#lanes.values()) lane.forget();
    this.#topicId = id;
  }

  async #finish(message: Message, lane: Lane, until: AbortSignal): Promise<void> {
    const { topic, partition, offset, leaderEpoch } = message;
    if (until.aborted) return;
    if (!lane.isDone(offset)) {
      const worked = await this.#about.work(rawOf(message), until);
      if (worked === "left") return;
      lane.done(offset);
      this.#about.onDone(worked);
    }
    // Also what came again: its commit may have been lost with the partition.
    if (this.#isOurs(message))
      this.#committer.note({ topic, partition, offset: lane.next ?? offset + 1n, leaderEpoch });
  }

  /** Others may be further in what is no longer ours: our offset would take them back. */
  #isOurs({ topic, partition }: Message): boolean {
    const ours = this.consumer.assignments?.find((assigned) => assigned.topic === topic);
    return ours?.partitions.includes(partition) ?? false;
  }

  async #idle(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.idle()));
  }

  /**
   * What is in work may end and be committed; then the group goes on without us. The next session waits for it, for a partition's
   * messages are handled one after the other; only who closes has no time.
   */
  async #leave(closing: AbortSignal): Promise<void> {
    const { clock } = this.#about.deps;
    const bounded = (work: () => Promise<unknown>): Promise<unknown> =>
      withDeadline({ clock, timeout: CLOSES_WITHIN, signal: never }, (ended) =>
        untilAborted(work(), ended).catch(() => undefined),
      );
    await untilAborted(this.#idle(), closing).catch(() => undefined);
    await bounded(() => this.#idle());
    await bounded(() => this.#committer.idle());
    await bounded(async () => this.consumer.close(true));
    this.consumer.made.end();
  }
}

interface Reading {
  destroy(): unknown;
}

function readingOf(topic: string, { consumer }: MqSettings) {
  const { fetchMin, fetchWait, maxPollRecords, autoOffsetReset } = consumer;
  return {
    topics: [topic],
    autocommit: false,
    mode: MessagesStreamModes.COMMITTED,
    fallbackMode:
      autoOffsetReset === "earliest" ? MessagesStreamFallbackModes.EARLIEST : MessagesStreamFallbackModes.LATEST,
    minBytes: fetchMin,
    maxBytes: MOST_FETCHED,
    maxWaitTime: fetchWait,
    highWaterMark: maxPollRecords,
  };
}

function openConsumer({ settings, deps, group }: SessionDeps): ListedConsumer {
  const { consumer } = settings;
  return ListedConsumer.to(listedIn(settings), {
    ...commonOptions(settings, deps),
    groupId: group,
    clientId: consumer.clientId ?? deps.instance,
    sessionTimeout: consumer.sessionTimeout,
    heartbeatInterval: consumer.heartbeat,
    rebalanceTimeout: consumer.sessionTimeout,
    autocommit: false,
  });
}

function rawOf({ topic, partition, offset, key, value, headers, timestamp }: Message): RawMessage {
  // A message may have neither key nor value, whatever the vendor's types say.
  const [name, bytes] = [key as Buffer | undefined, value as Buffer | undefined];
  const texts = [...headers].map(([header, text]) => [header.toString("utf8"), text.toString("utf8")] as const);
  return {
    topic,
    partition,
    offset,
    key: name?.toString("utf8") ?? null,
    value: bytes ?? null,
    headers: Object.fromEntries(texts),
    at: instantOf(Number(timestamp)),
  };
}
