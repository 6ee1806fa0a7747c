import { describe, expect, test } from "vitest";

import { type KubeClient, openClient, type RequestSeen } from "../../src/kube/client.ts";
import { KubeError, NoAnswer } from "../../src/kube/errors.ts";
import type { KubeObject, Resource } from "../../src/kube/resource.ts";
import type { KubeRequest, Point } from "../../src/lib/seams.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { type FakeKube, ok, openFakeKube, statusAnswer } from "../support/fake-kube-transport.ts";
import { aList, aWidget, widgetPath, WIDGETS, WIDGETS_PATH } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";

const POINT: Point = { class: "api/status", subject: "ns/a" };
const REF = { namespace: "ns", name: "a" };
const ENDS_AFTER = seconds(300);

interface Rig {
  readonly kube: FakeKube;
  readonly client: KubeClient;
  readonly seen: RequestSeen[];
  readonly clock: ManualClock;
  sent(): KubeRequest;
}

function open(): Rig {
  const [kube, clock, seen] = [openFakeKube(), new ManualClock(), [] as RequestSeen[]];
  const client = openClient(kube, { clock, onRequest: (request) => seen.push(request) });
  return { kube, client, seen, clock, sent: () => kube.requests.at(-1)! };
}

const caught = (work: Promise<unknown>): Promise<KubeError> =>
  work.then(
    () => Promise.reject(new Error("it did not throw")),
    (error: unknown) => (error instanceof KubeError ? error : Promise.reject(error as Error)),
  );

describe("what is sent", () => {
  const path = widgetPath("a");
  const object = aWidget("a", 7, { spec: { colour: "red" }, status: { unknownToUs: [1, { deep: true }] } });
  const metadata = { uid: "uid-a", resourceVersion: "7", labels: { done: "true", old: null }, finalizers: [] };

  test.each<readonly [string, string, (client: KubeClient) => Promise<unknown>, Partial<KubeRequest>]>([
    ["get", `GET ${path}`, (client) => client.get(WIDGETS, REF), {}],
    [
      "replace: the object as it is",
      `PUT ${path}`,
      (client) => client.replace(WIDGETS, object, { point: POINT }),
      { body: object },
    ],
    [
      "replaceStatus",
      `PUT ${path}/status`,
      (client) => client.replaceStatus(WIDGETS, object, { point: POINT, lane: "user" }),
      { body: object, lane: "user" },
    ],
    [
      "patchMetadata: uid and resourceVersion stand in the body",
      `PATCH ${path}`,
      (client) => client.patchMetadata(WIDGETS, REF, metadata, { point: POINT }),
      { body: { metadata }, contentType: "application/merge-patch+json" },
    ],
    [
      "mergePatch",
      `PATCH ${path}`,
      (client) => client.mergePatch(WIDGETS, REF, { spec: { x: 1 } }, { point: POINT }),
      { body: { spec: { x: 1 } }, contentType: "application/merge-patch+json" },
    ],
    [
      "create: apiVersion and kind are filled in",
      `POST ${path.slice(0, -"/a".length)}`,
      (client) => client.create(WIDGETS, { metadata: REF, spec: 1 }, { point: POINT }),
      { body: { apiVersion: "test.kube-runtime.local/v1", kind: "Widget", metadata: REF, spec: 1 } },
    ],
    [
      "delete: the uid is a precondition",
      `DELETE ${path}`,
      (client) => client.delete(WIDGETS, REF, { uid: "uid-a", resourceVersion: "7" }, { point: POINT }),
      { body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid: "uid-a", resourceVersion: "7" } } },
    ],
  ])("%s", async (_what, what, call, expected) => {
    const rig = open();
    rig.kube.on(what, ok(object));
    await call(rig.client);
    expect(rig.sent()).toMatchObject({ ...expected, timeout: seconds(15) });
    expect(rig.sent().point).toEqual(what.startsWith("GET") ? undefined : POINT);
  });

  test("lane, signal and timeout are the caller's", async () => {
    const rig = open();
    rig.kube.on(`GET ${path}`, ok(object));
    const { signal } = new AbortController();
    await rig.client.get(WIDGETS, REF, { lane: "lease", signal, timeout: seconds(3) });
    expect(rig.sent()).toMatchObject({ lane: "lease", timeout: seconds(3) });
    expect(rig.sent().signal).toBe(signal);
  });

  test("cluster-scoped and core objects have their own paths", async () => {
    const nodes: Resource = { group: "", version: "v1", plural: "nodes", kind: "Node", namespaced: false };
    const rig = open();
    rig.kube.on("POST /api/v1/nodes", ok(aWidget("n", 1)));
    await rig.client.create(nodes, { metadata: { name: "n" } }, { point: POINT });
    expect(rig.sent().body).toMatchObject({ apiVersion: "v1", kind: "Node" });
  });
});

