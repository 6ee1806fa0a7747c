import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { KubeError } from "../../src/kube/errors.ts";
import {
  asObject,
  compareVersions,
  isVersion,
  keyOf,
  laterVersion,
  nameOf,
  namespaceOfKey,
  pathOf,
  refOfKey,
  type Resource,
} from "../../src/kube/resource.ts";
import { aWidget, WIDGETS } from "../support/kube-objects.ts";

const PODS: Resource = { group: "", version: "v1", plural: "pods", kind: "Pod", namespaced: true };
const NODES: Resource = { group: "", version: "v1", plural: "nodes", kind: "Node", namespaced: false };

describe("[SEC-4] paths", () => {
  const at = (namespace: string | null, name: string | null) => ({ namespace, name });
  test("are made of group, version, namespace, plural, name and subresource", () => {
    expect(pathOf(PODS, at("ns", "a"), "get")).toBe("/api/v1/namespaces/ns/pods/a");
    expect(pathOf(NODES, at(null, "n1"), "get")).toBe("/api/v1/nodes/n1");
    expect(pathOf(WIDGETS, at(null, null), "list")).toBe("/apis/test.kube-runtime.local/v1/widgets");
    const status = { namespace: "ns", name: "system:a.b", subresource: "status" } as const;
    expect(pathOf(WIDGETS, status, "update")).toBe(
      "/apis/test.kube-runtime.local/v1/namespaces/ns/widgets/system%3Aa.b/status",
    );
  });

  const UNSAFE = [
    "..",
    ".",
    "a..b",
    "a/b",
    "../secrets/x",
    "%2e%2e",
    "a%2fb",
    "a?b",
    "a#b",
    "a\\b",
    "a b",
    "",
    "a\n",
    "-a",
    "ä",
    "x".repeat(254),
  ];
  test.each(UNSAFE)("refuse the name or namespace %j before anything is sent", (text) => {
    for (const place of [at("ns", text), at(text, "a")]) {
      expect(() => pathOf(PODS, place, "get")).toThrow(
        expect.objectContaining({ kind: "Invalid", reason: "UnsafePath" }),
      );
    }
  });

  test("whatever the name, a path has the segments that were meant, or there is none", () => {
    const pathFor = (name: string): string | null => {
      try {
        return pathOf(PODS, at("ns", name), "get");
      } catch (error) {
        if (error instanceof KubeError) return null;
        throw error;
      }
    };
    const tricky = fc.string({
      unit: fc.constantFrom("a", "b", ".", "%", "/", "2", "e", "f", "?", "#", ":", "-", "\\"),
      maxLength: 12,
    });
    fc.assert(
      fc.property(tricky, (name) => {
        const url = new URL(pathFor(name) ?? "/api/v1/namespaces/ns/pods/a", "https://api");
        expect([url.pathname.split("/").length, url.search, url.hash]).toEqual([7, "", ""]);
      }),
      { numRuns: 2000 },
    );
  });

  test("name what was refused, encoded and cut", () => {
    const long = `a/${"x".repeat(100)}`;
    expect(() => pathOf(PODS, at("ns", long), "delete")).toThrow(
      `delete pods ns/a%2F${"x".repeat(60)}: Invalid (UnsafePath)`,
    );
  });

  test("refuse a namespaced object without its namespace, and the other way round", () => {
    expect(() => pathOf(PODS, at(null, "a"), "get")).toThrow("UnsafePath");
    expect(() => pathOf(NODES, at("ns", "a"), "get")).toThrow("UnsafePath");
  });
});

describe("resourceVersions", () => {
  const number = fc.bigInt({ min: 0n, max: 10n ** 30n });
  test("are ordered as whole numbers of any length", () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(Math.sign(compareVersions(`${a}`, `${b}`))).toBe(a < b ? -1 : a > b ? 1 : 0);
        expect(laterVersion(`${a}`, `${b}`)).toBe(`${a > b ? a : b}`);
      }),
    );
  });
  test.each(["", "01", "-1", "1.0", "1e3", "x", " 1", "1\n", "9".repeat(65), 7, null])("%j is none", (text) => {
    expect(isVersion(text)).toBe(false);
  });
});

test("keys lead to the object and back", () => {
  expect(keyOf(aWidget("a", 1))).toBe("ns/a");
  expect(keyOf({ metadata: { name: "n1", uid: "u", resourceVersion: "1" } })).toBe("n1");
  expect(refOfKey("ns/a")).toEqual({ namespace: "ns", name: "a" });
  expect(refOfKey("n1")).toEqual({ namespace: null, name: "n1" });
  expect([namespaceOfKey("ns/a"), namespaceOfKey("n1")]).toEqual(["ns", ""]);
  expect([nameOf(PODS), nameOf(WIDGETS)]).toEqual(["pods", "widgets.test.kube-runtime.local"]);
});

test("only what has name, uid and an orderable version is an object", () => {
  const whole = aWidget("a", 1);
  expect(asObject(whole)).toBe(whole);
  const without = (field: string): unknown => ({ metadata: { ...whole.metadata, [field]: undefined } });
  expect(["name", "uid", "resourceVersion"].map((field) => asObject(without(field)))).toEqual([null, null, null]);
  expect(
    [null, 1, "a", [], {}, { metadata: 1 }, { metadata: { ...whole.metadata, namespace: 7 } }].map(asObject),
  ).toEqual(Array(7).fill(null));
});
