import { readFile } from "node:fs/promises";
import { localClock } from "../../deployment/local/clock.ts";
import { PollTimeoutError, until } from "../../deployment/local/poll.ts";
import { SWITCH_TASKS } from "../../src/api/group.ts";
import { isTerminal, PHASES } from "../../src/domain/phase.ts";
import { KubeError } from "../../src/kube/errors.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { FAILURES } from "../../src/lib/failures.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { Json } from "../../src/lib/json.ts";
import { Slots } from "../../src/lib/slots.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { create } from "./fault-walk.ts";
import { aSwitch, type Document, NOTIFY, SOAK, type Space, type TestOperator, type TestStand } from "./stand.ts";

/** A number in [0, 1), the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What nobody would write, and somebody will. */
const HOSTILE: readonly Json[] = [
  null,
  true,
  -1,
  0,
  2 ** 53,
  1e308,
  "",
  " ",
  "..",
  "../../etc/passwd",
  "\u0000",
  "\u001b[2J",
  "\u202egnp.exe",
  "${tenantId}",
  "${target.deployUnit.name}${",
  "${constructor}",
  "${__proto__.x}",
  "__proto__",
  "constructor",
  "%2e%2e/",
  "http://169.254.169.254/latest",
  "x".repeat(300),
  "y".repeat(5000),
  "5ms",
  "999999h",
  "-1s",
  "1e9s",
  [],
  {},
  [null],
  { __typename: "x", constructor: { prototype: { polluted: true } } },
  Array.from({ length: 80 }, (_, i) => ({ name: `s${i}` })),
  JSON.parse('{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":{"j":1}}}}}}}}}}') as Json,
];

type Fields = Record<string, Json>;
/** The same, where a text belongs: what a schema lets through. */
const TEXTS = HOSTILE.filter((value) => typeof value === "string" && value.length < 100);

/** The document with one or two places changed at random: a value replaced, a field added, taken away, or doubled elsewhere. */
export function poisoned(document: Document, random: () => number): Document {
  const copy = structuredClone(document) as Fields;
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const changes = 1 + Math.floor(random() * 2);
  for (let i = 0; i < changes; i += 1) spoil(copy["spec"], pick, random);
  return copy;
}

function spoil(value: Json | undefined, pick: <T>(items: readonly T[]) => T, random: () => number): void {
  const holds = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (value === undefined || holds.length === 0) return;
  const inside = value as Fields;
  const key = pick(holds);
  const child = inside[key];
  if (typeof child === "object" && child !== null && random() < 0.7) {
    spoil(child, pick, random);
    return;
  }
  const way = random();
  if (typeof child === "string" && way < 0.5) inside[key] = pick(TEXTS);
  else if (typeof child === "number" && way < 0.5) inside[key] = Math.floor(random() * 2 ** (1 + random() * 40));
  else if (way < 0.7) inside[key] = pick(HOSTILE);
  else if (way < 0.85) delete inside[key];
  else inside[pick(["extra", "control", "http", "redis", "wait", "approval", "onFailure", "dryRun"])] = pick(HOSTILE);
}

export interface PoisonReport {
  readonly accepted: number;
  readonly refused: number;
  /** Healthy tasks that completed. */
  readonly healthy: number;
  /** Longest time of a healthy one, from its creation on. */
  readonly slowest: number;
  /** Error lines of the log that name no failure of the catalogue and no refusal of the API server. */
  readonly unclassified: readonly string[];
  readonly alive: boolean;
}

export interface PoisonAbout {
  readonly count: number;
  readonly seed: number;
  readonly healthy: number;
}

const STATUS: Json = {
  protocolVersion: 1,
  observedGeneration: 1,
  phase: "Running",
  direction: "Forward",
  epoch: 7,
  seq: 3,
  stages: [
    {
      name: "notify",
      state: "Running",
      seq: 3,
      attempts: 1,
      claim: { nonce: "n", by: "x", at: "2026-11-21T00:00:00Z" },
    },
  ],
  waiting: { reason: "Diverged", message: "x", since: "2026-11-21T00:00:00Z" },
};
const POINT = { point: { class: "api/create", subject: null } } as const;

