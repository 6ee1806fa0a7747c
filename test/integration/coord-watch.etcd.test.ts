import { rm } from "node:fs/promises";
import { describe, expect, inject, test } from "vitest";
import { openEnvironment } from "../../deployment/local/environment.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import { seconds } from "../../src/lib/time.ts";
import type { Change, ChangeSet, Coord, WatchLink } from "../../src/infra/coord/coord.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { openNaiveWatch } from "../support/naive-watch.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
const [host = "", port = ""] = ADDRESS.split(":");

let runs = 0;
const aFolder = (): string => `/watch/${process.pid}-${(runs += 1)}/`;

/** What a watch delivered, as it came. */
class Followed {
  readonly sets: ChangeSet[] = [];
  readonly links: WatchLink[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(coord: Coord, range: string, from?: Awaited<ReturnType<Coord["centre"]["list"]>>) {
    this.#done = this.#follow(coord, range, from);
  }
  async #follow(coord: Coord, range: string, from?: Awaited<ReturnType<Coord["centre"]["list"]>>): Promise<void> {
    const options = { signal: this.#stop.signal, onLink: (link: WatchLink) => void this.links.push(link) };
    for await (const set of coord.centre.watch(range, from === undefined ? options : { ...options, from }))
      this.sets.push(set);
  }
  get changes(): readonly Change[] {
    return this.sets.flatMap(({ changes }) => changes);
  }
  get told(): readonly string[] {
    return this.changes.map(
      (change) => `${change.key.split("/").at(-1) ?? ""}=${change.kind === "put" ? change.value : "-"}`,
    );
  }
  /** Until the watch has delivered a change that says so. */
  until(what: string): Promise<unknown> {
    const look = async (): Promise<boolean> => this.told.includes(what);
    return poll(look, {
      clock: localClock,
      timeout: seconds(15),
      every: seconds(0.02),
      what: `${what} in ${this.told.join(" ")}`,
    });
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

interface World extends AsyncDisposable {
  readonly writer: Coord;
  readonly reader: Coord;
  readonly proxy: TcpProxy;
  readonly folder: string;
  readonly put: (name: string, value: string) => Promise<number>;
  readonly delete: (name: string) => Promise<boolean>;
  readonly compact: () => Promise<void>;
}

async function openWorld(): Promise<World> {
  await using opening = new AsyncDisposableStack();
  const proxy = opening.use(await openTcpProxy({ host, port: Number(port) }));
  const writer = opening.use(coordAt({ endpoints: [ADDRESS] }));
  const reader = opening.use(coordAt({ endpoints: [`127.0.0.1:${proxy.port}`] }));
  const folder = aFolder();
  const open = opening.move();
  return {
    writer,
    reader,
    proxy,
    folder,
    put: (name, value) => writer.centre.put(`${folder}${name}`, value),
    delete: (name) => writer.centre.delete(`${folder}${name}`),
    compact: async () => {
      const { revision } = await writer.centre.list(folder);
      const answer = await fetch(`http://${ADDRESS}/v3/kv/compaction`, {
        method: "POST",
        body: JSON.stringify({ revision: String(revision), physical: true }),
      });
      expect(answer.status).toBe(200);
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** What happens to the line between two writes. After each, the line is there again. */
const FAULTS: Readonly<Record<string, (world: World) => Promise<void> | void>> = {
  cut: ({ proxy }) => proxy.cut(),
  refused: async ({ proxy, put }) => {
    proxy.refuse();
    proxy.cut();
    await put("meanwhile", "refused");
    proxy.clear();
  },
  frozen: async ({ proxy, put }) => {
    proxy.hold("toServer", "toClient");
    await put("meanwhile", "frozen");
  },
  swallowed: async ({ proxy, put }) => {
    proxy.swallow("toClient");
    await put("meanwhile", "swallowed");
    await put("meanwhile", "swallowed twice");
    proxy.clear();
  },
  compacted: async ({ proxy, put, compact }) => {
    proxy.refuse();
    proxy.cut();
    await put("lost", "1");
    await put("lost", "2");
    await compact();
    proxy.clear();
  },
};

describe("[R105] [F31] a watch", () => {
  test("begins with what stands, then tells every change once and in order", async () => {
    await using world = await openWorld();
    await world.put("a", "1");
    await using followed = new Followed(world.reader, world.folder);
    await followed.until("a=1");
    await world.put("b", "1");
    await world.put("a", "2");
    await world.delete("b");
    await world.put("end", "1");
    await followed.until("end=1");
    expect(followed.told).toEqual(["a=1", "b=1", "a=2", "b=-", "end=1"]);
  });

  test("from a listing misses nothing that was written between the two", async () => {
    await using world = await openWorld();
    await world.put("a", "1");
    const from = await world.reader.centre.list(world.folder);
    await world.put("a", "2");
    await world.delete("a");
    await using followed = new Followed(world.reader, world.folder, from);
    await world.put("end", "1");
    await followed.until("end=1");
    expect(followed.told).toEqual(["a=2", "a=-", "end=1"]);
  });

  test("what one transaction wrote comes as one", async () => {
    await using world = await openWorld();
    await using followed = new Followed(world.reader, world.folder);
    const put = Array.from({ length: 128 }, (_, i) => ({ key: `${world.folder}k${i}`, value: "1" }));
    await world.writer.centre.commit({ expect: {}, put, delete: [] });
    await followed.until("k127=1");
    expect(followed.sets.map(({ changes }) => changes.length)).toEqual([128]);
  });

  test.each(Object.keys(FAULTS))("[etcd/silent] %s: each change is delivered once and in order", async (fault) => {
    await using world = await openWorld();
    await using followed = new Followed(world.reader, world.folder);
    const expected: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      await world.put("a", `${round}`);
      expected.push(`a=${round}`);
      await followed.until(`a=${round}`);
      await FAULTS[fault]?.(world);
      await world.put("b", `${round}`);
      expected.push(`b=${round}`);
      if (fault === "frozen") setTimeout(() => world.proxy.clear(), 1500);
      await followed.until(`b=${round}`);
    }
    const ours = followed.told.filter((one) => /^[ab]=/.test(one));
    expect(ours).toEqual(expected);
    const revisions = followed.sets.map(({ revision }) => revision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
    expect(new Set(revisions).size).toBe(revisions.length);
  });

  test("[etcd/reborn] what history lost is made up for by the difference, deletions too, and it says so", async () => {
    await using world = await openWorld();
    await world.put("goes", "1");
    await world.put("stays", "1");
    await using followed = new Followed(world.reader, world.folder);
    await followed.until("stays=1");
    world.proxy.refuse();
    world.proxy.cut();
    await world.delete("goes");
    await world.put("comes", "1");
    await world.put("comes", "2");
    await world.compact();
    world.proxy.clear();
    await followed.until("comes=2");
    const last = followed.sets.at(-1);
    expect(last?.compacted?.since).toBeGreaterThan(0);
    expect(followed.told.slice(2).toSorted()).toEqual(["comes=2", "goes=-"]);
  });

  test("[etcd/reborn] set back to an older state: what is gone is told as deleted, and what comes is not missed", async () => {
    await using own = await openEnvironment({ with: ["etcd"], controlPlane: false, print: () => undefined });
    const [address = ""] = addressesOf(own.env["COORD_ENDPOINTS"] ?? "");
    await using coord = coordAt({ endpoints: [address] });
    const folder = aFolder();
    for (const name of ["a", "b", "b"]) await coord.centre.put(`${folder}${name}`, "1");
    await using followed = new Followed(coord, folder);
    await followed.until("b=1");
    const etcd = own.server("etcd-centre");
    await etcd.stop("SIGKILL");
    await rm(etcd.dataDir ?? "", { recursive: true });
    await etcd.start();
    await followed.until("b=-");
    await coord.centre.put(`${folder}c`, "1");
    await followed.until("c=1");
    expect(followed.told.slice(-3)).toEqual(["a=-", "b=-", "c=1"]);
  });

  test("[R105] the same script makes a naive client lose changes", async () => {
    await using world = await openWorld();
    await using naive = openNaiveWatch(`127.0.0.1:${world.proxy.port}`, world.folder);
    await naive.begun;
    await world.put("a", "1");
    await naive.until("a=1");
    await FAULTS["refused"]?.(world);
    await naive.again();
    await world.put("b", "1");
    await naive.until("b=1");
    expect(naive.told).not.toContain("meanwhile=refused");
  });

  test("says when the link is lost and when it is back, each once", async () => {
    await using world = await openWorld();
    await using followed = new Followed(world.reader, world.folder);
    await world.put("a", "1");
    await followed.until("a=1");
    world.proxy.refuse();
    world.proxy.cut();
    const isDown = async (): Promise<boolean> => followed.links.at(-1)?.up === false;
    await poll(isDown, { clock: localClock, timeout: seconds(10), every: seconds(0.02), what: "the link to be down" });
    world.proxy.clear();
    await world.put("b", "1");
    await followed.until("b=1");
    expect(followed.links.map(({ up }) => up)).toEqual([true, false, true]);
  });
});
