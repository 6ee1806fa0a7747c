import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { untilAborted } from "../../lib/deadline.ts";
import type { InfraError } from "../../lib/infra-error.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import { GroupSession } from "./group-session.ts";
import { Intake } from "./intake.ts";
import { openWork, type Work } from "./message-work.ts";
import type { Handle, MqDeps, Subscription, SubscriptionView, Topic } from "./mq.ts";
import { mqError, mqErrorOf } from "./mq-failures.ts";
import type { Sender } from "./sender.ts";

export interface SubscriptionDeps<T> {
  readonly topic: Topic<T>;
  readonly handle: Handle<T>;
  /** As they are now: some of them change while it runs. */
  readonly settings: () => MqSettings;
  readonly deps: MqDeps;
  readonly sender: Pick<Sender, "send">;
  /** Told once, when it is over. */
  readonly onClosed: () => void;
}

/** Between sessions with the broker. */
const RECONNECT: Backoff = { initial: millisOf(200), factor: 2, max: seconds(5) };
const LAG_EVERY = seconds(10);

/** Sessions one after the other, for as long as nobody closes it. */
export class GroupSubscription<T> implements Subscription {
  readonly #about: SubscriptionDeps<T>;
  readonly #intake: Intake;
  readonly #work: Work;
  readonly #ending = new AbortController();
  readonly #joined = Promise.withResolvers<void>();
  readonly #running: Promise<unknown>;
  #session: GroupSession | null = null;
  #done = 0;
  #setAside = 0;
  #trouble: string | null = null;

  constructor(about: SubscriptionDeps<T>) {
    this.#about = about;
    const { topic, handle, settings, deps, sender } = about;
    this.#intake = new Intake(() => settings().consumer.maxPollRecords);
    const group = groupOf(topic.name, settings(), deps);
    const onTrouble = (message: string | null): void => void (this.#trouble = message);
    this.#work = openWork({ topic, handle, group, settings: () => settings().consumer, deps, sender, onTrouble });
    this.#joined.promise.catch(() => undefined);
    this.#running = Promise.all([this.#run(), this.#watchLag()]);
  }

  /** Resolves when the group has taken us in. @throws InfraError that a person has to mend, or the signal's reason */
  ready(signal: AbortSignal): Promise<void> {
    return untilAborted(this.#joined.promise, signal);
  }

  view(): SubscriptionView {
    const joined = this.#session?.consumer.isActive() ?? false;
    const { paused, held: inWork } = this.#intake;
    return { joined, paused, inWork, done: this.#done, setAside: this.#setAside, trouble: this.#trouble };
  }
  pause(): void {
    this.#intake.pause();
  }
  resume(): void {
    this.#intake.resume();
  }

  async lag(): Promise<bigint> {
    const { name } = this.#about.topic;
    if (this.#session === null) throw mqError("Rebalanced", name);
    try {
      const lags = await this.#session.consumer.getLag({ topics: [name] });
      return [...lags.values()].flat().reduce((sum, lag) => (lag > 0n ? sum + lag : sum), 0n);
    } catch (error) {
      throw mqErrorOf(error, name);
    }
  }

  async close(): Promise<void> {
    this.#ending.abort(mqError("Closed", ""));
    await this.#running;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const { deps, topic, onClosed } = this.#about;
    const { signal } = this.#ending;
    let failures = 0;
    while (!signal.aborted) {
      const before = this.#done;
      try {
        await this.#oneSession();
      } catch (error) {
        this.#say(mqErrorOf(error, topic.name));
        failures = this.#done > before ? 1 : failures + 1;
        await deps.clock.sleep(backoffAfter(failures, RECONNECT, deps.rng.float()), signal).catch(() => undefined);
      }
    }
    this.#joined.reject(mqError("Closed", topic.name));
    onClosed();
  }

  async #oneSession(): Promise<void> {
    const { topic, settings, deps } = this.#about;
    const session = new GroupSession({
      topic: topic.name,
      group: groupOf(topic.name, settings(), deps),
      settings: settings(),
      deps,
      intake: this.#intake,
      work: this.#work,
      onJoined: () => {
        this.#session = session;
        this.#trouble = null;
        this.#joined.resolve();
      },
      onDone: (worked) => {
        this.#done += 1;
        if (worked === "setAside") this.#setAside += 1;
        this.#count(worked);
      },
      onCommitFailed: (error) => this.#say(mqErrorOf(error, topic.name)),
    });
    try {
      await session.run(this.#ending.signal);
    } finally {
      this.#session = null;
    }
  }

  #count(result: "handled" | "setAside"): void {
    const { deps, settings, topic } = this.#about;
    if (settings().enableMetrics) deps.metrics?.count("infra_mq_messages_total", { topic: topic.name, result });
  }

  #say(error: InfraError): void {
    const { deps, topic } = this.#about;
    deps.metrics?.infraFailed(error);
    deps.log?.warn({ topic: topic.name, code: error.code }, "receiving was interrupted");
    if (error.code === "Rebalanced") return;
    this.#trouble = error.message;
    // What nobody will mend by waiting is told to who subscribes.
    if (error.type === "CONFIG" || error.type === "NOT_FOUND") this.#joined.reject(error);
  }

  async #watchLag(): Promise<void> {
    const { deps, topic } = this.#about;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      await deps.clock.sleep(LAG_EVERY, signal).catch(() => undefined);
      const lag = signal.aborted ? null : await untilAborted(this.lag(), signal).catch(() => null);
      if (lag !== null) deps.metrics?.set("infra_mq_lag", { topic: topic.name }, Number(lag));
    }
  }
}

/** `GROUP.TOPIC`: the vendor's group leader (2.12) gives out only what it subscribes to itself, so each topic has a group of its own. */
const groupOf = (topic: string, { consumer }: MqSettings, { service }: MqDeps): string =>
  `${consumer.groupId ?? service}.${topic}`;