/** Creates hostile tasks beside healthy ones and sees what becomes of them. */
export async function poison(
  stand: TestStand,
  { space, operator }: { readonly space: Space; readonly operator: TestOperator },
  { count, seed, healthy }: PoisonAbout,
): Promise<PoisonReport> {
  const random = seeded(seed);
  const slots = new Slots(16, count + 1);
  let [accepted, refused] = [0, 0];
  const where = { ...stand, namespace: space.namespace };
  const never = new AbortController().signal;
  /** By hand, over whatever stands there: a status that no operator wrote, as far as the API server takes it. */
  const overwrite = async (made: KubeObject): Promise<void> => {
    const status = poisoned({ spec: STATUS }, random)["spec"];
    await space.client.replaceStatus(SWITCH_TASKS, { ...made, status }, POINT).catch((error: unknown) => {
      if (!(error instanceof KubeError)) throw error;
    });
  };
  /** At rest or between two attempts: what is created faster than the operator gets through stands before the healthy ones, not beside. */
  const lookedAt = (name: string): Promise<unknown> => {
    const seen = (): boolean => {
      const last = space.versions(name).at(-1) ?? {};
      const phase = at(last, "/status/phase");
      const waits = at(last, "/status/waiting") !== undefined || at(last, "/status/stages/0/retryAt") !== undefined;
      return waits || PHASES.some((known) => known === phase && isTerminal(known));
    };
    const patience = { clock: localClock, timeout: seconds(10), every: millisOf(50), what: `${name} to be looked at` };
    return until(seen, patience).catch((error: unknown) => {
      if (!(error instanceof PollTimeoutError)) throw error;
    });
  };
  const hostile = async (i: number): Promise<void> => {
    const stages = [NOTIFY, SOAK("1s"), { name: "gate", approval: {} }].slice(0, 1 + (i % 3));
    const manifest = poisoned(aSwitch(where, { name: `p${i}`, tenantId: `p${i}`, stages }), random) as unknown as {
      readonly spec?: Json;
    };
    const leave = await slots.take(never);
    try {
      const made = await space.client.create(
        SWITCH_TASKS,
        { metadata: { namespace: space.namespace, name: `p${i}` }, spec: manifest.spec ?? null },
        POINT,
      );
      accepted += 1;
      if (accepted % 4 === 0) await overwrite(made);
      await lookedAt(made.metadata.name);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      refused += 1;
    } finally {
      leave();
    }
  };
  const times: number[] = [];
  const well = async (i: number): Promise<void> => {
    const since = localClock.monotonic();
    await create(space, aSwitch(where, { name: `healthy-${i}`, tenantId: `healthy-${i}`, stages: [NOTIFY] }));
    await space.over(`healthy-${i}`, "Completed", seconds(50));
    times.push(localClock.monotonic() - since);
  };
  const every = Math.max(1, Math.floor(count / healthy));
  const all: Promise<void>[] = [];
  const late: unknown[] = [];
  for (let i = 0; i < count; i += 1) {
    all.push(hostile(i));
    if (i % every === 0) all.push(well(i / every).catch((error: unknown) => void late.push(error)));
    if (i % 64 === 0) await Promise.all(all.splice(0, Math.max(0, all.length - 512)));
  }
  await Promise.all(all);
  if (late.length > 0)
    throw new AggregateError(late, `${late.length} healthy tasks did not complete: ${String(late[0])}`);
  return {
    accepted,
    refused,
    healthy: times.length,
    slowest: Math.max(...times),
    unclassified: await unclassified(operator.log),
    alive: isAlive(operator.pid),
  };
}

interface Line {
  readonly level?: string;
  readonly error?: { readonly type?: string; readonly code?: string };
}

/** Error lines whose cause is in no catalogue: each is a bug. */
export async function unclassified(log: string): Promise<readonly string[]> {
  const lines = (await readFile(log, "utf8")).split("\n").filter((line) => line !== "");
  return lines.filter((line) => {
    if (!line.startsWith("{")) return true;
    const { level, error } = JSON.parse(line) as Line;
    if (level !== "error" || error === undefined) return false;
    return error.type !== "KubeError" && !(error.code !== undefined && Object.hasOwn(FAILURES, error.code));
  });
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
