import { InfraError } from "../../lib/infra-error.ts";
import { formatInstant } from "../../lib/time.ts";
import type { Instant } from "../../lib/time.ts";
import type { Headers } from "./mq.ts";
import type { WireRecord } from "./sender.ts";

/** A message as it came, not yet decoded. */
export interface RawMessage {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string | null;
  readonly value: Buffer | null;
  readonly headers: Headers;
  readonly at: Instant;
}

export const deadLetterTopic = (topic: string): string => `${topic}.dlq`;

/** Why it could not be handled; `Undecodable`: its bytes mean nothing to the topic's codec. */
export interface Verdict {
  readonly code: string;
  readonly message: string;
  readonly attempts: number;
}

const MOST_TEXT = 500;

export function verdictOf(error: unknown, attempts: number): Verdict {
  if (error instanceof InfraError) return { code: error.code, message: error.message, attempts };
  const [code, message] = error instanceof Error ? [error.name, error.message] : ["Thrown", String(error)];
  return { code, message, attempts };
}

export interface SetAside {
  readonly group: string;
  readonly verdict: Verdict;
  readonly now: Instant;
}

/** The message as it came, and beside its own headers where it stood, what happened and when it was set aside. */
export function deadLetterOf(message: RawMessage, { group, verdict, now }: SetAside): WireRecord {
  const { topic, partition, offset, key, value, headers, at } = message;
  return {
    topic: deadLetterTopic(topic),
    key,
    value,
    headers: {
      ...headers,
      "dlq-topic": topic,
      "dlq-partition": String(partition),
      "dlq-offset": String(offset),
      "dlq-timestamp": formatInstant(at),
      "dlq-group": group,
      "dlq-attempts": String(verdict.attempts),
      "dlq-error-code": plain(verdict.code),
      "dlq-error-message": plain(verdict.message),
      "dlq-at": formatInstant(now),
    },
  };
}

/** One line of bounded length. */
const plain = (text: string): string => text.replaceAll(/[\p{Cc}\s]+/gu, " ").slice(0, MOST_TEXT);
