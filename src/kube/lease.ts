import type { Clock, Point, Rng } from "../lib/seams.ts";
import { type Instant, type Millis, millisOf, seconds } from "../lib/time.ts";
import type { KubeClient } from "./client.ts";
import { isAlreadyExists, isAmbiguous, isConflict, isNotFound, KubeError } from "./errors.ts";
import type { KubeLog } from "./log.ts";
import { formatMicroTime } from "./micro-time.ts";
import type { KubeObject, ObjectRef, Resource } from "./resource.ts";

export const LEASES: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};

export interface LeaseTimings {
  /** Others take the lease once they have seen it unchanged for this long. */
  readonly duration: Millis;
  /** The holder gives up once it could not renew for this long; well below `duration`. */
  readonly renewDeadline: Millis;
  /** The holder renews this often. */
  readonly retry: Millis;
  /** Others look this often, at least: what they see late they wait for longer. */
  readonly look: Millis;
}

/**
 * client-go's but for `look`, which leaves half a second of L7 to the requests: hand-over within 17 s after a crash, 3 s after a release.
 */
export const LEASE_TIMINGS: LeaseTimings = {
  duration: seconds(15),
  renewDeadline: seconds(10),
  retry: seconds(2),
  look: millisOf(1500),
};

export interface ElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** The pod's: after a restart the same one, which takes its lease back at once. */
  readonly identity: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: KubeLog;
  /** What the record shows to people. Nobody decides by it. */
  readonly wall: () => Instant;
  readonly timings?: Partial<LeaseTimings>;
}

/**
 * Who leads, by a Lease. Time is judged by this process's monotonic clock since it first saw a change, never by the times in the
 * record: clocks of machines may differ. It saves work, not safety: a process that is paused does not know that it lost.
 */
export interface Election {
  readonly identity: string;
  /** False as soon as the renew deadline has passed, even while a paused process has not yet noticed. */
  readonly isLeader: boolean;
  /** As last read or written; null: nobody, or not read yet. */
  readonly observedHolder: string | null;
  /** This process saw that holder's lease end (released, expired, taken), or leads itself under that very identity. */
  hasEnded(identity: string): boolean;
  /** Resolves when the lease is held. @throws the signal's reason */
  campaign(signal: AbortSignal): Promise<Term>;
}

export interface Term {
  /** Aborted when the lease was taken or could not be renewed in time. */
  readonly lost: AbortSignal;
  /** Stops renewing and, where still held, gives the lease free so that others need not wait. */
  release(): Promise<void>;
}

export const openElection = (options: ElectionOptions): Election => new LeaseElection(options);

const POINT: Point = { class: "api/lease", subject: null };
const REQUEST_TIMEOUT = seconds(5);
/** Holders whose end is remembered. */
const MOST_ENDED = 64;

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

interface Call {
  readonly signal?: AbortSignal;
  readonly timeout?: Millis;
}

interface Held {
  readonly lease: KubeObject;
  /** Monotonic time before the renewing request was sent. */
  readonly renewedAt: number;
}

class LeaseElection implements Election {
  readonly identity: string;
  readonly #options: ElectionOptions;
  readonly #timings: LeaseTimings;
  readonly #ref: ObjectRef;
  readonly #ended = new Set<string>();
  #seen: { readonly record: string; readonly holder: string | null; readonly since: number } | null = null;
  #held: Held | null = null;
  /** Whom this process said that it waits for. */
  #awaited: string | null = null;

  constructor(options: ElectionOptions) {
    this.identity = options.identity;
    this.#options = options;
    this.#timings = { ...LEASE_TIMINGS, ...options.timings };
    this.#ref = { namespace: options.namespace, name: options.name };
  }

  get isLeader(): boolean {
    return this.#held !== null && this.#renewLeft(this.#held) > 0;
  }
  get observedHolder(): string | null {
    return this.#seen?.holder ?? null;
  }

  hasEnded(identity: string): boolean {
    if (identity === this.identity) return this.isLeader;
    if (identity === this.observedHolder) return this.#expiresIn() <= 0;
    return this.#ended.has(identity);
  }

