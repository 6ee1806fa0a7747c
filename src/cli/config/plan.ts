import { type ConfigKey, formatKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import { sameJson } from "../../infra/config/layers.ts";
import { type Centre, type Committed, type KeyValue, MOST_OPERATIONS } from "../../infra/coord/coord.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import type { Context } from "./context.ts";
import { CliFailure, EXIT, STOPPED } from "./failure.ts";
import { progress } from "./progress.ts";

export interface Planned {
  readonly key: ConfigKey;
  readonly value: Json;
  readonly action: "create" | "change" | "same";
  /** Revision that it is written over; 0 where nothing stands. */
  readonly over: number;
  readonly result?: "written" | "same" | "changed meanwhile" | "not written";
  readonly revision?: number;
}

/** What would become of each key. */
export function planOf(
  values: readonly { readonly key: ConfigKey; readonly value: Json }[],
  there: ReadonlyMap<string, KeyValue>,
): readonly Planned[] {
  return values.map(({ key, value }) => {
    const found = there.get(formatKey(key));
    if (found === undefined) return { key, value, action: "create", over: 0 };
    const read = readJson(found.value);
    const same = read.ok && sameJson(read.document.value, value);
    return { key, value, action: same ? "same" : "change", over: found.revision };
  });
}

/** etcd refuses a request of more than 1.5 MiB; the frame and base64 take a part of it. */
const MOST_BYTES = 768 * 1024;

/** One transaction where it fits, so that all of it comes into force at once; else batches, one after the other. */
export async function writePlan(
  context: Context,
  plan: readonly Planned[],
  atomic: boolean,
): Promise<readonly Planned[]> {
  const changes = plan.filter(({ action }) => action !== "same");
  const batches = batchesOf(changes);
  if (atomic && batches.length > 1) {
    throw new CliFailure(
      EXIT.usage,
      `--atomic: ${changes.length} keys do not fit into one transaction (${MOST_OPERATIONS} keys, ${MOST_BYTES / 1024} KiB); nothing was written. Import a part, or leave --atomic out`,
    );
  }
  const centre = await context.centre();
  const bar = progress(context.seams, "writing", changes.length);
  const done = new Map<string, Pick<Planned, "result" | "revision">>();
  for (const batch of batches) {
    const answer = await commitBatch(context, centre, { batch, written: done.size });
    for (const { key, over } of batch) {
      const name = formatKey(key);
      if (answer.ok) done.set(name, { result: "written", revision: answer.revision });
      else
        done.set(name, { result: (answer.found[name]?.revision ?? 0) === over ? "not written" : "changed meanwhile" });
    }
    bar.step(done.size);
    if (!answer.ok) break;
  }
  bar.end();
  return plan.map((one) => ({
    ...one,
    ...(one.action === "same" ? { result: "same" } : (done.get(formatKey(one.key)) ?? { result: "not written" })),
  }));
}

/** Whoever stops it, or loses the answer, is told what was written for certain and what may have been. */
async function commitBatch(
  { seams }: Context,
  centre: Centre,
  { batch, written }: { readonly batch: readonly Planned[]; readonly written: number },
): Promise<Committed> {
  const transaction = {
    expect: Object.fromEntries(batch.map(({ key, over }) => [formatKey(key), over])),
    put: batch.map(({ key, value }) => ({ key: formatKey(key), value: JSON.stringify(value) })),
    delete: [],
  };
  try {
    return await centre.commit(transaction, seams.signal);
  } catch (error) {
    const isLost = error instanceof InfraError && error.code === "AnswerLost";
    if (!seams.signal.aborted && !isLost) throw error;
    throw new CliFailure(
      seams.signal.aborted ? STOPPED : EXIT.unreachable,
      `${seams.signal.aborted ? "stopped" : "the answer was lost"}: ${written} key(s) were written, ${batch.length} more may have been; see: config-cli diff`,
    );
  }
}

function batchesOf(changes: readonly Planned[]): readonly (readonly Planned[])[] {
  const batches: Planned[][] = [];
  let bytes = 0;
  for (const one of changes) {
    const size = Buffer.byteLength(JSON.stringify(one.value));
    const last = batches.at(-1);
    if (last === undefined || last.length >= MOST_OPERATIONS || bytes + size > MOST_BYTES) {
      batches.push([one]);
      bytes = size;
    } else {
      last.push(one);
      bytes += size;
    }
  }
  return batches;
}
