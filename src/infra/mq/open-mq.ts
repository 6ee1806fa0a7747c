import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { type Reloaded, reloaded } from "../../lib/reloaded.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import type { Health } from "../health/health.ts";
import { deadLetterTopic } from "./dead-letter.ts";
import { commonOptions, ListedAdmin, listedIn } from "./kafka-clients.ts";
import {
  aboutTopic,
  type Handle,
  type Headers,
  type Mq,
  type MqDeps,
  type NewTopic,
  type Outgoing,
  type Subscription,
  type Topic,
  TRACE_HEADER,
} from "./mq.ts";
import { isMqError, mqError, mqErrorOf } from "./mq-failures.ts";
import { Sender } from "./sender.ts";
import { GroupSubscription } from "./subscription.ts";

/** Connects and has spoken with the brokers when it resolves. @throws InfraError that says what a person has to mend */
export async function openMq(settings: MqSettings, deps: MqDeps): Promise<Mq> {
  const mq = new OpenMq(settings, deps);
  try {
    await mq.describe();
    return mq;
  } catch (error) {
    await mq.close();
    throw error;
  }
}

const CHECKED_WITHIN = seconds(3);
const CLOSES_WITHIN = seconds(10);
const SHOWN_WITHIN = seconds(2);
const LOOK_EVERY = millisOf(50);
const MOST_SUBSCRIPTIONS = 64;
/** Paths below `consumer` that are in force without a restart. */
const LIVE = [
  "maxPollRecords",
  "maxRetries",
  "retryBackoff",
] as const satisfies readonly (keyof MqSettings["consumer"])[];

class OpenMq implements Mq {
  readonly #deps: MqDeps;
  readonly #admin: ListedAdmin;
  readonly #sender: Sender;
  readonly #subscriptions = new Set<Subscription>();
  #settings: MqSettings;
  #closing: Promise<void> | null = null;

