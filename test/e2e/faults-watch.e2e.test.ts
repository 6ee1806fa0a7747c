import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { type FaultSpace, openFaultSpace, walk } from "../support/fault-walk.ts";
import { kubeStatus } from "../support/http-proxy-faults.ts";
import type { Left } from "../support/stand-outcome.ts";
import { aSwitch, openTestStand, type TestStand } from "../support/stand.ts";
import {
  continued,
  cutMidLine,
  delay,
  double,
  garbage,
  goneEvent,
  lists,
  noBookmarks,
  noInitialEnd,
  recording,
  reorder,
  replaying,
  silence,
  type Spoil,
  spoilt,
  streamingLists,
  swallow,
  watches,
} from "../support/watch-proxy.ts";

/** What is not told is seen by the periodic list only, after five minutes: thirty times sooner. */
const LISTS_SOON = "rate:30";
/** That list would come long after the test: the watch alone must do. */
const NO_LIST = "rate:3";
const MINUTES = { defaults: { attemptTimeout: "3m", instanceTimeout: "2m" } };

let stand: TestStand;
const undisturbed = new Map<Way, Left>();
type Way = "forward" | "back";

beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: ROWS.length + 3, operator: MINUTES });
  for (const way of ["forward", "back"] as const) {
    await using space = await openFaultSpace(stand);
    await space.operator({ clock: NO_LIST });
    undisturbed.set(way, await walk(stand, space, way));
  }
});
afterAll(() => stand[Symbol.asyncDispose]());

const everyWatch =
  (spoil: Spoil) =>
  ({ proxy }: FaultSpace): readonly { readonly met: number }[] =>
    ["switchtasks", "tenantstates"].map((plural) => proxy.meet(watches(plural), spoilt(spoil)));
/** The first few watches: whoever asks again is served. */
const firstWatches =
  (spoil: Spoil, times: number) =>
  ({ proxy }: FaultSpace): readonly { readonly met: number }[] => [
    proxy.meet(watches("switchtasks"), spoilt(spoil), times),
  ];

/** What is done to the operator's watches and lists from its start on; `forward`: it goes no farther, to save a wait for a list. */
const ROWS: readonly (readonly [
  what: string,
  way: Way,
  clock: string,
  spoil: (space: FaultSpace) => readonly { readonly met: number }[],
])[] = [
  ["no change is told: the periodic list shows it", "forward", LISTS_SOON, everyWatch(swallow)],
  ["[kube-apiserver/late] every change is told 400 ms late", "back", NO_LIST, everyWatch(delay(400))],
  ["every line is told twice", "back", NO_LIST, everyWatch(double)],
  [
    "[kube-apiserver/hostile] neighbours change places: the older is ignored",
    "forward",
    LISTS_SOON,
    everyWatch(reorder(300)),
  ],
  ["[kube-apiserver/lost] cut in the middle of the second line", "back", NO_LIST, firstWatches(cutMidLine(2), 4)],
  [
    "[kube-apiserver/hostile] a line that is no JSON",
    "back",
    NO_LIST,
    firstWatches(garbage('{"type":"ADDED","obj'), 4),
  ],
  [
    "[kube-apiserver/hostile] a line of an unknown type",
    "back",
    NO_LIST,
    firstWatches(garbage('{"type":"SHRUNK"}'), 4),
  ],
  [
    "[kube-apiserver/hostile] an object without a name",
    "back",
    NO_LIST,
    firstWatches(garbage('{"type":"MODIFIED","object":{"metadata":{}}}'), 4),
  ],
  ["[kube-apiserver/silent] connected, nothing flows: dropped after 90 s", "back", LISTS_SOON, everyWatch(silence)],
  ["no bookmarks", "back", NO_LIST, everyWatch(noBookmarks)],
  ["the end of the first list is never marked: it comes in pages", "back", LISTS_SOON, everyWatch(noInitialEnd)],
  ["410 as an ERROR event, again and again", "back", NO_LIST, firstWatches(goneEvent, 4)],
  [
    "410 as the status of a watch",
    "back",
    NO_LIST,
    ({ proxy }) => [
      proxy.meet(watches("switchtasks"), spoilt(cutMidLine(1)), 3),
      proxy.meet((asked) => watches("switchtasks")(asked) && !streamingLists(asked), kubeStatus(410, "Expired"), 4),
    ],
  ],
  [
    "410 on a continuation, of pages of one object",
    "back",
    NO_LIST,
    ({ proxy }) => [
      proxy.meet(streamingLists, kubeStatus(422, "Invalid")),
      proxy.meet(lists("tenantstates"), async ({ asked, pass, answer }) =>
        answer(await pass({ path: asked.path.replace("limit=500", "limit=1") })),
      ),
      proxy.meet(continued, kubeStatus(410, "Expired"), 2),
    ],
  ],
];

