import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { compareVersions, keyOf, type KubeObject } from "../../src/kube/resource.ts";
import { createStore, lastManagerOf } from "../../src/kube/store.ts";
import { aWidget } from "../support/kube-objects.ts";

describe("what is applied", () => {
  test("says what happened, and holds the newest", () => {
    const store = createStore();
    const [first, second] = [aWidget("a", 5), aWidget("a", 10)];
    expect(store.apply(first)).toEqual({ change: "added", object: first, previous: undefined });
    expect(store.apply(second)).toEqual({ change: "updated", object: second, previous: first });
    expect(store.apply(aWidget("a", 10))).toMatchObject({ change: "same" });
    expect(store.get("ns/a")).toBe(second);
  });

  test("[S29] an older resourceVersion never enters, also where it is shorter or longer", () => {
    const store = createStore();
    store.apply(aWidget("a", 10));
    expect(store.apply(aWidget("a", 9)).change).toBe("older");
    expect(store.apply(aWidget("a", "100000000000000000000000000000")).change).toBe("updated");
    expect(store.apply(aWidget("a", "99999999999999999999999999999")).change).toBe("older");
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("100000000000000000000000000000");
  });

  test("[S13] another uid under the same name is another object, if it is newer", () => {
    const store = createStore();
    const [old, young] = [aWidget("a", 5, { uid: "one" }), aWidget("a", 9, { uid: "two" })];
    store.apply(old);
    expect(store.apply(young)).toEqual({ change: "replaced", object: young, previous: old });
    expect(store.apply(aWidget("a", 7, { uid: "one" })).change).toBe("older");
    expect(store.apply(aWidget("a", 9, { uid: "three" })).change).toBe("older");
    expect(store.get("ns/a")?.metadata.uid).toBe("two");
  });

  test("our own write comes in at once, but brings nothing back that has gone, nor under another uid", () => {
    const store = createStore();
    store.apply(aWidget("a", 5));
    expect(store.refresh(aWidget("a", 8)).change).toBe("updated");
    expect(store.refresh(aWidget("a", 9, { uid: "other" })).change).toBe("older");
    expect(store.get("ns/a")?.metadata.resourceVersion).toBe("8");
    store.forget("ns/a", "uid-a");
    expect(store.refresh(aWidget("a", 9)).change).toBe("older");
    expect(store.size).toBe(0);
  });

  test("forgetting names the uid: another object under that name stays", () => {
    const store = createStore();
    store.apply(aWidget("a", 5));
    expect(store.forget("ns/a", "other")).toBeUndefined();
    expect(store.forget("ns/missing", "uid-a")).toBeUndefined();
    expect(store.size).toBe(1);
    expect(store.forget("ns/a", "uid-a")?.metadata.name).toBe("a");
    expect(store.get("ns/a")).toBeUndefined();
  });
});

describe("indexes", () => {
  const indexes = { colour: ({ spec }: KubeObject) => (spec as { colours?: string[] } | undefined)?.colours ?? [] };

  test("find objects under each of their values, and no longer under those they lost", () => {
    const store = createStore({ indexes });
    store.apply(aWidget("a", 1, { spec: { colours: ["red", "blue"] } }));
    store.apply(aWidget("b", 2, { spec: { colours: ["red"] } }));
    const names = (value: string): string[] => store.byIndex("colour", value).map(({ metadata }) => metadata.name);
    expect([names("red"), names("blue"), names("green")]).toEqual([["a", "b"], ["a"], []]);
    store.apply(aWidget("a", 3, { spec: { colours: ["green"] } }));
    expect([names("red"), names("blue"), names("green")]).toEqual([["b"], [], ["a"]]);
    store.forget("ns/b", "uid-b");
    store.apply(aWidget("a", 4, { uid: "another" }));
    expect([names("red"), names("green")]).toEqual([[], []]);
    store.apply(aWidget("a", 5, { uid: "another", spec: { colours: ["red"] } }));
    store.clear();
    expect([names("red"), store.size, store.all()]).toEqual([[], 0, []]);
    expect(() => store.byIndex("taste", "sweet")).toThrow("no index taste");
    expect(() => store.countBy("taste", "sweet")).toThrow("no index taste");
  });

  test("always agree with a search through all, whatever was applied and forgotten", () => {
    const change = fc.record({
      name: fc.constantFrom("a", "b", "c"),
      uid: fc.constantFrom("1", "2"),
      version: fc.nat(30),
      colours: fc.subarray(["red", "blue", "green"]),
      forget: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const store = createStore({ indexes });
        for (const { name, uid, version, colours, forget } of changes) {
          const before = store.get(`ns/${name}`);
          if (forget) store.forget(`ns/${name}`, uid);
          else store.apply(aWidget(name, version, { uid, spec: { colours } }));
          const now = store.get(`ns/${name}`);
          const kept = [before, now].map((object) => object?.metadata.resourceVersion ?? "0");
          expect(forget || compareVersions(kept[1]!, kept[0]!) >= 0).toBe(true);
        }
        for (const colour of ["red", "blue", "green"]) {
          const found = store.byIndex("colour", colour).map(keyOf).toSorted();
          expect(store.countBy("colour", colour)).toBe(found.length);
          const searched = store.all().filter((object) => indexes.colour(object).includes(colour));
          expect(found).toEqual(searched.map(keyOf).toSorted());
        }
      }),
    );
  });
});

describe("managedFields", () => {
  const entry = (manager: string, time: string | undefined, fieldsV1: unknown) => ({
    manager,
    operation: "Update",
    time,
    fieldsV1,
  });
  const touching = { "f:spec": { "f:control": { "f:paused": {} } } };

  test("are not held, but the last manager of the chosen fields is; the object that came is left as it was", () => {
    const store = createStore({ managed: ["f:spec", "f:control"] });
    const managedFields = [
      entry("kubectl-patch", "2026-06-01T12:00:00Z", touching),
      entry("operator", "2026-06-01T13:00:00Z", { "f:status": {} }),
    ];
    const object = aWidget("a", 1, { metadata: { managedFields } });
    expect(store.apply(object).object?.metadata).not.toHaveProperty("managedFields");
    expect(store.get("ns/a")).not.toHaveProperty("metadata.managedFields");
    expect(object.metadata.managedFields).toBe(managedFields);
    expect(store.lastManager("ns/a")).toBe("kubectl-patch");
    store.apply(aWidget("a", 2));
    expect([store.lastManager("ns/a"), store.lastManager("ns/b")]).toEqual([null, null]);
    const plain = createStore();
    plain.apply(object);
    expect(plain.lastManager("ns/a")).toBeNull();
  });

  test("the newest entry that reaches the fields counts; nonsense counts for nothing", () => {
    const path = ["f:spec", "f:control"];
    const old = entry("old", "2026-06-01T12:00:00Z", touching);
    expect(lastManagerOf([entry("new", "2026-06-02T00:00:00Z", touching), old], path)).toBe("new");
    expect(lastManagerOf([entry("timeless", undefined, touching), old], path)).toBe("old");
    expect(
      lastManagerOf([entry("elsewhere", "2026-06-02T00:00:00Z", { "f:spec": { "f:other": {} } }), old], path),
    ).toBe("old");
    expect(
      lastManagerOf([null, 7, {}, { manager: 3, fieldsV1: touching }, entry("x", "y", "f:spec")], path),
    ).toBeNull();
    expect(lastManagerOf([old], [])).toBeNull();
  });
});