describe("what comes back", () => {
  test("[S32] is the object as it was read, nothing stripped", async () => {
    const rig = open();
    const raw = {
      ...aWidget("a", 7, { metadata: { managedFields: [{ manager: "x" }] } }),
      fieldOfANewerRelease: { deep: [null, 1] },
    };
    rig.kube.on(`GET ${widgetPath("a")}`, ok(raw));
    expect(await rig.client.get(WIDGETS, REF)).toBe(raw);
  });

  test("is classified: refusals by status and reason, absent answers by what the transport knows", async () => {
    const rig = open();
    const what = `PUT ${widgetPath("a")}/status`;
    const write = (): Promise<KubeError> =>
      caught(rig.client.replaceStatus(WIDGETS, aWidget("a", 7), { point: POINT }));
    rig.kube.on(
      what,
      statusAnswer(409, "Conflict"),
      statusAnswer(503, "X"),
      new NoAnswer("Refused", "ECONNREFUSED"),
      new NoAnswer("Ambiguous", "Timeout"),
    );
    const errors = [await write(), await write(), await write(), await write()];
    expect(errors.map(({ kind }) => kind)).toEqual(["Conflict", "Ambiguous", "Refused", "Ambiguous"]);
    expect(errors[0]?.message).toBe("update widgets.test.kube-runtime.local/status ns/a: Conflict (409 Conflict)");
    expect(errors[2]?.message).toBe("update widgets.test.kube-runtime.local/status ns/a: Refused (ECONNREFUSED)");
  });

  test("that is no object is a bad answer to a read, and leaves a write unknown", async () => {
    const rig = open();
    rig.kube.on(`GET ${widgetPath("a")}`, ok({ kind: "Widget" }));
    rig.kube.on(`PUT ${widgetPath("a")}`, ok(null));
    expect((await caught(rig.client.get(WIDGETS, REF))).kind).toBe("BadAnswer");
    expect((await caught(rig.client.replace(WIDGETS, aWidget("a", 7), { point: POINT }))).kind).toBe("Ambiguous");
  });

  test("[SEC-4] that is a redirect is a bad answer", async () => {
    const rig = open();
    rig.kube.on(`GET ${widgetPath("a")}`, { status: 307, headers: { location: "https://elsewhere/" }, body: null });
    expect(await caught(rig.client.get(WIDGETS, REF))).toMatchObject({ kind: "BadAnswer", status: 307 });
  });

  test("a bug of the transport stays what it is", async () => {
    const rig = open();
    await expect(rig.client.get(WIDGETS, REF)).rejects.toThrow("no answer scripted");
  });
});

describe("lists", () => {
  test("one page: items, version, where it goes on; selectors and bounds are sent as given", async () => {
    const rig = open();
    rig.kube.on(`GET ${WIDGETS_PATH}`, ok(aList(100, [aWidget("a", 7)], "next")));
    const options = {
      namespace: null,
      labelSelector: "a=b",
      fieldSelector: "c=d",
      limit: 3,
      resourceVersion: "0",
      resourceVersionMatch: "NotOlderThan",
    } as const;
    expect(await rig.client.list(WIDGETS, options)).toEqual({
      items: [aWidget("a", 7)],
      resourceVersion: "100",
      continue: "next",
    });
    const query = {
      labelSelector: "a=b",
      fieldSelector: "c=d",
      limit: "3",
      resourceVersion: "0",
      resourceVersionMatch: "NotOlderThan",
    };
    expect(rig.sent()).toMatchObject({ query, answer: "list" });
  });

  test("an empty list may be null", async () => {
    const rig = open();
    rig.kube.on(
      "GET /apis/test.kube-runtime.local/v1/namespaces/ns/widgets",
      ok({ metadata: { resourceVersion: "5", continue: "" }, items: null }),
    );
    expect(await rig.client.list(WIDGETS, { namespace: "ns" })).toEqual({
      items: [],
      resourceVersion: "5",
      continue: null,
    });
  });

  test.each([
    [null],
    ["text"],
    [{}],
    [{ metadata: {}, items: [] }],
    [{ metadata: { resourceVersion: "5" }, items: {} }],
    [aList(5, [{} as KubeObject])],
  ])("%j is no list", async (body) => {
    const rig = open();
    rig.kube.on(`GET ${WIDGETS_PATH}`, ok(body));
    expect(await caught(rig.client.list(WIDGETS, { namespace: null }))).toMatchObject({
      kind: "BadAnswer",
      reason: "NotAList",
    });
  });

  async function pagesOf(rig: Rig): Promise<string[]> {
    const pages: string[] = [];
    for await (const { items, restarted } of rig.client.listAll(WIDGETS, { namespace: null })) {
      pages.push(`${restarted ? "again: " : ""}${items.map(({ metadata }) => metadata.name).join(",")}`);
    }
    return pages;
  }

  test("all pages of 500, one after the other", async () => {
    const rig = open();
    rig.kube.on(
      `GET ${WIDGETS_PATH}`,
      ok(aList(100, [aWidget("a", 1)], "t1")),
      ok(aList(100, [aWidget("b", 2)], "t2")),
      ok(aList(100, [aWidget("c", 3)])),
    );
    expect(await pagesOf(rig)).toEqual(["a", "b", "c"]);
    expect(rig.kube.requests.map(({ query }) => [query?.limit, query?.continue])).toEqual([
      ["500", undefined],
      ["500", "t1"],
      ["500", "t2"],
    ]);
  });

  test("[L4] 410 on a continuation begins the list again and says so; what never ends is given up", async () => {
    const rig = open();
    const [first, gone] = [ok(aList(100, [aWidget("a", 1)], "t1")), statusAnswer(410, "Expired")];
    rig.kube.on(`GET ${WIDGETS_PATH}`, first, gone, first, ok(aList(100, [aWidget("b", 2)])));
    expect(await pagesOf(rig)).toEqual(["a", "again: a", "b"]);
    rig.kube.on(`GET ${WIDGETS_PATH}`, ({ query }) => (query?.continue === undefined ? first : gone));
    expect((await caught(pagesOf(rig))).kind).toBe("Gone");
  });

  test("410 on the first page is an error: there is nothing to begin again", async () => {
    const rig = open();
    rig.kube.on(`GET ${WIDGETS_PATH}`, statusAnswer(410, "Expired"));
    expect((await caught(pagesOf(rig))).kind).toBe("Gone");
    expect(rig.kube.requests).toHaveLength(1);
  });
});