/** What the log tells a person of it. */
const SAID: readonly (readonly [of: string, text: RegExp])[] = [
  ["no JSON", /a line cannot be read \(NotJson\)/],
  ["unknown type", /a line cannot be read \(UnknownType\)/],
  ["without a name", /a line cannot be read \(NotAnObject\)/],
  ["nothing flows", /no byte for 90 s/],
  ["410 as an ERROR event", /watch switchtasks\.turnout\.dev: Gone \(410 Expired\)/],
  ["410 as the status", /Gone \(410 Expired\)/],
  ["never marked", /does not mark the end of the initial events/],
];

describe.concurrent("[S29] [L4] whatever a watch or a list says, the switch ends as if nothing had been said", () => {
  test.for(ROWS)("%s", async ([what, way, clock, spoil], { expect }) => {
    await using space = await openFaultSpace(stand);
    for (const name of ["one", "two", "three"])
      await space.create({
        apiVersion: "turnout.dev/v1alpha1",
        kind: "TenantState",
        metadata: { name, namespace: space.namespace },
        spec: { tenantId: name },
      });
    const rules = spoil(space);
    const operator = await space.operator({ clock });
    expect(await walk(stand, space, way)).toEqual(undisturbed.get(way));
    expect(rules.every(({ met }) => met > 0)).toBe(true);
    expect(await readFile(operator.log, "utf8")).toMatch(SAID.find(([of]) => what.includes(of))?.[1] ?? /leading/);
  });
});

describe("[S29] history that is told again", () => {
  test("old lists and events, replayed under their old versions, wake nobody into a write or an effect", async ({
    expect,
  }) => {
    await using space = await openFaultSpace(stand);
    const kept: Buffer[] = [];
    space.proxy.meet(watches("switchtasks"), spoilt(recording(kept)));
    space.proxy.meet(watches("tenantstates"), spoilt(recording(kept)));
    const first = await space.operator();
    await walk(stand, space);
    await first.kill();
    const told = kept.length;
    expect(told).toBeGreaterThan(10);

    space.proxy.clear();
    const replayed = ["switchtasks", "tenantstates"].map((plural) =>
      space.proxy.meet(watches(plural), spoilt(replaying(kept.filter((line) => line.includes(KIND[plural] ?? ""))))),
    );
    const before = space.proxy.seen.length;
    const versions = space.versions("acme-green").length;
    const effects = (await stand.green.effects()).length + (await stand.blue.effects()).length;
    await space.operator();
    // A tenant of the operator's watch that changes brings the whole replay; the next task ends long after it.
    await space.create(aSwitch({ ...stand, namespace: space.namespace }, { name: "next", tenantId: "next" }));
    await space.over("next", "Completed");
    expect(replayed.every(({ met }) => met > 0)).toBe(true);
    expect(space.versions("acme-green")).toHaveLength(versions);
    const written = space.proxy.seen.slice(before).filter(({ method }) => method !== "GET");
    expect(written.filter(({ path }) => path.includes("acme"))).toEqual([]);
    const ours = (effect: Readonly<Record<string, unknown>>): boolean => effect["tenant"] === `${space.namespace}/next`;
    const all = [...(await stand.green.effects()), ...(await stand.blue.effects())];
    expect(all.length - all.filter(ours).length).toBe(effects);
  });
});
const KIND: Readonly<Record<string, string>> = {
  switchtasks: '"kind":"SwitchTask"',
  tenantstates: '"kind":"TenantState"',
};
