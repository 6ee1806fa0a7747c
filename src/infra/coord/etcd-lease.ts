import { untilAborted } from "../../lib/deadline.ts";
import type { Clock } from "../../lib/seams.ts";
import { millisOf, type Millis, seconds } from "../../lib/time.ts";
import { coordError, isCoordError } from "./etcd-failures.ts";
import type { Gateway } from "./etcd-gateway.ts";
import { numberOf, objectOf, textOf } from "./etcd-wire.ts";

export interface Lease extends AsyncDisposable {
  /** etcd's number of it, a decimal text of up to 64 bits. */
  readonly id: string;
  /** Aborted before etcd can have ended the lease. */
  readonly lost: AbortSignal;
  /** Whether it can still stand, by the monotonic clock alone. */
  held(): boolean;
  /** Ends it at once. May be called twice. */
  revoke(): Promise<void>;
}

export interface LeaseDeps {
  readonly gateway: Gateway;
  readonly clock: Clock;
  /** What stands as long as nobody disposes of it, oldest first. */
  readonly open: Set<AsyncDisposable>;
}

export const SHORTEST_LEASE = seconds(1);
/** Three tries fit into one lease. */
const KEEP_ALIVES = 3;
/**
 * We stop believing this much earlier than etcd may end it: two clocks drift, and a timer comes late. 2 % and 100 ms are far
 * more than quartz differs by (100 ppm) and less than a lease of one second holds.
 */
const early = (ttl: Millis): Millis => millisOf(Math.max(100, ttl * 0.02));

/**
 * A lease of whole seconds, kept alive until it is revoked or lost. etcd counts from when a request reached it, we from before
 * we sent it: so ours always ends first.
 * @throws InfraError `LeaseTooShort`, or the gateway's
 */
export async function grantLease(ttl: Millis, deps: LeaseDeps, signal?: AbortSignal): Promise<Lease> {
  if (!(ttl >= SHORTEST_LEASE)) throw coordError("LeaseTooShort", `${ttl}ms`);
  const { gateway, clock } = deps;
  const askedAt = clock.monotonic();
  const body = { TTL: String(Math.ceil(ttl / 1000)) };
  // An answer that is lost leaves a lease without keys, which ends by itself.
  const answer = await gateway.call("/v3/lease/grant", body, { repeatable: true, signal });
  const id = textOf(answer["ID"]);
  if (!/^\d{1,20}$/.test(id)) throw coordError("BadAnswer", "lease");
  const granted = millisOf(numberOf(answer["TTL"], "TTL") * 1000);
  const term = { believedUntil: millisOf(askedAt + granted - early(granted)), ttl: granted };
  return new KeptLease(id, term, deps);
}

interface Term {
  readonly believedUntil: Millis;
  readonly ttl: Millis;
}

class KeptLease implements Lease {
  readonly id: string;
  readonly #lost = new AbortController();
  readonly #over = new AbortController();
  readonly #deps: LeaseDeps;
  readonly #kept: Promise<void>;
  readonly #watched: Promise<void>;
  #term: Term;

  constructor(id: string, term: Term, deps: LeaseDeps) {
    this.id = id;
    this.#term = term;
    this.#deps = deps;
    deps.open.add(this);
    this.#kept = this.#keep();
    this.#watched = this.#watch();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  held(): boolean {
    if (this.#deps.clock.monotonic() >= this.#term.believedUntil) this.#lose();
    return !this.#lost.signal.aborted;
  }

  async revoke(): Promise<void> {
    if (!this.#over.signal.aborted) {
      this.#over.abort();
      this.#deps.open.delete(this);
      this.#lose();
      // What cannot be told ends by itself after the ttl.
      await this.#deps.gateway.call("/v3/lease/revoke", { ID: this.id }, { repeatable: true }).catch(() => undefined);
    }
    await Promise.all([this.#kept, this.#watched]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.revoke();
  }

  #lose(): void {
    this.#lost.abort(coordError("LeaseLost", `lease ${this.id}`));
  }

  /** Says that it is lost on time, whatever became of the keep-alives. */
  async #watch(): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#over.signal.aborted && this.held()) {
      const left = millisOf(this.#term.believedUntil - clock.monotonic());
      await clock.sleep(left, AbortSignal.any([this.#over.signal, this.#lost.signal])).catch(() => undefined);
    }
  }

  async #keep(): Promise<void> {
    const { clock } = this.#deps;
    const ended = AbortSignal.any([this.#over.signal, this.#lost.signal]);
    while (!ended.aborted) {
      await clock.sleep(millisOf(this.#term.ttl / KEEP_ALIVES), ended).catch(() => undefined);
      if (!ended.aborted) await this.#renew(ended);
    }
  }

  async #renew(ended: AbortSignal): Promise<void> {
    const { gateway, clock } = this.#deps;
    const askedAt = clock.monotonic();
    try {
      const asked = gateway.call("/v3/lease/keepalive", { ID: this.id }, { repeatable: true, signal: ended });
      const result = objectOf((await untilAborted(asked, ended))["result"]);
      const ttl = millisOf(numberOf(result["TTL"], "TTL") * 1000);
      // 0: etcd does not know it any more.
      if (ttl === 0) this.#lose();
      else if (this.held()) this.#term = { ttl, believedUntil: millisOf(askedAt + ttl - early(ttl)) };
    } catch (error) {
      if (isCoordError(error, "LeaseLost")) this.#lose();
      else if (!ended.aborted) gateway.turnAway();
    }
  }
}
