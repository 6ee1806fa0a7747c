import fc from "fast-check";
import { FAILURE_TYPES } from "../../src/lib/failures.ts";
import { type Fence, formatFence } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import { instantOf, millisOf } from "../../src/lib/time.ts";
import { PHASES, STAGE_STATES } from "../../src/domain/phase.ts";
import { WAITING_REASONS } from "../../src/domain/reasons.ts";
import type {
  Answer,
  Condition,
  Current,
  Previous,
  StageEntry,
  Status,
  TenantStatus,
} from "../../src/domain/stored.ts";
import { wellFormedText } from "./any-text.ts";

// Everything that a status can say, within the bounds of its schema: what is stored and read again must be the same.

const text = (max: number): fc.Arbitrary<string> => wellFormedText(Math.min(max, 24));
const name = fc.stringMatching(/^[a-z]([-a-z0-9]{0,10}[a-z0-9])?$/);
const instant = fc.integer({ min: 0, max: 4_102_444_800_000 }).map(instantOf);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null });
const span = fc.integer({ min: 0, max: 366 * 86_400_000 }).map(millisOf);
const count = fc.integer({ min: 0, max: 1_000_000 });
const seq = fc.integer({ min: 0, max: 99_999_999 });
const epoch = fc.integer({ min: 0, max: 9_999_999_999 });
const counted = fc.integer({ min: 1, max: 2_147_483_647 });
const indexes = fc.array(fc.integer({ min: 0, max: 4095 }), { maxLength: 4 });
/** As JSON has it: it knows no negative zero. */
const json = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
const map = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<Readonly<Record<string, T>>> =>
  fc.dictionary(text(24), value, { maxKeys: 3, noNullPrototype: true });

const placement = {
  deployUnit: fc.record({ id: counted, name: text(63), version: counted }),
  endpoints: fc.array(fc.record({ key: text(63), host: text(253), port: fc.integer({ min: 1, max: 65_535 }) }), {
    maxLength: 3,
  }),
  parameters: map(text(24)),
  default: fc.boolean(),
  planVersion: counted,
  task: maybe(fc.record({ name: text(253), uid: text(64) })),
};
const previous: fc.Arbitrary<Previous> = fc.record(placement);

const claim = fc.record({ nonce: text(64), by: text(128), at: instant, until: maybe(instant) });
const drift = fc.record({
  keys: fc.array(text(256), { maxLength: 3 }),
  digests: fc.record({ before: maybe(text(80)), ours: maybe(text(80)), now: maybe(text(80)) }),
});
const entry: fc.Arbitrary<StageEntry> = fc.record({
  name,
  state: fc.constantFrom(...STAGE_STATES),
  attempts: count,
  attemptsBefore: count,
  seq,
  startedAt: maybe(instant),
  finishedAt: maybe(instant),
  since: maybe(instant),
  ran: span,
  claim: maybe(claim),
  part: maybe(text(40)),
  undone: fc.array(text(40), { maxLength: 3 }),
  outcome: fc.constantFrom("Unknown" as const, null),
  audience: indexes,
  acked: indexes,
  failures: fc.array(fc.record({ i: fc.integer({ min: 0, max: 4095 }), code: text(40) }), { maxLength: 3 }),
  retryAt: maybe(instant),
  quietUntil: maybe(instant),
  outputs: maybe(map(json)),
  drift: maybe(drift),
  preset: map(text(16)),
  skipped: maybe(fc.record({ by: text(128), reason: text(256) })),
});

const answer: fc.Arbitrary<Answer> = fc.record({
  value: text(128),
  result: fc.constantFrom("Accepted", "Done", "Rejected", "Superseded"),
  reason: maybe(text(256)),
  at: instant,
});
const condition: fc.Arbitrary<Condition> = fc.record({
  type: text(128),
  status: fc.constantFrom("True", "False", "Unknown"),
  reason: text(64),
  message: text(512),
  lastTransitionTime: instant,
});
const retry = fc.record({
  maxAttempts: fc.integer({ min: 1, max: 20 }),
  backoff: fc.record({ initial: span, factor: fc.double({ min: 1, max: 10, noNaN: true }), max: span }),
});

