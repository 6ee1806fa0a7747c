import type { Space, TestStand } from "./stand.ts";
import { doubled, effectsAt } from "./stand-read.ts";

/** What a run left behind, without what differs from run to run: times, attempts, seq, epoch, fence, nonce, uids. */
export interface Left {
  readonly status: unknown;
  readonly tenant: unknown;
  readonly redis: unknown;
  readonly receivers: unknown;
  /** Effects in force once, per receiver in the order of its log. */
  readonly inForce: readonly string[];
  readonly doubled: readonly string[];
}

const VOLATILE = new Set([
  "at",
  "since",
  "startedAt",
  "finishedAt",
  "frozenAt",
  "appliedAt",
  "lastTransitionTime",
  "pausedFor",
  "attempts",
  "attemptsBefore",
  "seq",
  "epoch",
  "fence",
  "nonce",
  "uid",
  "opId",
  "last",
  "published",
  "undo",
]);

/** Compares across namespaces: whatever holds this one's name holds `NS` instead. */
export async function leftBy(stand: TestStand, space: Space, name: string): Promise<Left> {
  const { namespace } = space;
  const tenant = `${namespace}/acme`;
  const keys = await stand.redis.keys(`*${namespace}:acme*`);
  const redis = await Promise.all(keys.toSorted().map(async (key) => [key, await stand.redis.hgetall(key)] as const));
  const effects = await effectsAt([stand.blue, stand.green], tenant);
  const left = {
    status: (await space.task(name))["status"],
    tenant: (await space.tenant("acme"))["status"],
    redis: Object.fromEntries(redis),
    receivers: [await stand.blue.state(tenant), await stand.green.state(tenant)],
  };
  const plain = JSON.parse(
    JSON.stringify(left, (key, value: unknown) => (VOLATILE.has(key) ? undefined : quiet(value))).replaceAll(
      namespace,
      "NS",
    ),
  ) as Omit<Left, "inForce" | "doubled">;
  const inForce = effects
    .filter(({ verdict }) => verdict === "applied")
    .map(({ unit, version }) => `${unit} ${version}`);
  return { ...plain, inForce, doubled: doubled(effects) };
}

/** Messages that count attempts. */
const quiet = (value: unknown): unknown =>
  typeof value === "string" ? value.replace(/^attempt \d+(?:; )?/, "") || undefined : value;
