import { describe, expect, test } from "vitest";

import { Mirror } from "../../src/kube/mirror.ts";
import { keyOf, type KubeObject } from "../../src/kube/resource.ts";
import { createStore, type Store } from "../../src/kube/store.ts";
import { aWidget } from "../support/kube-objects.ts";

/** Never pauses. */
const atOnce = (): void => undefined;

const name = ({ metadata }: KubeObject): string => `${metadata.name}#${metadata.uid}@${metadata.resourceVersion}`;

interface Rig {
  readonly store: Store;
  readonly mirror: Mirror;
  /** What was told since it was last asked for. */
  told(): string[];
}

function open(): Rig {
  const store = createStore();
  let told: string[] = [];
  const mirror = new Mirror(store, {
    upsert: (object, previous, source) =>
      told.push(`${source} ${name(object)}${previous === undefined ? "" : ` was ${name(previous)}`}`),
    gone: (object) => told.push(`gone ${name(object)}`),
    synced: () => told.push("synced"),
    rewound: ({ known, found }) => told.push(`rewound ${known} to ${found}`),
  });
  return {
    store,
    mirror,
    told() {
      const now = told;
      told = [];
      return now;
    },
  };
}

/** A mirror that has listed these objects at version 100. */
async function listed(...objects: readonly KubeObject[]): Promise<Rig> {
  const rig = open();
  rig.mirror.restart();
  for (const object of objects) rig.mirror.list(object);
  await rig.mirror.endList("100", atOnce);
  rig.told();
  return rig;
}

const held = ({ store }: Rig): string[] => store.all().map(name).toSorted();

describe("a list", () => {
  test("tells what is there, then the watch goes on from its version", async () => {
    const rig = open();
    rig.mirror.restart();
    rig.mirror.list(aWidget("a", 7));
    rig.mirror.list(aWidget("b", 9));
    expect(rig.mirror.cursor).toBeNull();
    expect(await rig.mirror.endList("100", atOnce)).toBe("good");
    expect(rig.mirror.cursor).toBe("100");
    expect(rig.told()).toEqual(["list a#uid-a@7", "list b#uid-b@9"]);
  });

  test("after a break it tells only differences, and what is no longer there is gone", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9), aWidget("c", 11));
    rig.mirror.restart();
    rig.mirror.list(aWidget("a", 7));
    rig.mirror.list(aWidget("b", 120));
    rig.mirror.list(aWidget("d", 130));
    await rig.mirror.endList("200", atOnce);
    expect(rig.told()).toEqual(["list b#uid-b@120 was b#uid-b@9", "list d#uid-d@130", "gone c#uid-c@11"]);
  });

  test("begun again in the middle, nothing of the first half counts", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9));
    rig.mirror.restart();
    rig.mirror.list(aWidget("a", 7));
    rig.mirror.restart();
    rig.mirror.list(aWidget("b", 9));
    await rig.mirror.endList("200", atOnce);
    expect(rig.told()).toEqual(["gone a#uid-a@7"]);
  });

  test("what we wrote after it is kept, though the list does not show it", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.store.refresh(aWidget("a", 250));
    rig.mirror.restart();
    await rig.mirror.endList("200", atOnce);
    expect(held(rig)).toEqual(["a#uid-a@250"]);
  });

  test("live events among the first objects count as part of the list", async () => {
    const rig = open();
    rig.mirror.restart();
    rig.mirror.upsert(aWidget("a", 7));
    rig.mirror.upsert(aWidget("b", 9));
    rig.mirror.remove(aWidget("a", 12));
    await rig.mirror.endList("100", atOnce);
    expect([held(rig), rig.told()]).toEqual([["b#uid-b@9"], ["list a#uid-a@7", "list b#uid-b@9", "gone a#uid-a@7"]]);
  });
});

