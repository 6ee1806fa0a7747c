import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";

import type { KubeClient, WatchOptions } from "../../src/kube/client.ts";
import type { KubeLog } from "../../src/kube/log.ts";
import { openReflector, type Reflector, type ReflectorOptions } from "../../src/kube/reflector.ts";
import { type KubeObject, refOf } from "../../src/kube/resource.ts";
import { createStore, type Store } from "../../src/kube/store.ts";
import type { Rng } from "../../src/lib/seams.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import {
  aNamespace,
  createScratch,
  openApiProxy,
  openKubeRig,
  openScratchKind,
  POINT,
  type Scratch,
  type ScratchKind,
} from "../support/kube-rig.ts";
import { BOTH, type TcpProxy } from "../support/tcp-proxy.ts";
import { wallClock } from "../support/wall-clock.ts";

const { KUBECONFIG_ADMIN: admin = "" } = inject("env");
/** Waits of a tenth of what they may be: a broken watch is begun again within a tenth of a second. */
const eager: Rng = { float: () => 0.1, id: () => "" };

let kind: ScratchKind;
beforeAll(async () => {
  kind = await openScratchKind(admin);
});
afterAll(() => kind.remove());

interface Rig extends Scratch {
  readonly store: Store;
  readonly reflector: Reflector;
  readonly told: string[];
  readonly warnings: string[];
  /** What the reflector asked for. */
  readonly asked: WatchOptions[];
  create(name: string, spec?: unknown): Promise<KubeObject>;
  patch(name: string, patch: unknown): Promise<KubeObject>;
  remove(object: KubeObject): Promise<void>;
  /** `name:colour` of what the store holds. */
  held(): string[];
}

interface About extends Partial<ReflectorOptions> {
  readonly proxy?: TcpProxy;
  /** Changes what the reflector asks of the watch. */
  readonly meddle?: (options: WatchOptions, n: number) => WatchOptions;
  /** Before the reflector opens. */
  readonly before?: (scratch: Scratch) => Promise<unknown>;
}

async function open({ proxy, meddle = (options) => options, before, ...about }: About = {}): Promise<Rig> {
  const { client } = openKubeRig({ kubeconfig: admin });
  const { resource } = kind;
  const namespace = await aNamespace(client, "reflector");
  await before?.({ client, resource, namespace });
  const watched = proxy === undefined ? client : openKubeRig({ kubeconfig: admin, proxy }).client;
  const asked: WatchOptions[] = [];
  const spied: KubeClient = Object.assign(Object.create(watched) as KubeClient, {
    list: watched.list.bind(watched),
    listAll: watched.listAll.bind(watched),
    watch: (of: typeof resource, options: WatchOptions) => watched.watch(of, meddle(options, asked.push(options))),
  });
  const [told, warnings]: [string[], string[]] = [[], []];
  const log: KubeLog = {
    info: () => undefined,
    warn: (_fields, text) => warnings.push(text),
    error: (_fields, text) => warnings.push(text),
  };
  const store = createStore();
  const label = ({ metadata, spec }: KubeObject): string =>
    `${metadata.name}:${(spec as { colour?: string }).colour ?? ""}`;
  const reflector = openReflector({
    client: spied,
    resource,
    namespace,
    store,
    clock: wallClock,
    rng: eager,
    log,
    on: {
      upsert: (object, _previous, source) => told.push(`${source} ${label(object)}`),
      gone: (object) => told.push(`gone ${label(object)}`),
      synced: () => told.push("synced"),
      rewound: () => told.push("rewound"),
    },
    ...about,
  });
  onTestFinished(() => reflector.close());
  await reflector.whenSynced(AbortSignal.timeout(10_000));
  const scratch = { client, resource, namespace };
  return {
    ...scratch,
    store,
    reflector,
    told,
    warnings,
    asked,
    create: (name, spec = {}) => createScratch(scratch, name, spec),
    patch: (name, patch) => client.mergePatch(resource, { namespace, name }, patch, { point: POINT }),
    remove: (object) => client.delete(resource, refOf(object), { uid: object.metadata.uid }, { point: POINT }),
    held: () => store.all().map(label).toSorted(),
  };
}

async function holds(rig: Rig, ...expected: readonly string[]): Promise<void> {
  const held = await until(
    () => rig.held(),
    (now) => now.join() === expected.join(),
    15_000,
  );
  expect(held).toEqual(expected);
}

const before = async (scratch: Scratch): Promise<void> => {
  for (const [name, colour] of [
    ["a", "red"],
    ["b", "blue"],
  ] as const)
    await createScratch(scratch, name, { colour });
};

