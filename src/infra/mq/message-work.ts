import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { InfraError } from "../../lib/infra-error.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import type { SpanAbout } from "../metrics/tracer.ts";
import { deadLetterOf, type RawMessage, type Verdict, verdictOf } from "./dead-letter.ts";
import { aboutTopic, TRACE_HEADER, type Handle, type MqDeps, type Topic } from "./mq.ts";
import { mqErrorOf } from "./mq-failures.ts";
import type { Sender } from "./sender.ts";

export interface WorkDeps<T> {
  readonly topic: Topic<T>;
  readonly handle: Handle<T>;
  readonly group: string;
  /** As they are now: some of them change while it runs. */
  readonly settings: () => MqSettings["consumer"];
  readonly deps: MqDeps;
  readonly sender: Pick<Sender, "send">;
  /** Why a message cannot be set aside; null: it can. */
  readonly onTrouble: (message: string | null) => void;
}

/** `left`: neither handled nor set aside; whoever gets the partition next begins with it. */
export type Worked = "handled" | "setAside" | "left";
export type Work = (message: RawMessage, over: AbortSignal) => Promise<Worked>;

/** Between tries to set a message aside. */
const AGAIN: Backoff = { initial: millisOf(200), factor: 2, max: seconds(5) };

/** Handles a message, a bounded number of times, then sets it aside. Never rejects. */
export function openWork<T>(about: WorkDeps<T>): Work {
  return async (message, over) => {
    const verdict = await handled(message, over, about);
    if (verdict === null) return "handled";
    if (over.aborted) return "left";
    return (await setAside(message, { verdict, over }, about)) ? "setAside" : "left";
  };
}

/** Null when done, else why it could not be. */
async function handled<T>(message: RawMessage, over: AbortSignal, about: WorkDeps<T>): Promise<Verdict | null> {
  const { topic, handle, settings, deps } = about;
  let value: T;
  try {
    value = topic.codec.decode(message.value ?? Buffer.alloc(0));
  } catch {
    return { code: "Undecodable", message: `the bytes are no ${topic.codec.name} of this topic`, attempts: 0 };
  }
  for (let attempt = 1; ; attempt += 1) {
    const once = (): Promise<void> => handle({ ...message, value, attempt }, over);
    try {
      await (deps.tracer === undefined
        ? once()
        : deps.tracer.span(`mq handle ${topic.name}`, spanOf(message, attempt), once));
      return null;
    } catch (error) {
      const { maxRetries, retryBackoff } = settings();
      const verdict = verdictOf(error, attempt);
      deps.log?.warn({ ...placeOf(message), code: verdict.code, attempt }, "a message could not be handled");
      if (attempt > maxRetries || isHopeless(error)) return verdict;
      const backoff = { initial: retryBackoff.min, factor: 2, max: retryBackoff.max };
      await deps.clock.sleep(backoffAfter(attempt, backoff, deps.rng.float()), over).catch(() => undefined);
      if (over.aborted) return verdict;
    }
  }
}

/** Each try of its own, in the trace of whoever sent the message. */
const spanOf = ({ topic, partition, headers }: RawMessage, attempt: number): SpanAbout => ({
  kind: "consumer",
  attributes: { ...aboutTopic(topic), "messaging.destination.partition.id": String(partition), attempt },
  from: headers[TRACE_HEADER] ?? null,
});

interface Judged {
  readonly verdict: Verdict;
  readonly over: AbortSignal;
}

/** Whether it stands in the dead-letter topic now. Without it nothing is lost: the message stays where it is, and its partition waits. */
async function setAside<T>(message: RawMessage, { verdict, over }: Judged, about: WorkDeps<T>): Promise<boolean> {
  const { sender, deps, group, onTrouble } = about;
  const letter = deadLetterOf(message, { group, verdict, now: deps.clock.now() });
  for (let failures = 1; !over.aborted; failures += 1) {
    try {
      await sender.send(letter);
      onTrouble(null);
      deps.log?.error({ ...placeOf(message), code: verdict.code }, "a message was set aside");
      return true;
    } catch (error) {
      const known = mqErrorOf(error, letter.topic);
      onTrouble(known.message);
      deps.log?.error({ topic: letter.topic, code: known.code }, "a message cannot be set aside, its partition waits");
      await deps.clock.sleep(backoffAfter(failures, AGAIN, deps.rng.float()), over).catch(() => undefined);
    }
  }
  return false;
}

/** The handler says itself that no other try will end otherwise. */
const isHopeless = (error: unknown): boolean =>
  error instanceof InfraError && error.type === "VALIDATION" && !error.retryable;

const placeOf = ({ topic, partition, offset }: RawMessage) => ({ topic, partition, offset: String(offset) });
