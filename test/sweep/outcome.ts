import type { Snapshot } from "../history/recording.ts";
import type { SweepWorld } from "../support/sweep-world.ts";

/** What a run left behind, without what differs from run to run: times, attempts, seq, epoch, fence, nonce, uids. */
export type Left = Readonly<Record<string, string>>;

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
  "eventSequence",
  "seq",
  "epoch",
  "fence",
  "nonce",
  "uid",
  "opId",
  "last",
  "published",
  "undo",
  "expiry",
  "identity",
]);

/** The plan's digest holds the endpoints' ports only, which all runs of a world share. */
export async function leftBy(world: SweepWorld, namespace: string): Promise<Left> {
  const { tasks, tenants } = world.record.of(namespace);
  const task = tasks.findLast(({ object }) => object.metadata.name === TASK)?.object;
  const tenant = tenants.findLast(({ object }) => object.metadata.name === TENANT)?.object;
  const raw = {
    status: task?.["status"],
    labels: task?.metadata.labels,
    finalizers: task?.metadata.finalizers,
    tenant: tenant?.["status"],
    redis: await redisOf(world, namespace, (key) => key),
    receivers: await receiversOf(world, namespace, ["blue", "green", "ledger"]),
  };
  const left: Record<string, string> = {};
  flatten(JSON.parse(JSON.stringify(raw).replaceAll(namespace, "NS")) as unknown, "", left);
  return left;
}

export const TASK = "acme-green";
export const TENANT = "acme";

/** Paths → values; what stands in Redis as JSON is looked into. */
function flatten(value: unknown, path: string, left: Record<string, string>): void {
  if (typeof value === "string" && /^[{[]/.test(value)) {
    flatten(JSON.parse(value), path, left);
    return;
  }
  if (typeof value !== "object" || value === null) {
    const plain = typeof value === "string" ? value.replace(/^attempt \d+(?:; )?/, "") : JSON.stringify(value);
    if (plain !== undefined && plain !== "" && plain !== "null") left[path] = plain;
    return;
  }
  for (const [key, item] of Object.entries(value)) if (!VOLATILE.has(key)) flatten(item, `${path}/${key}`, left);
}

async function redisOf(
  { redis }: SweepWorld,
  namespace: string,
  wanted: (key: string) => string | null,
): Promise<Readonly<Record<string, unknown>>> {
  const keys = (await redis.keys(`*${namespace}:*`)).toSorted();
  const found = await Promise.all(
    keys.map(async (key) => {
      const kind = await redis.type(key);
      const value = kind === "hash" ? await redis.hgetall(key) : await redis.get(key);
      return [wanted(key), { value, expires: (await redis.pttl(key)) >= 0 }] as const;
    }),
  );
  return Object.fromEntries(found.filter(([key]) => key !== null));
}

const receiversOf = async (
  { receivers }: SweepWorld,
  namespace: string,
  names: readonly (keyof SweepWorld["receivers"])[],
): Promise<Readonly<Record<string, unknown>>> =>
  Object.fromEntries(
    await Promise.all(
      names.map(async (name) => [name, await receivers[name].state(`${namespace}/${TENANT}`)] as const),
    ),
  );

/** Data as users of stores and receivers see it, byte for byte: no fences, no records. Green had nothing before and is told of what was. */
export async function snapshotOf(world: SweepWorld, namespace: string): Promise<Snapshot> {
  const data = await redisOf(world, namespace, (key) => (key.startsWith("turnout:") ? null : key));
  const states = Object.entries(await receiversOf(world, namespace, ["blue", "ledger"])).map(([name, state]) => {
    const { deployUnit, version } = (state ?? {}) as Readonly<Record<string, unknown>>;
    return [name, { deployUnit, version }] as const;
  });
  const all = [...Object.entries(data), ...states];
  return Object.fromEntries(all.map(([place, value]) => [place, JSON.stringify(value)]));
}

/** Receivers that were told anything but the previous configuration; nobody, once a rollback is over. */
export async function stillAhead(world: SweepWorld, namespace: string): Promise<readonly string[]> {
  const states = await receiversOf(world, namespace, ["blue", "green", "ledger"]);
  return Object.entries(states).flatMap(([name, state]) => {
    const { version } = (state ?? { version: 41 }) as { readonly version?: unknown };
    return version === 41 ? [] : [`${name} serves version ${JSON.stringify(version)}`];
  });
}

/** `path: wanted → found`, one line for each that differs. */
export function differences(
  wanted: Readonly<Record<string, string>>,
  found: Readonly<Record<string, string>>,
): readonly string[] {
  const paths = [...new Set([...Object.keys(wanted), ...Object.keys(found)])].toSorted();
  return paths.flatMap((path) =>
    wanted[path] === found[path] ? [] : [`${path}: ${wanted[path] ?? "nothing"} → ${found[path] ?? "nothing"}`],
  );
}
