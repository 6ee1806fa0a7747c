import type { Millis } from "../../lib/time.ts";
import type { InstanceId, Lock } from "./coord.ts";
import type { Gateway } from "./etcd-gateway.ts";
import { grantLease, type Lease, type LeaseDeps } from "./etcd-lease.ts";
import { watchRange, type WatchDeps } from "./etcd-watch.ts";
import { coordError, isCoordError } from "./etcd-failures.ts";
import { checkedKey, decode, encode, listOf, numberOf, objectOf, rangeOf, revisionOf } from "./etcd-wire.ts";

export interface LockDeps extends LeaseDeps, WatchDeps {
  readonly gateway: Gateway;
}

interface Asked {
  readonly name: string;
  readonly ttl: Millis;
  readonly signal: AbortSignal;
}

/**
 * A queue of keys below `/locks/NAME/`, each with its owner's lease: the oldest holds the lock, and the revision at which its
 * key was made is the fence. Both orders are etcd's own, so a later holder always has the larger fence.
 */
export async function acquireLock({ name, ttl, signal }: Asked, deps: LockDeps): Promise<Lock> {
  const lease = await grantLease(ttl, deps, signal);
  try {
    const fence = await enqueue(queueOf(name), lease, deps);
    await untilFirst({ queue: queueOf(name), fence, lease, signal }, deps);
    return lockOn(name, fence, lease);
  } catch (error) {
    await lease.revoke();
    throw error;
  }
}

/** Null where anybody holds it or waits for it. */
export async function tryLock({ name, ttl, signal }: Asked, deps: LockDeps): Promise<Lock | null> {
  const lease = await grantLease(ttl, deps, signal);
  try {
    const queue = queueOf(name);
    const fence = await createUnder({ guard: queue, key: `${queue}${lease.id}`, lease }, deps);
    if (fence !== null) return lockOn(name, fence, lease);
    await lease.revoke();
    return null;
  } catch (error) {
    await lease.revoke();
    throw error;
  }
}

const queueOf = (name: string): string => `${checkedKey(`/locks/${name}`)}/`;

function lockOn(name: string, fence: number, lease: Lease): Lock {
  return {
    name,
    fence,
    lost: lease.lost,
    held: () => lease.held(),
    release: () => lease.revoke(),
    [Symbol.asyncDispose]: () => lease.revoke(),
  };
}

/** The revision of our place in the queue. An answer that was lost is asked for: the key carries our lease's number. */
async function enqueue(queue: string, lease: Lease, deps: LockDeps): Promise<number> {
  const key = `${queue}${lease.id}`;
  const created = await createUnder({ guard: key, key, lease }, deps).catch((error: unknown) => {
    if (isCoordError(error, "AnswerLost")) return null;
    throw error;
  });
  if (created !== null) return created;
  const found = await createdAt(key, deps);
  if (found === null) throw coordError("AnswerLost", key);
  return found;
}

interface Creation {
  /** A key, or a folder, that must not exist. */
  readonly guard: string;
  readonly key: string;
  readonly lease: Lease;
  readonly value?: string;
}

/** The revision of the new key; null where the guard exists. */
async function createUnder({ guard, key, lease, value = "" }: Creation, { gateway }: LockDeps): Promise<number | null> {
  const body = {
    compare: [{ ...rangeOf(guard), target: "CREATE", result: "EQUAL", create_revision: "0" }],
    success: [{ request_put: { key: encode(key), value: encode(value), lease: lease.id } }],
  };
  const answer = await gateway.call("/v3/kv/txn", body, { repeatable: false, signal: lease.lost });
  return answer["succeeded"] === true ? revisionOf(answer) : null;
}

async function createdAt(key: string, { gateway }: LockDeps): Promise<number | null> {
  const answer = await gateway.call("/v3/kv/range", { key: encode(key) }, { repeatable: true });
  const found = listOf(answer["kvs"])[0];
  return found === undefined ? null : numberOf(found["create_revision"], "create_revision");
}

interface Turn {
  readonly queue: string;
  readonly fence: number;
  readonly lease: Lease;
  readonly signal: AbortSignal;
}

/** @throws the signal's reason, or InfraError LeaseLost */
async function untilFirst({ queue, fence, lease, signal }: Turn, deps: LockDeps): Promise<void> {
  const either = AbortSignal.any([signal, lease.lost]);
  for (;;) {
    const before = await holderBefore({ queue, fence, lease }, deps, either);
    either.throwIfAborted();
    if (before === null) return;
    await untilGone(before, deps, either);
    either.throwIfAborted();
  }
}

/**
 * The one who stands right before us in the queue: each waits for one, so a release wakes one. Null: we are the first.
 * @throws InfraError LeaseLost where our own place is gone, whoever took it away
 */
async function holderBefore(
  { queue, fence, lease }: Pick<Turn, "queue" | "fence" | "lease">,
  { gateway }: LockDeps,
  signal: AbortSignal,
): Promise<{ readonly key: string; readonly revision: number } | null> {
  const own = encode(`${queue}${lease.id}`);
  const before = {
    ...rangeOf(queue),
    max_create_revision: String(fence - 1),
    sort_order: "DESCEND",
    sort_target: "CREATE",
    limit: "1",
    keys_only: true,
  };
  const body = {
    compare: [{ key: own, target: "CREATE", result: "EQUAL", create_revision: String(fence) }],
    success: [{ request_range: before }],
  };
  const answer = await gateway.call("/v3/kv/txn", body, { repeatable: true, signal });
  if (answer["succeeded"] !== true) throw coordError("LeaseLost", queue);
  const found = listOf(objectOf(listOf(answer["responses"])[0]?.["response_range"])["kvs"])[0];
  return found === undefined ? null : { key: decode(found["key"]).text, revision: revisionOf(answer) };
}

async function untilGone(
  { key, revision }: { readonly key: string; readonly revision: number },
  deps: LockDeps,
  signal: AbortSignal,
): Promise<void> {
  const standing = { key, value: "", revision, version: 1 };
  for await (const set of watchRange(key, { signal, from: { items: [standing], revision } }, deps)) {
    if (set.changes.some((change) => change.kind === "delete")) return;
  }
}

/** Ids of a group are few: an address space of instances, not of requests. */
const MOST_IDS = 1024;

/** The lowest number below `/instances/GROUP/` that nobody's lease holds. @throws InfraError `IdsExhausted` if all are taken */
export async function takeInstanceId(
  group: string,
  { ttl, signal }: Omit<Asked, "name">,
  deps: LockDeps,
): Promise<InstanceId> {
  const folder = `${checkedKey(`/instances/${group}`)}/`;
  const lease = await grantLease(ttl, deps, signal);
  try {
    for (let id = 0; id < MOST_IDS; id += 1) {
      const key = `${folder}${id}`;
      if ((await createUnder({ guard: key, key, lease, value: lease.id }, deps)) !== null) return idOn(id, lease);
    }
    throw coordError("IdsExhausted", `${folder} (${MOST_IDS} of them)`);
  } catch (error) {
    await lease.revoke();
    throw error;
  }
}

function idOn(id: number, lease: Lease): InstanceId {
  return {
    id,
    lost: lease.lost,
    held: () => lease.held(),
    release: () => lease.revoke(),
    [Symbol.asyncDispose]: () => lease.revoke(),
  };
}
