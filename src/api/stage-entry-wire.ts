import { STAGE_STATES } from "../domain/phase.ts";
import { newEntry } from "../domain/status.ts";
import type { Claim, Drift, Outputs, StageEntry } from "../domain/stored.ts";
import { formatInstant } from "../lib/time.ts";
import {
  above0,
  countOf,
  type Fields,
  fieldsOf,
  filled,
  indexesOf,
  instantAt,
  listOf,
  oneOf,
  present,
  some,
  span,
  spanOf,
  textMap,
  textOf,
  textsOf,
  when,
} from "./wire.ts";

/** The paths of a stage entry that are ours; others belong to a newer release. */
export const KNOWN_ENTRY = [
  "name",
  "state",
  "attempts",
  "attemptsBefore",
  "seq",
  "startedAt",
  "finishedAt",
  "since",
  "ran",
  "claim",
  "part",
  "undone",
  "outcome",
  "audience",
  "acked",
  "failures",
  "retryAt",
  "quietUntil",
  "outputs",
  "drift",
  "preset",
  "skipped",
] as const;

export function entryFrom(raw: unknown): StageEntry {
  const fields = fieldsOf(raw);
  const skipped = fieldsOf(fields["skipped"]);
  return {
    ...newEntry(textOf(fields["name"]) ?? ""),
    state: oneOf(fields["state"], STAGE_STATES) ?? "Pending",
    attempts: countOf(fields["attempts"]),
    attemptsBefore: countOf(fields["attemptsBefore"]),
    seq: countOf(fields["seq"]),
    startedAt: instantAt(fields["startedAt"]),
    finishedAt: instantAt(fields["finishedAt"]),
    since: instantAt(fields["since"]),
    ran: spanOf(fields["ran"]),
    claim: claimFrom(fields["claim"]),
    part: textOf(fields["part"]),
    undone: textsOf(fields["undone"]),
    outcome: oneOf(fields["outcome"], ["Unknown"]),
    audience: indexesOf(fields["audience"]),
    acked: indexesOf(fields["acked"]),
    failures: listOf(fields["failures"]).map((item) => {
      const { i, code } = fieldsOf(item);
      return { i: countOf(i), code: textOf(code) ?? "" };
    }),
    retryAt: instantAt(fields["retryAt"]),
    quietUntil: instantAt(fields["quietUntil"]),
    outputs: fields["outputs"] === undefined ? null : (fieldsOf(fields["outputs"]) as Outputs),
    drift: driftFrom(fields["drift"]),
    preset: textMap(fields["preset"]),
    skipped:
      fields["skipped"] === undefined
        ? null
        : { by: textOf(skipped["by"]) ?? "", reason: textOf(skipped["reason"]) ?? "" },
  };
}

function claimFrom(raw: unknown): Claim | null {
  const fields = fieldsOf(raw);
  const at = instantAt(fields["at"]);
  if (at === null) return null;
  return {
    nonce: textOf(fields["nonce"]) ?? "",
    by: textOf(fields["by"]) ?? "",
    at,
    until: instantAt(fields["until"]),
  };
}

function driftFrom(raw: unknown): Drift | null {
  if (raw === undefined) return null;
  const fields = fieldsOf(raw);
  const { before, ours, now } = fieldsOf(fields["digests"]);
  return { keys: textsOf(fields["keys"]), digests: { before: textOf(before), ours: textOf(ours), now: textOf(now) } };
}

export function entryTo(entry: StageEntry): Fields {
  const { claim, drift } = entry;
  return {
    name: entry.name,
    state: entry.state,
    attempts: above0(entry.attempts),
    attemptsBefore: above0(entry.attemptsBefore),
    seq: above0(entry.seq),
    startedAt: when(entry.startedAt),
    finishedAt: when(entry.finishedAt),
    since: when(entry.since),
    ran: span(entry.ran),
    claim: claim === null ? undefined : claimTo(claim),
    part: present(entry.part),
    undone: some(entry.undone),
    outcome: present(entry.outcome),
    audience: some(entry.audience),
    acked: some(entry.acked),
    failures: some(entry.failures),
    retryAt: when(entry.retryAt),
    quietUntil: when(entry.quietUntil),
    outputs: present(entry.outputs),
    drift: drift === null ? undefined : driftTo(drift),
    preset: filled(entry.preset),
    skipped: present(entry.skipped),
  };
}

const claimTo = ({ nonce, by, at, until }: Claim): Fields => ({
  nonce,
  by,
  at: formatInstant(at),
  ...(until === null ? {} : { until: formatInstant(until) }),
});

const driftTo = ({ keys, digests }: Drift): Fields => ({
  keys,
  digests: Object.fromEntries(Object.entries(digests).filter(([, digest]) => digest !== null)),
});
