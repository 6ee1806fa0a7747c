import type { JsonObject } from "../../lib/json.ts";
import {
  type Centre,
  type Committed,
  type KeyValue,
  type Listing,
  MOST_OPERATIONS,
  type Transaction,
} from "./coord.ts";
import { coordError, isCoordError } from "./etcd-failures.ts";
import type { Gateway } from "./etcd-gateway.ts";
import { watchRange, type WatchDeps } from "./etcd-watch.ts";
import {
  checkedKey,
  checkedRange,
  encode,
  keyValueOf,
  listOf,
  objectOf,
  rangeOf,
  revisionOf,
  textOf,
} from "./etcd-wire.ts";

/** Keys of one page: with the largest values that etcd takes, half of what one answer may hold. */
const PAGE = 16;
/** A folder of configuration; more is a folder that was never meant to be listed. */
const MOST_KEYS = 20_000;

export function openCentre(gateway: Gateway, watching: Omit<WatchDeps, "gateway" | "list">): Centre {
  const list = (prefix: string, signal?: AbortSignal): Promise<Listing> => listRange(gateway, prefix, signal);
  const commit = (transaction: Transaction, signal?: AbortSignal): Promise<Committed> =>
    commitOnce(gateway, transaction, signal);
  return {
    list,
    commit,
    get: (key, signal) => getOne(gateway, { key }, signal),
    getAt: (key, revision, signal) => getOne(gateway, { key, revision }, signal),
    async put(key, value, signal) {
      const body = { key: encode(checkedKey(key)), value: encode(value) };
      // Sent twice it says the same, but may overwrite what another wrote in between: not repeated.
      return revisionOf(await gateway.call("/v3/kv/put", body, { repeatable: false, signal }));
    },
    async delete(key, signal) {
      const answer = await gateway.call(
        "/v3/kv/deleterange",
        { key: encode(checkedKey(key)) },
        { repeatable: false, signal },
      );
      return (answer["deleted"] ?? "0") !== "0";
    },
    compareAndSet: (key, expected, value, signal) =>
      commit(
        {
          expect: { [key]: expected },
          put: value === null ? [] : [{ key, value }],
          delete: value === null ? [key] : [],
        },
        signal,
      ),
    watch: (range, options) => watchRange(checkedRange(range), options, { ...watching, gateway, list }),
  };
}

interface One {
  readonly key: string;
  readonly revision?: number;
}

async function getOne(gateway: Gateway, { key, revision }: One, signal?: AbortSignal): Promise<KeyValue | null> {
  const body = { key: encode(checkedKey(key)), ...(revision === undefined ? {} : { revision: String(revision) }) };
  const answer = await gateway.call("/v3/kv/range", body, { repeatable: true, signal });
  const found = listOf(answer["kvs"])[0];
  return found === undefined ? null : keyValueOf(found);
}

/** Pages of one revision; begun anew where that revision is compacted away meanwhile. */
async function listRange(gateway: Gateway, prefix: string, signal?: AbortSignal): Promise<Listing> {
  checkedRange(prefix);
  for (let round = 0; ; round += 1) {
    try {
      return await listPages(gateway, prefix, signal);
    } catch (error) {
      if (round >= 3 || !isCoordError(error, "Compacted")) throw error;
    }
  }
}

async function listPages(gateway: Gateway, prefix: string, signal?: AbortSignal): Promise<Listing> {
  const { key: first = "", range_end: end } = rangeOf(prefix);
  const items: KeyValue[] = [];
  let from = first;
  let revision: number | null = null;
  for (;;) {
    const body: JsonObject = {
      key: from,
      ...(end === undefined ? {} : { range_end: end }),
      limit: String(PAGE),
      ...(revision === null ? {} : { revision: String(revision) }),
    };
    const answer = await gateway.call("/v3/kv/range", body, { repeatable: true, signal });
    revision ??= revisionOf(answer);
    const page = listOf(answer["kvs"]);
    items.push(...page.map(keyValueOf));
    if (items.length > MOST_KEYS) throw coordError("TooManyKeys", `${prefix} (at most ${MOST_KEYS})`);
    const last = page.at(-1);
    if (answer["more"] !== true || last === undefined) return { items, revision };
    // The next key after the last one: its bytes and a zero byte.
    from = Buffer.concat([Buffer.from(textOf(last["key"]), "base64"), Buffer.of(0)]).toString("base64");
  }
}

async function commitOnce(gateway: Gateway, transaction: Transaction, signal?: AbortSignal): Promise<Committed> {
  const expected = Object.entries(transaction.expect);
  const operations = transaction.put.length + transaction.delete.length;
  if (operations > MOST_OPERATIONS || expected.length > MOST_OPERATIONS) {
    throw coordError("TooManyOperations", `${operations} operations (at most ${MOST_OPERATIONS})`);
  }
  const body = {
    compare: expected.map(([key, revision]) => ({
      key: encode(checkedKey(key)),
      target: "MOD",
      result: "EQUAL",
      mod_revision: String(revision),
    })),
    success: [
      ...transaction.put.map(({ key, value }) => ({
        request_put: { key: encode(checkedKey(key)), value: encode(value) },
      })),
      ...transaction.delete.map((key) => ({ request_delete_range: { key: encode(checkedKey(key)) } })),
    ],
    failure: expected.map(([key]) => ({ request_range: { key: encode(key) } })),
  };
  const answer = await gateway.call("/v3/kv/txn", body, { repeatable: false, signal });
  if (answer["succeeded"] === true) return { ok: true, revision: revisionOf(answer) };
  const found = listOf(answer["responses"]).map((response) => {
    const kv = listOf(objectOf(response["response_range"])["kvs"])[0];
    return kv === undefined ? null : keyValueOf(kv);
  });
  return { ok: false, found: Object.fromEntries(expected.map(([key], i) => [key, found[i] ?? null])) };
}
