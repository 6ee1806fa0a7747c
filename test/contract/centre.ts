import { describe, expect, test } from "vitest";
import { type Centre, type ChangeSet, MOST_OPERATIONS, type WatchOptions } from "../../src/infra/coord/coord.ts";
import type { InfraError } from "../../src/lib/infra-error.ts";

/** A centre and a place in it that nobody else uses. */
export interface CentreRig extends AsyncDisposable {
  readonly centre: Centre;
  /** Begins and ends with `/`. */
  readonly prefix: string;
  /** Forgets history below the revision. */
  compact(revision: number): Promise<void>;
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (error: InfraError) => `${error.type} ${error.code}`,
  );

/** The next sets until `enough` of them, or what came by then. */
interface Taking {
  /** Changes, however many sets they come in. */
  readonly enough: number;
  readonly from?: WatchOptions["from"];
  readonly told?: () => void;
}

async function take(centre: Centre, range: string, { enough, from, told }: Taking): Promise<ChangeSet[]> {
  const stop = new AbortController();
  const sets: ChangeSet[] = [];
  for await (const set of centre.watch(range, { signal: stop.signal, ...(from === undefined ? {} : { from }) })) {
    sets.push(set);
    told?.();
    if (sets.flatMap(({ changes }) => changes).length >= enough) stop.abort();
  }
  return sets;
}

const said = (sets: readonly ChangeSet[]): readonly string[] =>
  sets.flatMap(({ changes }) =>
    changes.map((change) => `${change.key.split("/").at(-1)} ${change.kind === "put" ? change.value : "gone"}`),
  );