describe("a watch", () => {
  test("tells changes, and where it would go on", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.mirror.upsert(aWidget("a", 101));
    rig.mirror.upsert(aWidget("b", 102));
    rig.mirror.bookmark("150");
    rig.mirror.bookmark("140");
    expect([rig.told(), rig.mirror.cursor]).toEqual([["watch a#uid-a@101 was a#uid-a@7", "watch b#uid-b@102"], "150"]);
  });

  test("our own write, seen again, wakes nobody", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.store.refresh(aWidget("a", 101));
    rig.mirror.upsert(aWidget("a", 101));
    expect([rig.told(), rig.mirror.cursor]).toEqual([[], "101"]);
  });

  test("[S29] doubled, delayed and replayed events change nothing and wake nobody", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.mirror.upsert(aWidget("a", 101));
    rig.mirror.upsert(aWidget("b", 102));
    rig.mirror.remove(aWidget("b", 103));
    const before = held(rig);
    rig.told();
    for (const replayed of [aWidget("a", 7), aWidget("a", 101), aWidget("b", 102), aWidget("c", 50)])
      rig.mirror.upsert(replayed);
    rig.mirror.remove(aWidget("a", 101));
    rig.mirror.remove(aWidget("a", 60));
    expect([held(rig), rig.told(), rig.mirror.cursor, rig.mirror.stale]).toEqual([before, [], "103", 6]);
  });

  test("[S13] the same name with another uid is one object gone and one new", async () => {
    const rig = await listed(aWidget("a", 7, { uid: "one" }));
    rig.mirror.upsert(aWidget("a", 101, { uid: "two" }));
    expect(rig.told()).toEqual(["gone a#one@7", "watch a#two@101"]);
  });

  test("a deletion of another uid than the one held is nobody's", async () => {
    const rig = await listed(aWidget("a", 7, { uid: "two" }));
    rig.mirror.remove(aWidget("a", 101, { uid: "one" }));
    expect([held(rig), rig.told()]).toEqual([["a#two@7"], []]);
  });

  test("our own write that left the selection, held already when the watch tells, is gone with it", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.store.refresh(aWidget("a", 103));
    rig.mirror.remove(aWidget("a", 103));
    expect([held(rig), rig.told()]).toEqual([[], ["gone a#uid-a@103"]]);
  });

  test("leaving the selection does not undo our later write that brought it back", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.store.refresh(aWidget("a", 105));
    rig.mirror.remove(aWidget("a", 103));
    rig.mirror.upsert(aWidget("a", 105));
    expect([held(rig), rig.told()]).toEqual([["a#uid-a@105"], []]);
  });
});

describe("[L4] the periodic list", () => {
  test("finds what the watch did not tell: new, changed, replaced and gone objects", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9), aWidget("c", 11), aWidget("d", 12));
    rig.store.refresh(aWidget("c", 200)); // at the very version of the list, which shows everything up to it
    rig.mirror.beginRelist();
    for (const object of [aWidget("a", 7), aWidget("b", 120), aWidget("d", 121, { uid: "another" }), aWidget("e", 130)])
      rig.mirror.relist(object);
    expect(await rig.mirror.endRelist("200", atOnce)).toBe("good");
    expect(rig.told()).toEqual([
      "relist b#uid-b@120 was b#uid-b@9",
      "gone d#uid-d@12",
      "relist d#another@121",
      "relist e#uid-e@130",
      "gone c#uid-c@200",
    ]);
  });

  test("loses nothing that the watch or we ourselves told meanwhile", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9));
    rig.mirror.beginRelist(); // as of 150
    rig.mirror.relist(aWidget("a", 7));
    rig.mirror.upsert(aWidget("new", 160));
    rig.store.refresh(aWidget("b", 170));
    rig.mirror.upsert(aWidget("a", 180));
    await rig.mirror.endRelist("150", atOnce);
    expect(held(rig)).toEqual(["a#uid-a@180", "b#uid-b@170", "new#uid-new@160"]);
  });

  test("brings nothing back that the watch saw go meanwhile", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9));
    rig.mirror.beginRelist(); // as of 150
    rig.mirror.remove(aWidget("a", 160));
    rig.mirror.relist(aWidget("a", 7));
    rig.mirror.relist(aWidget("b", 9));
    await rig.mirror.endRelist("150", atOnce);
    expect([held(rig), rig.told()]).toEqual([["b#uid-b@9"], ["gone a#uid-a@7"]]);
  });

  test("takes turns with others while it looks for what is gone, and drops nothing that they changed", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9), aWidget("c", 11));
    rig.mirror.beginRelist();
    let turns = 0;
    await rig.mirror.endRelist("150", () => {
      turns += 1;
      if (turns === 1) rig.store.refresh(aWidget("b", 140)); // our own write, which the list was too early for
    });
    expect([turns, held(rig), rig.told()]).toEqual([3, ["b#uid-b@140"], ["gone a#uid-a@7", "gone c#uid-c@11"]]);
  });

  test("given up in the middle, nothing is gone by it", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.mirror.beginRelist();
    rig.mirror.abandonRelist();
    rig.mirror.beginRelist();
    rig.mirror.relist(aWidget("a", 7));
    await rig.mirror.endRelist("150", atOnce);
    expect(held(rig)).toEqual(["a#uid-a@7"]);
  });

  test("does not move the watch on: an event between the list's version and the cursor still counts", async () => {
    const rig = await listed(aWidget("a", 7));
    rig.mirror.beginRelist();
    rig.mirror.relist(aWidget("a", 7));
    await rig.mirror.endRelist("300", atOnce);
    expect(rig.mirror.cursor).toBe("100");
    rig.mirror.upsert(aWidget("b", 290));
    expect(rig.told()).toEqual(["watch b#uid-b@290"]);
  });
});

