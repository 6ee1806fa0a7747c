import { fault } from "../../src/lib/failures.ts";
import { type Fence, NO_FENCE } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import { deepEqual } from "../../src/lib/deep-equal.ts";
import type { Act, Found } from "../../src/domain/task.ts";
import type { CompanionRecord, Message, Receiver, Service, Store, Verdict } from "./world.ts";

// What is at the other end of an act, as stages.md says it: services that check fence, base and operation (src/receiver/verdict.ts) and
// stores that keep a record beside the data (src/infra/cache/fenced-scripts.ts).

export const aService = (value: Json, fenced = true): Service => ({
  is: "service",
  fenced,
  seen: NO_FENCE,
  opId: null,
  value,
});
export const aStore = (value: Json): Store => ({ is: "store", value, record: null });

export interface Received {
  readonly receiver: Receiver;
  readonly verdict: Verdict;
}

/** The receiver after the message came, and what it answers. */
export const receive = (receiver: Receiver, message: Message): Received =>
  receiver.is === "service"
    ? serve(receiver, message)
    : message.does === "undo"
      ? restore(receiver, message)
      : write(receiver, message);

/** Seen above the fence that comes; above its base and below it; equal with another operation (protocol.md, The three steps). */
function refusal(seen: Fence, last: string | null, { fence, base, opId }: Message): "fenced" | "diverged" | null {
  if (seen > fence) return "fenced";
  if (seen > base && seen < fence) return "diverged";
  return seen === fence && last !== opId ? "diverged" : null;
}

function serve(service: Service, message: Message): Received {
  const { fence, opId, value } = message;
  if (!service.fenced) return { receiver: { ...service, opId, value }, verdict: "applied" };
  const refused = refusal(service.seen, service.opId, message);
  if (refused !== null) return { receiver: service, verdict: refused };
  if (service.opId === opId) return { receiver: { ...service, seen: fence }, verdict: "again" };
  return { receiver: { ...service, seen: fence, opId, value }, verdict: "applied" };
}

function write(store: Store, message: Message): Received {
  const { fence, opId, value } = message;
  const old = store.record;
  const refused = old === null ? null : refusal(old.seen, old.last, message);
  if (refused !== null) return { receiver: store, verdict: refused };
  if (old?.opId === opId)
    return { receiver: { ...store, record: { ...old, seen: fence, last: opId } }, verdict: "again" };
  const record: CompanionRecord = {
    seen: fence,
    last: opId,
    opId,
    before: store.value,
    written: value,
    replaced: old === null ? null : flat(old),
    undo: null,
  };
  return { receiver: { ...store, value, record }, verdict: "applied" };
}

/** Records nest one level. */
function flat(record: CompanionRecord): CompanionRecord["replaced"] {
  const { replaced: _older, ...own } = record;
  return own;
}

/** The record of an undo that found nothing, or took everything back. */
const EMPTY: CompanionRecord = {
  seen: NO_FENCE,
  last: "",
  opId: null,
  before: null,
  written: null,
  replaced: null,
  undo: null,
};

function restore(store: Store, message: Message): Received {
  const old = store.record ?? EMPTY;
  const refused = store.record === null ? null : refusal(old.seen, old.last, message);
  if (refused !== null) return { receiver: store, verdict: refused };
  const claimed = { ...old, seen: message.fence, last: message.opId };
  const undo = `${message.uid} ${message.opId}`;
  if (old.undo === undo) return { receiver: { ...store, record: claimed }, verdict: "again" };
  if (old.opId !== message.undoes.opId) {
    const bare = old.opId === null && old.undo === null;
    const lost = message.undoes.settled || (bare && deepEqual(store.value, message.value));
    if (lost) return { receiver: { ...store, record: claimed }, verdict: "conflict" };
    return { receiver: { ...store, record: { ...claimed, undo } }, verdict: "applied" };
  }
  const left = { ...EMPTY, ...old.replaced, seen: message.fence, last: message.opId, undo };
  return { receiver: { is: "store", value: old.before, record: left }, verdict: "applied" };
}

/** What receivers answer when they are asked whose operation is in force. */
export function probe(act: Act, receivers: readonly Receiver[], value: Json): Found {
  const found = receivers.map((receiver) => whose(act, receiver, value));
  if (found.includes("foreign"))
    return { is: "foreign", fault: fault("ForeignOperation", { endpoint: act.endpoint ?? "", address: "?" }) };
  return found.includes("absent") ? { is: "not-in-force" } : { is: "in-force", outputs: {} };
}

function whose(act: Act, receiver: Receiver, value: Json): "ours" | "foreign" | "absent" {
  if (receiver.is === "service") {
    if (receiver.opId === act.opId) return "ours";
    return receiver.fenced && receiver.seen > act.base ? "foreign" : "absent";
  }
  const { record } = receiver;
  if (record?.opId === act.opId) return deepEqual(receiver.value, value) ? "ours" : "foreign";
  if ((record?.seen ?? NO_FENCE) > act.base) return "foreign";
  const bare = record === null || (record.opId === null && record.undo === null);
  return bare && deepEqual(receiver.value, value) ? "foreign" : "absent";
}