/** What every configuration centre holds to, whatever stands behind it. */
export function centreContract(name: string, open: () => Promise<CentreRig>): void {
  describe(`the configuration centre: ${name}`, () => {
    test("what was put is read, with revision and version; what is not there is null", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      expect(await centre.get(`${prefix}a`)).toBeNull();
      const first = await centre.put(`${prefix}a`, "1");
      const second = await centre.put(`${prefix}a`, "ä😀");
      expect(second).toBeGreaterThan(first);
      expect(await centre.get(`${prefix}a`)).toEqual({ key: `${prefix}a`, value: "ä😀", revision: second, version: 2 });
    });

    test("a key that was deleted and comes again begins at version 1", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      await centre.put(`${prefix}a`, "1");
      expect([await centre.delete(`${prefix}a`), await centre.delete(`${prefix}a`)]).toEqual([true, false]);
      await centre.put(`${prefix}a`, "2");
      expect(await centre.get(`${prefix}a`)).toMatchObject({ value: "2", version: 1 });
    });

    test("a listing is sorted, holds only what lies below, and says its revision", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      for (const key of ["b", "a/z", "a/b"]) await centre.put(`${prefix}${key}`, key);
      await centre.put(`${prefix.slice(0, -1)}x`, "beside");
      const last = await centre.put(`${prefix}b`, "new");
      const { items, revision } = await centre.list(prefix);
      expect(items.map(({ key, value }) => `${key.slice(prefix.length)}=${value}`)).toEqual([
        "a/b=a/b",
        "a/z=a/z",
        "b=new",
      ]);
      expect(revision).toBeGreaterThanOrEqual(last);
      expect((await centre.list(`${prefix}a/`)).items).toHaveLength(2);
      await centre.delete(`${prefix.slice(0, -1)}x`);
    });

    test("an older revision is read as it was, until it is compacted", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      const first = await centre.put(`${prefix}a`, "1");
      const second = await centre.put(`${prefix}a`, "2");
      await centre.delete(`${prefix}a`);
      expect(await centre.getAt(`${prefix}a`, first)).toMatchObject({ value: "1", revision: first });
      expect(await centre.getAt(`${prefix}a`, second)).toMatchObject({ value: "2", version: 2 });
      await rig.compact(second);
      expect(await codeOf(centre.getAt(`${prefix}a`, first))).toBe("NOT_FOUND Compacted");
    });

    test("compare and set writes only over the revision that was read, and tells what stands instead", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      const key = `${prefix}a`;
      const made = await centre.compareAndSet(key, 0, "1");
      expect(made.ok).toBe(true);
      expect(await centre.compareAndSet(key, 0, "2")).toMatchObject({ ok: false, found: { [key]: { value: "1" } } });
      const revision = made.ok ? made.revision : 0;
      expect(await centre.compareAndSet(key, revision, "3")).toMatchObject({ ok: true });
      expect(await centre.compareAndSet(key, revision, null)).toMatchObject({
        ok: false,
        found: { [key]: { value: "3" } },
      });
      const now = (await centre.get(key))?.revision ?? 0;
      expect(await centre.compareAndSet(key, now, null)).toMatchObject({ ok: true });
      expect(await centre.compareAndSet(key, now, "4")).toEqual({ ok: false, found: { [key]: null } });
    });

    test("a transaction is all or nothing and one revision", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      const [a, b, c] = [`${prefix}a`, `${prefix}b`, `${prefix}c`];
      await centre.put(c, "old");
      const before = await centre.list(prefix);
      const refused = await centre.commit({ expect: { [a]: 0, [b]: 7 }, put: [{ key: a, value: "1" }], delete: [c] });
      expect(refused).toMatchObject({ ok: false, found: { [a]: null, [b]: null } });
      expect((await centre.list(prefix)).items).toEqual(before.items);
      const done = await centre.commit({
        expect: { [a]: 0 },
        put: [
          { key: a, value: "1" },
          { key: b, value: "2" },
        ],
        delete: [c],
      });
      const { items } = await centre.list(prefix);
      expect(items.map(({ value, revision }) => [value, done.ok && revision === done.revision])).toEqual([
        ["1", true],
        ["2", true],
      ]);
    });

    test("a transaction of more than 128 operations is refused before anything is written", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      const put = Array.from({ length: MOST_OPERATIONS + 1 }, (_, i) => ({ key: `${prefix}${i}`, value: "x" }));
      expect(await codeOf(centre.commit({ expect: {}, put, delete: [] }))).toBe("VALIDATION TooManyOperations");
      expect((await centre.list(prefix)).items).toEqual([]);
      expect(await centre.commit({ expect: {}, put: put.slice(1), delete: [] })).toMatchObject({ ok: true });
    });

    test("a watch tells what stands, then every change once and in order, deletes too", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      await centre.put(`${prefix}a`, "1");
      const begun = Promise.withResolvers<void>();
      const watched = take(centre, prefix, { enough: 5, told: begun.resolve });
      await begun.promise;
      for (const value of ["2", "3", "4"]) await centre.put(`${prefix}b`, value);
      await centre.delete(`${prefix}a`);
      expect(said(await watched)).toEqual(["a 1", "b 2", "b 3", "b 4", "a gone"]);
    });

    test("a watch from a listing tells everything after it and nothing before", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      await centre.put(`${prefix}a`, "1");
      await centre.put(`${prefix}b`, "1");
      const from = await centre.list(prefix);
      await centre.put(`${prefix}a`, "2");
      await centre.delete(`${prefix}b`);
      await centre.put(`${prefix}b`, "2");
      const sets = await take(centre, prefix, { enough: 3, from });
      expect(said(sets)).toEqual(["a 2", "b gone", "b 2"]);
      expect(sets.map(({ compacted }) => compacted)).toEqual([null, null, null]);
    });

    test("a watch of one key tells nothing of its neighbours", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      const revision = await centre.put(`${prefix}a`, "1");
      const from = { items: [{ key: `${prefix}a`, value: "1", revision, version: 1 }], revision };
      const watched = take(centre, `${prefix}a`, { enough: 1, from });
      await centre.put(`${prefix}ab`, "x");
      await centre.put(`${prefix}a/b`, "x");
      await centre.put(`${prefix}a`, "2");
      expect(said(await watched)).toEqual(["a 2"]);
    });

    test("all changes of one transaction come as one set", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      const from = await centre.list(prefix);
      const put = ["a", "b"].map((key) => ({ key: `${prefix}${key}`, value: "1" }));
      await centre.commit({ expect: {}, put, delete: [] });
      const [set] = await take(centre, prefix, { enough: 1, from });
      expect(said(set === undefined ? [] : [set]).toSorted()).toEqual(["a 1", "b 1"]);
    });

    test("a watch from what was compacted away tells the difference, and says that it is one", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      await centre.put(`${prefix}a`, "1");
      await centre.put(`${prefix}b`, "1");
      const from = await centre.list(prefix);
      await centre.put(`${prefix}a`, "2");
      await centre.delete(`${prefix}b`);
      await rig.compact(await centre.put(`${prefix}c`, "1"));
      const sets = await take(centre, prefix, { enough: 1, from });
      expect(said(sets).toSorted()).toEqual(["a 2", "b gone", "c 1"]);
      expect(sets[0]?.compacted).toEqual({ since: from.revision });
    });

    test("a watch from a bare revision that was compacted away tells what was written since, and nothing older", async () => {
      await using rig = await open();
      const { centre, prefix } = rig;
      await centre.put(`${prefix}a`, "1");
      const revision = await centre.put(`${prefix}b`, "1");
      await centre.put(`${prefix}c`, "1");
      await rig.compact(await centre.put(`${prefix}d`, "1"));
      const sets = await take(centre, prefix, { enough: 1, from: { items: [], revision } });
      expect(said(sets)).toEqual(["c 1", "d 1"]);
      expect(sets[0]?.compacted).toEqual({ since: revision });
    });

    test("a watch ends with its signal", async () => {
      await using rig = await open();
      const stop = new AbortController();
      const ended = (async () => {
        for await (const set of rig.centre.watch(rig.prefix, { signal: stop.signal })) expect(set).toBeUndefined();
        return "ended";
      })();
      await new Promise((resolve) => setImmediate(resolve));
      stop.abort();
      expect(await ended).toBe("ended");
    });
  });
}
