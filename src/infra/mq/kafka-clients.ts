import {
  Admin,
  Consumer,
  type ConsumerOptions,
  kMetadata,
  kOptions,
  NetworkError,
  Producer,
  type ProducerOptions,
} from "@platformatic/kafka";
import { parseAddress } from "../../lib/address.ts";
import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { MqSettings } from "../config/mq-settings.ts";
import type { TlsMaterial } from "../egress/tls.ts";
import { MadeConnections } from "./made-connections.ts";
import type { MqDeps } from "./mq.ts";

type Describe = Admin[typeof kMetadata];
type Asked = Parameters<Describe>[0];
type Answer = Parameters<Describe>[1];

/** `host:port` of the brokers that the settings list: no other is ever connected to, whatever a broker advertises. */
export type Listed = ReadonlySet<string>;

/** Addresses come out of the cluster's description, and from nowhere else. */
function onlyListed(listed: Listed, answer: Answer): Answer {
  const checked = (...[error, metadata]: Parameters<Answer>): void => {
    const brokers = error === null || error === undefined ? [...(metadata?.brokers.values() ?? [])] : [];
    const stranger = brokers.find(({ host, port }) => !listed.has(`${host}:${port}`));
    if (stranger === undefined) answer(error, metadata);
    else
      answer(
        new NetworkError("unlisted broker", { canRetry: false, unlisted: `${stranger.host}:${stranger.port}` }),
        metadata,
      );
  };
  return checked;
}

export class ListedProducer extends Producer {
  readonly made = new MadeConnections();
  #listed: Listed = new Set();
  static to(listed: Listed, options: ProducerOptions<Buffer, Buffer, Buffer, Buffer>): ListedProducer {
    const producer = new ListedProducer({ ...options });
    producer.#listed = listed;
    producer.made.follow(producer.connections);
    // 2.12 takes 0 and 1 for "without end" where the producer is idempotent.
    if (options.retries !== undefined) producer[kOptions].retries = options.retries;
    return producer;
  }
  override [kMetadata](asked: Asked, answer: Answer): void {
    super[kMetadata](asked, onlyListed(this.#listed, answer));
  }
}

export class ListedConsumer extends Consumer {
  readonly made = new MadeConnections();
  #listed: Listed = new Set();
  static to(listed: Listed, options: ConsumerOptions<Buffer, Buffer, Buffer, Buffer>): ListedConsumer {
    const consumer = new ListedConsumer(options);
    consumer.#listed = listed;
    consumer.made.follow(consumer.connections);
    return consumer;
  }
  override [kMetadata](asked: Asked, answer: Answer): void {
    super[kMetadata](asked, onlyListed(this.#listed, answer));
  }
}

export class ListedAdmin extends Admin {
  readonly made = new MadeConnections();
  #listed: Listed = new Set();
  static to(listed: Listed, options: ConstructorParameters<typeof Admin>[0]): ListedAdmin {
    const admin = new ListedAdmin(options);
    admin.#listed = listed;
    admin.made.follow(admin.connections);
    return admin;
  }
  override [kMetadata](asked: Asked, answer: Answer): void {
    super[kMetadata](asked, onlyListed(this.#listed, answer));
  }
}

/** Between tries of one request inside the vendor's client. */
const RETRY: Backoff = { initial: millisOf(100), factor: 2, max: seconds(2) };

export const listedIn = ({ brokers }: Pick<MqSettings, "brokers">): Listed => new Set(brokers);

/** What every client is opened with. */
export function commonOptions(settings: MqSettings, deps: MqDeps) {
  const { brokers, dialTimeout, requestTimeout } = settings;
  const { rng, tls } = deps;
  return {
    bootstrapBrokers: [...brokers],
    connectTimeout: dialTimeout,
    timeout: requestTimeout,
    requestTimeout,
    retryDelay: (_client: unknown, _operation: string, attempt: number) => backoffAfter(attempt, RETRY, rng.float()),
    autocreateTopics: false,
    strict: false,
    ...(tls === null ? {} : { tls: tlsOf(tls), tlsServerName: serverNameOf(settings) }),
    ...saslOf(settings, deps),
  };
}

/** The configured name, else each broker's own (true); an address without a name is verified as such, and named to nobody (RFC 6066). */
function serverNameOf({ tls, brokers }: MqSettings): string | boolean {
  if (tls !== "None" && tls.serverName !== undefined) return tls.serverName;
  return brokers.some((address) => parseAddress(address)?.host.kind === "name");
}

function tlsOf({ ca, cert, key }: TlsMaterial) {
  return {
    minVersion: "TLSv1.2" as const,
    rejectUnauthorized: true,
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
  };
}

function saslOf({ username, password }: MqSettings, { secret }: MqDeps) {
  if (username === undefined) return {};
  const read = (): Promise<string> => (password === undefined ? Promise.resolve("") : secret(password));
  return { sasl: { mechanism: "SCRAM-SHA-512" as const, username, password: read } };
}