describe("[S30] history that went back", () => {
  test("one old list is doubted and changes nothing, a second one in a row means that history is lost", async () => {
    const rig = await listed(aWidget("a", 7), aWidget("b", 9));
    rig.mirror.upsert(aWidget("a", 140));
    rig.told();
    rig.mirror.beginRelist();
    rig.mirror.relist(aWidget("a", 20));
    expect(await rig.mirror.endRelist("80", atOnce)).toBe("doubtful");
    expect([held(rig), rig.told()]).toEqual([["a#uid-a@140", "b#uid-b@9"], []]);
    rig.mirror.beginRelist();
    expect(await rig.mirror.endRelist("85", atOnce)).toBe("rewound");
    expect([rig.told(), rig.store.size, rig.mirror.cursor]).toEqual([
      ["rewound 140 to 85", "gone a#uid-a@140", "gone b#uid-b@9"],
      0,
      null,
    ]);
    rig.mirror.restart();
    rig.mirror.list(aWidget("a", 20));
    expect([await rig.mirror.endList("90", atOnce), rig.told(), rig.mirror.cursor]).toEqual([
      "good",
      ["list a#uid-a@20"],
      "90",
    ]);
  });

  test("a good list between two old ones clears the doubt", async () => {
    const rig = await listed();
    rig.mirror.beginRelist();
    expect(await rig.mirror.endRelist("80", atOnce)).toBe("doubtful");
    rig.mirror.beginRelist();
    expect(await rig.mirror.endRelist("100", atOnce)).toBe("good");
    rig.mirror.beginRelist();
    expect(await rig.mirror.endRelist("99", atOnce)).toBe("doubtful");
  });

  test("bookmarks and events count as known history too", async () => {
    const rig = await listed();
    rig.mirror.bookmark("500");
    rig.mirror.restart();
    expect(await rig.mirror.endList("499", atOnce)).toBe("doubtful");
    rig.mirror.restart();
    expect(await rig.mirror.endList("499", atOnce)).toBe("rewound");
  });
});

test("after any order of events the store holds what the last version of each object says", async () => {
  const rig = await listed();
  const history = [aWidget("a", 101), aWidget("b", 102), aWidget("a", 103), aWidget("b", 104), aWidget("a", 105)];
  for (const object of history) rig.mirror.upsert(object);
  for (const object of history.toReversed()) rig.mirror.upsert(object);
  expect(rig.store.all().map(keyOf).length).toBe(2);
  expect(held(rig)).toEqual(["a#uid-a@105", "b#uid-b@104"]);
});
