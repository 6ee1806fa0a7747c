import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { type LockStep, mostLate, overlaps, toldTooLate } from "../support/lock-history.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
const [host = "", port = ""] = ADDRESS.split(":");
const HOLDER = join(import.meta.dirname, "..", "support", "lock-holder.ts");

let runs = 0;
const aName = (): string => `lock-${process.pid}-${(runs += 1)}`;

/** Where the holders write: it puts their steps in order. */
class LockStore implements AsyncDisposable {
  readonly steps: LockStep[] = [];
  readonly #server: Server = createServer((request, response) => {
    void request.setEncoding("utf8").once("data", (body: string) => {
      this.steps.push(JSON.parse(body) as LockStep);
      response.end();
    });
  });
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }
  get taken(): readonly LockStep[] {
    return this.steps.filter(({ what }) => what === "taken");
  }
  untilTaken(more: number): Promise<unknown> {
    const goal = this.taken.length + more;
    const look = async (): Promise<boolean> => this.taken.length >= goal;
    return poll(look, { clock: localClock, timeout: seconds(20), every: seconds(0.01), what: `${goal} holders` });
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

interface Holder {
  readonly who: string;
  readonly process: ChildProcess;
  readonly proxy: TcpProxy;
}

interface Contest extends AsyncDisposable {
  readonly store: LockStore;
  /** Who holds the lock now. */
  holder(): Promise<Holder>;
}

async function openContest(count: number): Promise<Contest> {
  await using opening = new AsyncDisposableStack();
  const store = opening.use(new LockStore());
  const url = await store.listen();
  const name = aName();
  const holders = await Promise.all(
    Array.from({ length: count }, async (_, i): Promise<Holder> => {
      const proxy = opening.use(await openTcpProxy({ host, port: Number(port) }));
      const args = ["--etcd", `127.0.0.1:${proxy.port}`, "--store", url, "--name", name, "--who", `p${i}`];
      const child = spawn(process.execPath, [HOLDER, ...args], { stdio: "inherit" });
      opening.defer(async () => {
        const gone = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await gone;
      });
      return { who: `p${i}`, process: child, proxy };
    }),
  );
  await store.untilTaken(2);
  const open = opening.move();
  return {
    store,
    async holder() {
      await store.untilTaken(1);
      const now = store.taken.at(-1)?.who;
      const found = holders.find(({ who }) => who === now);
      if (found === undefined) throw new Error("nobody holds it");
      return found;
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

describe("[R126] [S9] a lock", () => {
  test("goes from one to the next; each later holder has the larger fence", async () => {
    await using contest = await openContest(3);
    await contest.store.untilTaken(8);
    expect(new Set(contest.store.taken.map(({ who }) => who)).size).toBeGreaterThan(1);
    expect(overlaps(contest.store.steps)).toEqual([]);
  });

  test("[etcd/silent] a holder who is cut off learns that it lost before another can hold it", async () => {
    await using contest = await openContest(3);
    const cutOff = new Set<number>();
    for (let round = 0; round < 3; round += 1) {
      const { proxy } = await contest.holder();
      cutOff.add(contest.store.taken.at(-1)?.fence ?? 0);
      proxy.hold("toServer", "toClient");
      await contest.store.untilTaken(2);
      proxy.clear();
    }
    expect(overlaps(contest.store.steps)).toEqual([]);
    expect(toldTooLate(contest.store.steps, cutOff)).toEqual([]);
  });

  test("[process/stop] one that was stopped for longer than its lease goes on to nothing but what it had begun", async () => {
    await using contest = await openContest(3);
    for (let round = 0; round < 2; round += 1) {
      const { process: child } = await contest.holder();
      child.kill("SIGSTOP");
      await contest.store.untilTaken(2);
      child.kill("SIGCONT");
      await contest.store.untilTaken(2);
    }
    // Stopped between its look at the clock and its request, it sends that one: only the fence can tell the store.
    expect(mostLate(contest.store.steps)).toBeLessThanOrEqual(1);
    expect(contest.store.taken.map(({ fence }) => fence)).toEqual(
      contest.store.taken.map(({ fence }) => fence).toSorted((a, b) => a - b),
    );
  });

  test("the checker flags a holder who uses it after the next one began, and one who took an old fence", () => {
    const a = { who: "a", fence: 1 } as const;
    const b = { who: "b", fence: 2 } as const;
    const taken = (who: typeof a | typeof b): LockStep => ({ ...who, what: "taken" });
    expect(overlaps([taken(a), taken(b), { ...a, what: "use" }])).toHaveLength(1);
    expect(overlaps([taken(b), taken(a)])).toHaveLength(1);
    expect(mostLate([taken(a), taken(b), { ...a, what: "use" }, { ...a, what: "use" }])).toBe(2);
    expect(overlaps([taken(a), { ...a, what: "use" }, taken(b), { ...b, what: "use" }])).toEqual([]);
    expect(toldTooLate([taken(a), taken(b), { ...a, what: "lost" }], new Set([1]))).toHaveLength(1);
    expect(toldTooLate([taken(a), { ...a, what: "lost" }, taken(b)], new Set([1]))).toEqual([]);
  });

  test("[F33] a lease under one second is refused, not lengthened in silence", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const signal = new AbortController().signal;
    const asked = coord.acquire(aName(), millisOf(999), signal);
    await expect(asked).rejects.toMatchObject({ code: "LeaseTooShort", type: "VALIDATION" });
  });

  test("tryAcquire gives null at once where another holds it, and the lock once it is free", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const [name, signal] = [aName(), new AbortController().signal];
    const first = await coord.acquire(name, seconds(5), signal);
    expect(await coord.tryAcquire(name, seconds(5), signal)).toBeNull();
    await first.release();
    const second = await coord.tryAcquire(name, seconds(5), signal);
    expect(second?.fence).toBeGreaterThan(first.fence);
  });

  test("who stops waiting leaves the queue: the next in line gets it", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const name = aName();
    const never = new AbortController().signal;
    const first = await coord.acquire(name, seconds(5), never);
    const gaveUp = new AbortController();
    const second = coord.acquire(name, seconds(5), gaveUp.signal);
    const third = coord.acquire(name, seconds(5), never);
    gaveUp.abort(new Error("no longer wanted"));
    await expect(second).rejects.toThrow("no longer wanted");
    await first.release();
    expect((await third).held()).toBe(true);
  });

  test("a holder whose lease another took away by hand is told within a third of its lease", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const name = aName();
    const lock = await coord.acquire(name, seconds(3), new AbortController().signal);
    const { items } = await coord.centre.list(`/locks/${name}/`);
    const lease = items[0]?.key.split("/").at(-1) ?? "";
    await fetch(`http://${ADDRESS}/v3/lease/revoke`, { method: "POST", body: JSON.stringify({ ID: lease }) });
    const isLost = async (): Promise<boolean> => lock.lost.aborted;
    await poll(isLost, { clock: localClock, timeout: seconds(2), every: seconds(0.02), what: "the lock to be lost" });
    expect(lock.held()).toBe(false);
  });
});