  async campaign(signal: AbortSignal): Promise<Term> {
    const { clock, rng, log } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      this.#held = await this.#tryToTake(signal);
      if (this.#held !== null) break;
      // Jitter shortens only: a longer wait would lengthen the hand-over (L7).
      const look = this.#timings.look * (1 - rng.float() / 5);
      const expiry = this.#expiresIn();
      await clock.sleep(millisOf(expiry > 0 ? Math.min(look, expiry) : look), signal);
    }
    this.#awaited = null;
    log.info({ lease: this.#name, identity: this.identity }, `${this.identity} leads`);
    return this.#term();
  }

  #term(): Term {
    const lost = new AbortController();
    const stop = new AbortController();
    const renewing = this.#renewUntil(stop.signal).then((why) => {
      if (why === null) return;
      this.#held = null;
      this.#options.log.warn({ lease: this.#name, identity: this.identity }, `the lease is lost: ${why}`);
      lost.abort(new Error(`the lease ${this.#name} is lost: ${why}`));
    });
    const release = async (): Promise<void> => {
      stop.abort();
      await renewing;
      await this.#giveFree();
    };
    return { lost: lost.signal, release };
  }

  async #tryToTake(signal: AbortSignal): Promise<Held | null> {
    const { clock, log } = this.#options;
    try {
      const lease = await this.#read({ signal });
      const renewedAt = clock.monotonic();
      if (lease === null) return { lease: this.#note(await this.#create({ signal })), renewedAt };
      this.#note(lease);
      const { holder } = this.#seen ?? { holder: null };
      if (holder !== null && holder !== this.identity && this.#expiresIn() > 0) return this.#waitFor(holder);
      return { lease: this.#note(await this.#write(lease, this.#takenOver(lease), { signal })), renewedAt };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof KubeError)) throw error;
      if (!isConflict(error) && !isAlreadyExists(error))
        log.warn({ lease: this.#name }, `cannot take the lease: ${error.message}`);
      return null;
    }
  }

  #waitFor(holder: string): null {
    const { log } = this.#options;
    if (this.#awaited !== holder) log.info({ lease: this.#name, holder }, `${holder} leads, ${this.identity} waits`);
    this.#awaited = holder;
    return null;
  }

  /** Renews until told to stop; else says why the lease is lost. */
  async #renewUntil(stop: AbortSignal): Promise<string | null> {
    const { clock } = this.#options;
    for (;;) {
      const held = this.#held;
      if (held === null) return null;
      const left = this.#renewLeft(held);
      if (left <= 0) return `not renewed for ${this.#timings.renewDeadline / 1000} s`;
      await clock.sleep(millisOf(Math.min(this.#timings.retry, left)), stop).catch(() => undefined);
      if (stop.aborted) return null;
      const thief = await this.#renew(held);
      if (thief !== null) return `${thief === "" ? "nobody" : thief} holds it`;
    }
  }

  /** Null: still ours as far as is known. Else who holds it. */
  async #renew(held: Held): Promise<string | null> {
    const { clock, log } = this.#options;
    const renewedAt = clock.monotonic();
    try {
      const lease = await this.#write(held.lease, this.#renewed(held.lease), this.#inTime(held));
      this.#held = { lease: this.#note(lease), renewedAt };
      return null;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      log.warn({ lease: this.#name }, `cannot renew the lease: ${error.message}`);
      const isDoubtful = isConflict(error) || isAmbiguous(error) || isNotFound(error);
      return isDoubtful ? await this.#lookAgain(held) : null;
    }
  }

  /** After a conflict or a lost answer: somebody took it, or touched it, or it was our own write that came through. */
  async #lookAgain(held: Held): Promise<string | null> {
    try {
      const lease = (await this.#read(this.#inTime(held))) ?? (await this.#create(this.#inTime(held)));
      this.#note(lease);
      if (holderOf(lease) !== this.identity) return holderOf(lease) ?? "";
      this.#held = { lease, renewedAt: held.renewedAt };
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
    }
    return null;
  }

  async #giveFree(): Promise<void> {
    const held = this.#held;
    const isOurs = this.isLeader;
    this.#held = null;
    if (held === null || !isOurs) return;
    const free = { ...specOf(held.lease), holderIdentity: "", leaseDurationSeconds: 1, renewTime: this.#wallTime() };
    try {
      this.#note(await this.#write(held.lease, free, {}));
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      this.#options.log.warn(
        { lease: this.#name },
        `the lease was not given free, others wait for its end: ${error.message}`,
      );
    }
  }

  /** Remembers when (monotonic) the record was first seen as it is, and whose lease ended. */
  #note(lease: KubeObject): KubeObject {
    const record = JSON.stringify(lease.spec ?? null);
    if (record === this.#seen?.record) return lease;
    const holder = holderOf(lease);
    const before = this.#seen?.holder ?? null;
    if (before !== null && before !== holder) this.#ended.add(before);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= MOST_ENDED) break;
      this.#ended.delete(oldest);
    }
    this.#seen = { record, holder, since: this.#options.clock.monotonic() };
    return lease;
  }

  /** Until what was seen counts as expired. */
  #expiresIn(): number {
    const { since } = this.#seen ?? { since: Number.NEGATIVE_INFINITY };
    return since + this.#timings.duration - this.#options.clock.monotonic();
  }

  #renewLeft({ renewedAt }: Held): number {
    return renewedAt + this.#timings.renewDeadline - this.#options.clock.monotonic();
  }

  #takenOver(lease: KubeObject): LeaseSpec {
    const { leaseTransitions = 0, holderIdentity, acquireTime } = specOf(lease);
    const isOurs = holderIdentity === this.identity;
    return {
      ...this.#fresh(),
      acquireTime: isOurs && acquireTime !== undefined ? acquireTime : this.#wallTime(),
      leaseTransitions: isOurs ? leaseTransitions : leaseTransitions + 1,
    };
  }

  #renewed(lease: KubeObject): LeaseSpec {
    return { ...specOf(lease), ...this.#fresh() };
  }

  #fresh(): LeaseSpec {
    const leaseDurationSeconds = Math.max(1, Math.round(this.#timings.duration / 1000));
    return { holderIdentity: this.identity, leaseDurationSeconds, renewTime: this.#wallTime() };
  }

  /** No request of a holder may keep him from noticing that his time is over. */
  #inTime(held: Held): Call {
    return { timeout: millisOf(Math.min(REQUEST_TIMEOUT, this.#renewLeft(held))) };
  }

  async #read(call: Call): Promise<KubeObject | null> {
    try {
      return await this.#options.client.get(LEASES, this.#ref, { lane: "lease", timeout: REQUEST_TIMEOUT, ...call });
    } catch (error) {
      if (isNotFound(error)) return null;
      throw error;
    }
  }

  #create(call: Call): Promise<KubeObject> {
    const { namespace, name } = this.#options;
    const spec: LeaseSpec = { ...this.#fresh(), acquireTime: this.#wallTime(), leaseTransitions: 0 };
    const options = { lane: "lease", point: POINT, timeout: REQUEST_TIMEOUT, ...call } as const;
    return this.#options.client.create(LEASES, { metadata: { namespace, name }, spec }, options);
  }

  #write(lease: KubeObject, spec: LeaseSpec, call: Call): Promise<KubeObject> {
    const options = { lane: "lease", point: POINT, timeout: REQUEST_TIMEOUT, ...call } as const;
    return this.#options.client.replace(LEASES, { ...lease, spec }, options);
  }

  #wallTime(): string {
    return formatMicroTime(this.#options.wall());
  }

  get #name(): string {
    return `${this.#options.namespace}/${this.#options.name}`;
  }
}

const specOf = ({ spec }: KubeObject): LeaseSpec => Object(spec) as LeaseSpec;

function holderOf(lease: KubeObject): string | null {
  const { holderIdentity } = specOf(lease);
  return typeof holderIdentity === "string" && holderIdentity !== "" ? holderIdentity : null;
}