describe("following", () => {
  test("a streaming list brings what is there, the same connection what comes, changes and goes", async () => {
    const rig = await open({ before });
    expect([rig.told.toSorted(), rig.held()]).toEqual([
      ["list a:red", "list b:blue", "synced"],
      ["a:red", "b:blue"],
    ]);
    const c = await rig.create("c", { colour: "green" });
    await rig.patch("c", { spec: { colour: "white" } });
    await rig.remove(c);
    await until(
      () => rig.told.slice(3),
      ({ length }) => length === 3,
    );
    expect([rig.told.slice(3), rig.asked.length]).toEqual([["watch c:green", "watch c:white", "gone c:white"], 1]);
    expect(rig.store.all().some(({ metadata }) => "managedFields" in metadata)).toBe(false);
  });

  test("[S13] deleted and made again under the same name, it is one object gone and another new", async () => {
    const rig = await open({ before });
    const [a] = rig.store.all().filter(({ metadata }) => metadata.name === "a");
    await rig.remove(a!);
    const again = await rig.create("a", { colour: "young" });
    await holds(rig, "a:young", "b:blue");
    expect([rig.told.slice(3), rig.store.get(`${rig.namespace}/a`)?.metadata.uid]).toEqual([
      ["gone a:red", "watch a:young"],
      again.metadata.uid,
    ]);
  });

  test("our own write, fed in at once, wakes nobody when the watch brings it", async () => {
    const rig = await open({ before });
    const written = await rig.patch("a", { spec: { colour: "ours" } });
    // Whoever was first, watch or answer: the store holds it, and what it told it told once.
    rig.store.refresh(written);
    await rig.create("sentinel");
    await holds(rig, "a:ours", "b:blue", "sentinel:");
    expect(rig.told.filter((line) => line === "watch a:ours").length).toBeLessThanOrEqual(1);
  });

  test("pages, where the server refuses the streaming list", async () => {
    const rig = await open({
      before,
      // Refused for another reason than a server without the feature would have, but as it would: before anything is sent.
      meddle: (options, n) =>
        n === 1 ? { ...options, resourceVersion: null, fieldSelector: "no.such.field=1" } : options,
    });
    expect([rig.held(), rig.warnings.length, rig.asked.map(({ resourceVersion }) => resourceVersion === null)]).toEqual(
      [["a:red", "b:blue"], 1, [true, false]],
    );
    await rig.create("c", { colour: "green" });
    await holds(rig, "a:red", "b:blue", "c:green");
  });
});

test("[L4] a version that is too old for the real server is told as 410 and leads to a new list", async () => {
  const proxy = await openApiProxy(admin);
  const meddle = (options: WatchOptions, n: number): WatchOptions =>
    n === 2 ? { ...options, resourceVersion: "1" } : options;
  const rig = await open({ before, proxy, meddle });
  proxy.cut();
  await rig.patch("a", { spec: { colour: "changed" } });
  await holds(rig, "a:changed", "b:blue");
  expect(rig.warnings).toEqual([expect.any(String), expect.stringMatching(/Gone \(410 Expired\)/)]);
  expect(rig.asked.map(({ resourceVersion }) => resourceVersion === null)).toEqual([true, false, true]);
});

describe("the line is", () => {
  test("cut: the watch goes on from where it was, and what happened meanwhile is told once", async () => {
    const proxy = await openApiProxy(admin);
    const rig = await open({ before, proxy });
    proxy.refuse();
    proxy.cut();
    await rig.create("c", { colour: "green" });
    const [a] = rig.store.all().filter(({ metadata }) => metadata.name === "a");
    await rig.remove(a!);
    await until(
      () => rig.warnings.length,
      (n) => n >= 2,
    );
    proxy.clear();
    await holds(rig, "b:blue", "c:green");
    expect(rig.told.slice(3)).toEqual(["watch c:green", "gone a:red"]);
    expect(rig.asked.slice(1).every(({ resourceVersion }) => resourceVersion !== null)).toBe(true);
  });

  test("cut in the middle of a line: nothing of it is lost", async () => {
    const proxy = await openApiProxy(admin);
    const rig = await open({ before, proxy });
    for (const bytes of [1, 50, 300]) {
      proxy.cutAfter(bytes, "toClient");
      await rig.patch("a", { spec: { colour: `after-${bytes}` } });
      await until(
        () => proxy.open,
        (n) => n === 0,
      );
      proxy.clear();
      await holds(rig, `a:after-${bytes}`, "b:blue");
    }
  });

  test("frozen: after the silence it is dropped and begun again", async () => {
    const proxy = await openApiProxy(admin);
    const rig = await open({ before, proxy, limits: { silence: seconds(1) } });
    proxy.hold(...BOTH);
    await rig.patch("a", { spec: { colour: "meanwhile" } });
    await until(
      () => rig.warnings,
      (warnings) => warnings.some((text) => text.includes("no byte for 1 s")),
    );
    proxy.clear();
    await holds(rig, "a:meanwhile", "b:blue");
    expect(rig.reflector.age()).toBeLessThan(seconds(5));
  });

  test("spoilt by a flipped bit: TLS notices, the watch begins again", async () => {
    const proxy = await openApiProxy(admin);
    const rig = await open({ before, proxy });
    proxy.flip(20, "toClient");
    await rig.patch("a", { spec: { colour: "true" } });
    await until(
      () => rig.warnings.length,
      (n) => n >= 1,
    );
    proxy.clear();
    await holds(rig, "a:true", "b:blue");
  });
});