const whole: fc.Arbitrary<Status> = fc.record({
  observedGeneration: fc.integer({ min: 0, max: 2_147_483_647 }),
  phase: fc.constantFrom(...PHASES),
  direction: fc.constantFrom("Forward", "Back"),
  protocolVersion: fc.constant(1),
  startedAt: maybe(instant),
  finishedAt: maybe(instant),
  deadline: maybe(instant),
  plan: maybe(
    fc.record({
      digest: text(80),
      frozenAt: instant,
      previous: maybe(previous),
      effective: fc.record({ timeout: span, attemptTimeout: span, instanceTimeout: span, retry }),
      unfenced: fc.array(text(40), { maxLength: 3 }),
    }),
  ),
  preview: fc.constant(null),
  epoch,
  seq,
  instances: fc.array(text(320), { maxLength: 4 }),
  stages: fc.uniqueArray(entry, { maxLength: 4, selector: (one) => one.name }),
  waiting: maybe(
    fc.record({
      reason: fc.constantFrom(...WAITING_REASONS),
      message: text(256),
      since: instant,
      until: maybe(instant),
      unblock: text(512),
    }),
  ),
  commands: fc.record(
    { paused: answer, rollback: answer, cancel: answer, retry: answer, approvals: answer, skip: answer },
    { requiredKeys: [], noNullPrototype: true },
  ),
  retried: fc.integer({ min: 0, max: 2_147_483_647 }),
  pausedFor: span,
  abandoned: maybe(fc.record({ by: text(128), reason: text(256), at: instant })),
  failure: maybe(
    fc.record({
      type: fc.constantFrom(...FAILURE_TYPES),
      code: text(40),
      stage: maybe(text(40)),
      message: text(512),
      retryable: fc.boolean(),
      at: instant,
    }),
  ),
  turnedBackBy: fc.constantFrom("Rollback" as const, "Cancel" as const, "Deletion" as const, "Failure" as const, null),
  issues: fc.array(
    fc.record({
      severity: fc.constantFrom("error" as const, "warning" as const),
      path: text(128),
      value: text(128),
      message: text(256),
    }),
    { maxLength: 3 },
  ),
  history: fc.array(
    fc.record({
      from: fc.constantFrom(...PHASES, null),
      to: fc.constantFrom(...PHASES),
      at: instant,
      reason: text(64),
    }),
    { maxLength: 3 },
  ),
  eventSequence: count,
  conditions: fc.array(condition, { maxLength: 3 }),
});

/** Warnings are not kept once the spec is valid: the condition says them. */
export const statuses: fc.Arbitrary<Status> = whole.map((status) =>
  status.phase === "ValidationFailed" ? status : { ...status, issues: [] },
);

export const fences: fc.Arbitrary<Fence> = fc.tuple(epoch, seq).map(([of, at]) => formatFence(of, at));

const current: fc.Arbitrary<Current> = fc.record({ ...placement, since: instant, restorable: fc.boolean() });
export const tenantStatuses: fc.Arbitrary<TenantStatus> = fc.record({
  current: maybe(current),
  unknown: maybe(fc.record({ since: instant, by: text(128) })),
  diverged: maybe(fc.record({ reason: text(256), since: instant })),
  holder: maybe(
    fc.record({
      task: text(253),
      uid: text(64),
      unit: maybe(text(253)),
      direction: fc.constantFrom("Forward" as const, "Back" as const),
      since: instant,
    }),
  ),
  epoch,
  fence: fences,
  executions: fc.array(
    fc.record({ identity: text(64), uid: text(64), outcome: fc.constantFrom(...PHASES), at: instant }),
    { maxLength: 3 },
  ),
  released: maybe(answer),
});

const JUNK: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  "",
  "x",
  "~",
  "2026-06-01T12:00:00Z",
  "9".repeat(40),
  [],
  [null],
  {},
  { a: 1 },
  [[]],
];

/** `value` with a few places, anywhere, holding something else or nothing. */
export const poisoned = (value: Json): fc.Arbitrary<Json> =>
  fc
    .array(fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(...JUNK), fc.constant(undefined))), {
      minLength: 1,
      maxLength: 3,
    })
    .map((cuts) =>
      cuts.reduce<Json>((poor, [at, junk]) => replacedAt(poor, at % Math.max(1, sizeOf(poor)), junk), value),
    );

const entriesOf = (value: Json): readonly (readonly [string, Json])[] =>
  typeof value === "object" && value !== null ? Object.entries(value) : [];
const sizeOf = (value: Json): number => entriesOf(value).reduce((sum, [, item]) => sum + 1 + sizeOf(item), 0);

/** The n-th place below `value`, parents first. */
function replacedAt(value: Json, n: number, junk: Json | undefined): Json {
  let left = n;
  const made: (readonly [string, Json])[] = [];
  for (const [key, item] of entriesOf(value)) {
    const size = 1 + sizeOf(item);
    if (left === 0 && junk !== undefined) made.push([key, junk]);
    else if (left !== 0) made.push([key, left > 0 && left < size ? replacedAt(item, left - 1, junk) : item]);
    left -= size;
  }
  return Array.isArray(value) ? made.map(([, item]) => item) : Object.fromEntries(made);
}
