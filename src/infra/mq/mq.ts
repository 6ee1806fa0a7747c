// mq: messages between services on Kafka: sent once as far as the broker can tell, committed after success, poison set aside.
// Nothing here knows what a message means, and no other folder speaks to Kafka.
import type { Clock, Rng } from "../../lib/seams.ts";
import type { Instant } from "../../lib/time.ts";
import type { Reloaded } from "../../lib/reloaded.ts";
import type { Log } from "../clog/log.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import type { SecretReference } from "../config/setting-fields.ts";
import type { TlsMaterial } from "../egress/tls.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracer } from "../metrics/tracer.ts";

/** How the values of a topic are written. */
export interface Codec<T> {
  readonly name: MqSettings["codec"];
  /** @throws whatever; the message is not sent */
  encode(value: T): Uint8Array;
  /** @throws whatever; the message is set aside at once, for it will never decode */
  decode(bytes: Uint8Array): T;
}

export interface Topic<T> {
  readonly name: string;
  readonly codec: Codec<T>;
}

export type Headers = Readonly<Record<string, string>>;

export interface Outgoing<T> {
  /** Messages of one key keep their order; null: any partition. */
  readonly key: string | null;
  readonly value: T;
  readonly headers?: Headers;
}

export interface Incoming<T> {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string | null;
  readonly value: T;
  readonly headers: Headers;
  readonly at: Instant;
  /** 1 for the first try of this process. */
  readonly attempt: number;
}

/** Resolves when the message is done for good. Thrown errors are tried again, then the message is set aside. */
export type Handle<T> = (message: Incoming<T>, signal: AbortSignal) => Promise<void>;

export interface SubscriptionView {
  /** Whether the group counts us in. */
  readonly joined: boolean;
  readonly paused: boolean;
  /** Messages taken and not yet done. */
  readonly inWork: number;
  /** Done for good since it began, those that were set aside among them. */
  readonly done: number;
  readonly setAside: number;
  /** Why it does not get on; null where it does. */
  readonly trouble: string | null;
}

/** A member of a consumer group. Each message is handled at least once; one of a partition after the other. */
export interface Subscription extends AsyncDisposable {
  view(): SubscriptionView;
  /** Takes nothing more, and stays a member. */
  pause(): void;
  resume(): void;
  /** Messages that stand in our partitions after the last one committed. */
  lag(): Promise<bigint>;
  /** Ends what is in work (a few seconds), commits it and leaves the group. May be called twice. */
  close(): Promise<void>;
}

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  readonly replicas: number;
}

export interface TopicsAdmin {
  list(): Promise<readonly string[]>;
  /** Those that exist already are left as they are. Gives back what was made. */
  create(topics: readonly NewTopic[]): Promise<readonly string[]>;
  /** Those that do not exist are no error. */
  delete(names: readonly string[]): Promise<void>;
}

/** Which header carries the trace (W3C Trace Context). */
export const TRACE_HEADER = "traceparent";

/** What a span says of a topic, in the words of OpenTelemetry's semantic conventions. */
export const aboutTopic = (name: string) => ({ "messaging.system": "kafka", "messaging.destination.name": name });

export interface MqDeps {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Who we are, where the settings leave client and group ids out: `im-logic` and `im-logic-0`. */
  readonly service: string;
  readonly instance: string;
  /** Read anew at each log-in. Rejects with InfraError. */
  readonly secret: (reference: SecretReference) => Promise<string>;
  /** Of the settings' `tls`, read already; null: in the clear. */
  readonly tls: TlsMaterial | null;
  readonly log?: Log;
  readonly metrics?: Metrics;
  /** Used where the settings' `enableTracing` says so. */
  readonly tracer?: Tracer;
}

/** Every call rejects with InfraError only and is bounded by the settings. */
export interface Mq extends AsyncDisposable {
  /** The topic's own name behind the name in the code. @throws InfraError CONFIG `TopicUnnamed` */
  nameOf(word: string): string;
  /**
   * Resolves when the broker has them as `acks` says. @throws InfraError `SendUnknown` where nobody knows whether it has: sent
   * again they may be there twice
   */
  send<T>(topic: Topic<T>, messages: readonly Outgoing<T>[]): Promise<void>;
  /** Resolves when the group (`GROUP.TOPIC`) has taken us in. Its dead-letter topic, `TOPIC.dlq`, is made where it is missing. */
  subscribe<T>(topic: Topic<T>, handle: Handle<T>, signal?: AbortSignal): Promise<Subscription>;
  readonly topics: TopicsAdmin;
  check(signal: AbortSignal): Promise<Health>;
  /** Puts in force what can be changed while it runs. */
  reload(next: MqSettings): Reloaded;
  /** Ends subscriptions, then sends what waits, then the connections. Bounded; may be called twice. */
  close(): Promise<void>;
}