describe("[L4] with every event lost", () => {
  test("the periodic list, beside the watch, shows what was created, changed and deleted", async () => {
    const rig = await open({
      before,
      // It watches what never is; the lists are asked for as they should be.
      meddle: (options) =>
        options.resourceVersion === null ? options : { ...options, fieldSelector: "spec.colour=never" },
      limits: { relistEvery: seconds(1) },
    });
    const proxied = rig.asked.length;
    expect(proxied).toBe(1);
    await rig.create("c", { colour: "green" });
    await holds(rig, "a:red", "b:blue", "c:green");
    const relists = rig.reflector.counts.relists;
    await until(
      () => rig.reflector.counts.relists,
      (n) => n > relists,
    );
    expect(rig.reflector.counts.failures).toBe(0);
  });
});

describe("selections", () => {
  test("an object enters as new and leaves as deleted with its old content, under a new version: proof of nothing", async () => {
    const rig = await open({ before, fieldSelector: "spec.colour=red" });
    expect(rig.held()).toEqual(["a:red"]);
    await rig.patch("b", { spec: { colour: "red" } });
    await holds(rig, "a:red", "b:red");
    const left = await rig.patch("a", { spec: { colour: "blue" } });
    await holds(rig, "b:red");
    expect(rig.told.slice(2)).toEqual(["watch b:red", "gone a:red"]);
    expect((await rig.client.get(rig.resource, refOf(left))).metadata.uid).toBe(left.metadata.uid);
    await rig.patch("a", { spec: { colour: "red" } });
    await holds(rig, "a:red", "b:red");
  });

  test("by a field of the status and by an absent label alike", async () => {
    const rig = await open({ before, fieldSelector: "status.phase=Completed", labelSelector: "!done" });
    expect(rig.held()).toEqual([]);
    const b = await rig.client.get(rig.resource, { namespace: rig.namespace, name: "b" });
    const completed = await rig.client.replaceStatus(
      rig.resource,
      { ...b, status: { phase: "Completed" } },
      { point: POINT },
    );
    await holds(rig, "b:blue");
    const { uid, resourceVersion } = completed.metadata;
    await rig.client.patchMetadata(
      rig.resource,
      refOf(b),
      { uid, resourceVersion, labels: { done: "true" } },
      { point: POINT },
    );
    await holds(rig);
    expect(rig.told).toEqual(["synced", "watch b:blue", "gone b:blue"]);
  });

  test("our own write that leaves the selection, fed in before the watch tells, is dropped when it does", async () => {
    const rig = await open({ before, labelSelector: "!done" });
    const a = await rig.client.get(rig.resource, { namespace: rig.namespace, name: "a" });
    const { uid, resourceVersion } = a.metadata;
    rig.store.refresh(
      await rig.client.patchMetadata(
        rig.resource,
        refOf(a),
        { uid, resourceVersion, labels: { done: "true" } },
        { point: POINT },
      ),
    );
    await holds(rig, "b:blue");
  });
});

test("[S29] a watch replayed from the beginning changes nothing", async () => {
  let first = "";
  const proxy = await openApiProxy(admin);
  const rig = await open({
    before,
    proxy,
    meddle: (options, n) => {
      if (n === 2) first = options.resourceVersion ?? "";
      return n >= 3 && first !== "" ? { ...options, resourceVersion: first } : options;
    },
  });
  proxy.cut();
  await until(
    () => rig.asked.length,
    (n) => n === 2,
  );
  const c = await rig.create("c", { colour: "green" });
  await rig.patch("a", { spec: { colour: "changed" } });
  await rig.remove(c);
  await holds(rig, "a:changed", "b:blue");
  const told = [...rig.told];
  proxy.cut();
  await rig.create("sentinel");
  await holds(rig, "a:changed", "b:blue", "sentinel:");
  expect([rig.told.slice(told.length), rig.reflector.counts.stale]).toEqual([["watch sentinel:"], 3]);
});

test("the server ends the stream after the time that was asked for; the watch goes on without a failure", async () => {
  const rig = await open({ before, meddle: (options) => ({ ...options, endsAfter: millisOf(1000) }) });
  await until(
    () => rig.asked.length,
    (n) => n >= 3,
    15_000,
  );
  expect([rig.reflector.counts.failures, rig.asked.every(({ endsAfter }) => endsAfter >= minutes(5))]).toEqual([
    0,
    true,
  ]);
  await rig.create("c", { colour: "green" });
  await holds(rig, "a:red", "b:blue", "c:green");
});