describe("[R126] instance ids", () => {
  test("the lowest free number, also after one was given back", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const [group, signal] = [aName(), new AbortController().signal];
    const [a, b, c] = [
      await coord.instanceId(group, seconds(5), signal),
      await coord.instanceId(group, seconds(5), signal),
      await coord.instanceId(group, seconds(5), signal),
    ];
    await b.release();
    const d = await coord.instanceId(group, seconds(5), signal);
    expect([a.id, b.id, c.id, d.id]).toEqual([0, 1, 2, 1]);
  });

  test("a hundred at once get a hundred different ones", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const [group, signal] = [aName(), new AbortController().signal];
    const taken = await Promise.all(Array.from({ length: 100 }, () => coord.instanceId(group, seconds(10), signal)));
    expect(new Set(taken.map(({ id }) => id)).size).toBe(100);
  });

  test("[F33] one who is cut off is told before its lease can end", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    await using coord = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`], timeout: millisOf(300) });
    const began = systemClock.monotonic();
    const id = await coord.instanceId(aName(), seconds(1), new AbortController().signal);
    proxy.hold("toServer", "toClient");
    const isLost = async (): Promise<boolean> => id.lost.aborted;
    await poll(isLost, { clock: localClock, timeout: seconds(5), every: seconds(0.01), what: "the id to be lost" });
    expect(systemClock.monotonic() - began).toBeLessThan(5000);
    proxy.clear();
  });
});