describe("watches", () => {
  test("a refused one is an error with the server's reason, also where the answer is no Status or endless", async () => {
    const rig = open();
    rig.kube.onStream(
      statusAnswer(410, "Expired"),
      { status: 500, body: "<html>" },
      { status: 403, body: "x".repeat(100_000) },
    );
    const watch = (): Promise<KubeError> =>
      caught(rig.client.watch(WIDGETS, { namespace: null, resourceVersion: "5", endsAfter: ENDS_AFTER }));
    expect(await watch()).toMatchObject({ kind: "Gone", status: 410, reason: "Expired", verb: "watch" });
    expect(await watch()).toMatchObject({ kind: "Ambiguous", status: 500, reason: null });
    expect(await watch()).toMatchObject({ kind: "Forbidden", reason: null });
  });

  test("ask for bookmarks, an end, and either a version to go on from or the objects there are", async () => {
    const rig = open();
    const always = { watch: "true", allowWatchBookmarks: "true", timeoutSeconds: "300" };
    await rig.client.watch(WIDGETS, {
      namespace: null,
      labelSelector: "!a",
      resourceVersion: "5",
      endsAfter: ENDS_AFTER,
    });
    expect(rig.sent().query).toEqual({ ...always, labelSelector: "!a", resourceVersion: "5" });
    await rig.client.watch(WIDGETS, { namespace: null, resourceVersion: null, endsAfter: ENDS_AFTER });
    const first = { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" };
    expect(rig.sent().query).toEqual({ ...always, ...first });
  });

  test("an accepted one gives its chunks", async () => {
    const rig = open();
    const { chunks } = await rig.client.watch(WIDGETS, {
      namespace: "ns",
      resourceVersion: "5",
      endsAfter: millisOf(1500),
    });
    rig.kube.streams[0]?.raw("hello");
    rig.kube.streams[0]?.end();
    const read: string[] = [];
    for await (const chunk of chunks) read.push(Buffer.from(chunk).toString());
    expect([read, rig.sent().query?.timeoutSeconds]).toEqual([["hello"], "2"]);
  });
});

test("each request is counted by verb, resource with subresource, and code or kind, with the time it took", async () => {
  const rig = open();
  rig.kube.on(`GET ${widgetPath("a")}`, async () => {
    await rig.clock.advance(seconds(2));
    return ok(aWidget("a", 7));
  });
  rig.kube.on(`PUT ${widgetPath("a")}/status`, statusAnswer(409, "Conflict"), new NoAnswer("Ambiguous", "Timeout"));
  await rig.client.get(WIDGETS, REF);
  for (let i = 0; i < 2; i += 1) await caught(rig.client.replaceStatus(WIDGETS, aWidget("a", 7), { point: POINT }));
  const name = "widgets.test.kube-runtime.local";
  expect(rig.seen).toEqual([
    { verb: "get", resource: name, code: "200", took: seconds(2) },
    { verb: "update", resource: `${name}/status`, code: "409", took: 0 },
    { verb: "update", resource: `${name}/status`, code: "Ambiguous", took: 0 },
  ]);
});