  constructor(settings: MqSettings, { tracer, ...others }: MqDeps) {
    const deps = settings.enableTracing && tracer !== undefined ? { ...others, tracer } : others;
    this.#settings = settings;
    this.#deps = deps;
    this.#sender = new Sender(settings, deps);
    this.#admin = ListedAdmin.to(listedIn(settings), {
      ...commonOptions(settings, deps),
      clientId: deps.instance,
      retries: 1,
    });
  }

  /** Asks for the cluster and its brokers' addresses. @throws InfraError */
  async describe(): Promise<void> {
    await this.#asked("", () => this.#admin.metadata({ topics: [], forceUpdate: true }));
  }

  nameOf(word: string): string {
    const name = Object.hasOwn(this.#settings.topics, word) ? this.#settings.topics[word] : undefined;
    if (name === undefined) throw mqError("TopicUnnamed", JSON.stringify(word.slice(0, 40)));
    return name;
  }

  async send<T>(topic: Topic<T>, messages: readonly Outgoing<T>[]): Promise<void> {
    this.#mustBeOpen();
    const { tracer } = this.#deps;
    if (tracer === undefined) return this.#send(topic, messages, {});
    const attributes = { ...aboutTopic(topic.name), "messaging.batch.message_count": messages.length };
    return tracer.call(`mq send ${topic.name}`, { kind: "producer", attributes }, () => {
      const header = tracer.header();
      return this.#send(topic, messages, header === null ? {} : { [TRACE_HEADER]: header });
    });
  }

  async #send<T>({ name, codec }: Topic<T>, messages: readonly Outgoing<T>[], common: Headers): Promise<void> {
    const records = messages.map(({ key, value, headers = {} }) => {
      try {
        const bytes = codec.encode(value);
        return {
          topic: name,
          key,
          value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
          headers: { ...common, ...headers },
        };
      } catch (error) {
        throw mqError("NotEncodable", name, error);
      }
    });
    // All are handed over before the first is waited for: they go in as few batches as they fit.
    const sent = await Promise.allSettled(records.map((record) => this.#sender.send(record)));
    for (const one of sent) if (one.status === "rejected") throw one.reason;
  }

  async subscribe<T>(topic: Topic<T>, handle: Handle<T>, signal: AbortSignal = forEver): Promise<Subscription> {
    this.#mustBeOpen();
    if (this.#subscriptions.size >= MOST_SUBSCRIPTIONS)
      throw mqError("Unavailable", `${MOST_SUBSCRIPTIONS} subscriptions`);
    await this.#mustHaveTopics(topic.name);
    const subscription: GroupSubscription<T> = new GroupSubscription<T>({
      topic,
      handle,
      settings: () => this.#settings,
      deps: this.#deps,
      sender: this.#sender,
      onClosed: () => void this.#subscriptions.delete(subscription),
    });
    this.#subscriptions.add(subscription);
    try {
      await subscription.ready(signal);
      return subscription;
    } catch (error) {
      await subscription.close();
      throw error;
    }
  }

  /** A user who may not make the latter is told in the log: until somebody does, poison holds up its partition. */
  async #mustHaveTopics(topic: string): Promise<void> {
    await this.#shown(topic);
    const there = await this.topics.list();
    const name = deadLetterTopic(topic);
    if (there.includes(name)) return;
    try {
      await this.topics.create([{ name, partitions: 1, replicas: -1 }]);
    } catch (error) {
      if (!isMqError(error, "PermissionDenied")) throw error;
      this.#deps.log?.warn({ topic: name }, "the dead-letter topic is missing and we may not make it");
    }
  }

  /** A topic that was just made is shown by the brokers a little later. @throws InfraError NOT_FOUND `TopicAbsent` */
  async #shown(topic: string): Promise<void> {
    const { clock } = this.#deps;
    const started = clock.monotonic();
    while (!(await this.topics.list()).includes(topic)) {
      if (clock.monotonic() - started >= SHOWN_WITHIN) throw mqError("TopicAbsent", topic);
      await clock.sleep(LOOK_EVERY);
    }
  }

  readonly topics = {
    list: (): Promise<readonly string[]> =>
      this.#asked("topics", () => this.#admin.listTopics({ includeInternals: false })),
    create: async (topics: readonly NewTopic[]): Promise<readonly string[]> => {
      const made: string[] = [];
      for (const { name, partitions, replicas } of topics) {
        try {
          await this.#asked(name, () => this.#admin.createTopics({ topics: [name], partitions, replicas }));
          await this.#shown(name);
          made.push(name);
        } catch (error) {
          if (!isMqError(error, "TopicExists")) throw error;
        }
      }
      return made;
    },
    delete: async (names: readonly string[]): Promise<void> => {
      for (const name of names) {
        try {
          await this.#asked(name, () => this.#admin.deleteTopics({ topics: [name] }));
        } catch (error) {
          if (!isMqError(error, "TopicAbsent")) throw error;
        }
      }
    },
  };

  async check(signal: AbortSignal): Promise<Health> {
    const views = [...this.#subscriptions].map((subscription) => subscription.view());
    const details = {
      subscriptions: views.length,
      inWork: views.reduce((sum, { inWork }) => sum + inWork, 0),
      setAside: views.reduce((sum, { setAside }) => sum + setAside, 0),
    };
    if (this.#closing !== null) return { status: "unhealthy", message: mqError("Closed", "").message, details };
    try {
      const bound = { clock: this.#deps.clock, timeout: CHECKED_WITHIN, signal };
      await withDeadline(bound, (ended) =>
        untilAborted(this.#admin.metadata({ topics: [], forceUpdate: true, retries: 0 }), ended),
      );
    } catch (error) {
      return { status: "unhealthy", message: mqErrorOf(error, "").message, details };
    }
    const trouble = views.find((view) => view.trouble !== null)?.trouble ?? null;
    return trouble === null
      ? { status: "healthy", message: "answers", details }
      : { status: "degraded", message: trouble, details };
  }

  reload(next: MqSettings): Reloaded {
    const { producer, consumer, ...others } = next;
    const { producer: oldProducer, consumer: oldConsumer, ...oldOthers } = this.#settings;
    const atRestart = reloaded(oldOthers, others, () => false).needsRestart;
    const ofProducer = reloaded(oldProducer, producer, () => false).needsRestart.map((field) => `producer.${field}`);
    const ofConsumer = reloaded(oldConsumer, consumer, (field) => (LIVE as readonly string[]).includes(field));
    const { maxPollRecords, maxRetries, retryBackoff } = consumer;
    this.#settings = {
      ...this.#settings,
      consumer: { ...oldConsumer, maxPollRecords, maxRetries, retryBackoff },
    };
    const below = (field: string): string => `consumer.${field}`;
    return {
      applied: ofConsumer.applied.map(below),
      needsRestart: [...atRestart, ...ofProducer, ...ofConsumer.needsRestart.map(below)],
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
  async #close(): Promise<void> {
    const bound = { clock: this.#deps.clock, timeout: CLOSES_WITHIN, signal: forEver };
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await withDeadline(bound, (ended) => untilAborted(this.#sender.close(), ended).catch(() => undefined));
    this.#sender.drop();
    await this.#admin.close().catch(() => undefined);
    this.#admin.made.end();
  }

  async #asked<A>(about: string, ask: () => Promise<A>): Promise<A> {
    this.#mustBeOpen();
    try {
      return await ask();
    } catch (error) {
      const known = mqErrorOf(error, about);
      this.#deps.metrics?.infraFailed(known);
      throw known;
    }
  }

  #mustBeOpen(): void {
    if (this.#closing !== null) throw mqError("Closed", "");
  }
}

const forEver = new AbortController().signal;
