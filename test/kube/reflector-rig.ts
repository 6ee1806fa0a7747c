import { onTestFinished } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import type { KubeLog } from "../../src/kube/log.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { openReflector, type Reflector, type ReflectorOptions } from "../../src/kube/reflector.ts";
import { createStore, type Store } from "../../src/kube/store.ts";
import type { Rng } from "../../src/lib/seams.ts";
import { millisOf } from "../../src/lib/time.ts";
import { type FakeKube, type FakeStream, ok, openFakeKube } from "../support/fake-kube-transport.ts";
import { added, aList, bookmark, WIDGETS, WIDGETS_PATH } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** No jitter: waits are as long as they get, the periodic list comes after exactly five minutes less a tenth. */
const latest: Rng = { float: () => 1 - Number.EPSILON, id: () => "" };
export const LIST = `GET ${WIDGETS_PATH}`;
export const NOW = millisOf(0);

interface Rig {
  readonly clock: ManualClock;
  readonly kube: FakeKube;
  readonly store: Store;
  readonly reflector: Reflector;
  readonly warnings: string[];
  told(): string[];
  /** Names in the store. */
  held(): string[];
  /** The watch that is read now. */
  watch(): FakeStream;
  /** Query of each watch and list that was asked for. */
  asked(): string[];
}

export function open(about: Partial<ReflectorOptions> = {}): Rig {
  const clock = new ManualClock();
  const kube = openFakeKube();
  kube.on(LIST, ({ query }) => ok(aList(query?.["limit"] === "1" ? 199 : 100, [])));
  const store = createStore();
  const warnings: string[] = [];
  const log: KubeLog = {
    info: () => undefined,
    warn: (_fields, text) => warnings.push(text),
    error: (_fields, text) => warnings.push(text),
  };
  const told: string[] = [];
  const version = ({ metadata }: KubeObject): string => `${metadata.name}@${metadata.resourceVersion}`;
  const reflector = openReflector({
    client: openClient(kube, { clock }),
    resource: WIDGETS,
    namespace: null,
    store,
    clock,
    rng: latest,
    log,
    on: {
      upsert: (object, _previous, source) => told.push(`${source} ${version(object)}`),
      gone: (object) => told.push(`gone ${version(object)}`),
      synced: () => told.push("synced"),
      rewound: () => told.push("rewound"),
    },
    ...about,
  });
  onTestFinished(() => reflector.close());
  return {
    clock,
    kube,
    store,
    reflector,
    warnings,
    told: () => told.splice(0),
    held: () => store.all().map(version).toSorted(),
    watch() {
      const stream = kube.streams.at(-1);
      if (stream === undefined) throw new Error("no watch was asked for");
      return stream;
    },
    asked: () => kube.requests.map(({ query }) => new URLSearchParams(query).toString()),
  };
}

/** Synced by a streaming list that showed these, at version 100. */
export async function synced(objects: readonly KubeObject[] = [], about: Partial<ReflectorOptions> = {}): Promise<Rig> {
  const rig = open(about);
  await rig.clock.advance(NOW);
  rig.watch().send(...objects.map(added), bookmark(100, true));
  await rig.clock.advance(NOW);
  rig.told();
  return rig;
}
