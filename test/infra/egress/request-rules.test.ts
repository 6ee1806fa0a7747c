import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isAllowedKey } from "../../../src/infra/egress/key-rules.ts";
import { isSafePath, requestRefusal } from "../../../src/infra/egress/request-rules.ts";
import { companionKey } from "../../../src/lib/companion-key.ts";

const unit = fc.constantFrom(
  "/",
  ".",
  "%2e",
  "%2E",
  "%252e",
  "%2f",
  "%5c",
  "\\",
  ";",
  "a",
  "?",
  "%",
  "％",
  "..",
  "%00",
  " ",
);
const mess = fc.array(unit, { maxLength: 12 }).map((parts) => `/${parts.join("")}`);

/** What the laxest server on the way might make of a path: everything decoded until nothing changes. */
function asRead(path: string): string[] {
  let text = path.split("?", 1)[0] ?? "";
  for (let i = 0; i < 20; i += 1) {
    try {
      text = decodeURIComponent(text);
    } catch {
      break;
    }
  }
  return text
    .replaceAll("\\", "/")
    .split("/")
    .map((segment) => segment.split(";", 1)[0] ?? "");
}

describe("[SEC-24] paths", () => {
  test("no path that passes is read as one with a dot segment by anybody", () => {
    fc.assert(
      fc.property(mess, (path) => {
        const segments = isSafePath(path) ? asRead(path) : [];
        expect(segments.filter((segment) => segment === "." || segment === "..")).toEqual([]);
      }),
      { numRuns: 20_000 },
    );
  });

  test("a value that was percent-encoded passes and adds no segment, unless it is a dot segment itself", () => {
    const value = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
      .filter((text) => !/[\p{Cc}\p{Cs}\\/]/u.test(text));
    fc.assert(
      fc.property(value, (text) => {
        const path = `/turnout/v1/tenants/${encodeURIComponent(text)}`;
        const dots = /^\.{1,2}(?:;|$)/.test(text.normalize("NFKC")) || /[/\\]/.test(text.normalize("NFKC"));
        const again = asRead(path).length !== 5 || decodesFurther(text);
        expect(isSafePath(path) || dots || again).toBe(true);
        expect(path.split("/")).toHaveLength(5);
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    "",
    "*",
    "state",
    "state/a",
    "127.0.0.1:80",
    "http:/state",
    "//state",
    "/a//b",
    "/%2f",
    "/a%2f",
    "/./",
    "/..",
    "/a/..;x",
    "/\\a",
    "/%5c",
  ])("%j is no path", (path) => {
    expect(isSafePath(path)).toBe(false);
  });

  test.each(["/", "/a", "/a/", "/a.b", "/...", "/.a", "/a%2Fb", "/100%25", "/%2525252541", "/a?b=/../", "/a;b=c"])(
    "%j is one",
    (path) => {
      expect(isSafePath(path)).toBe(true);
    },
  );

  test("[SEC-43] 100 KiB of anything is refused without thinking long", () => {
    const texts = [
      "/".repeat(102_400),
      `/${"%25".repeat(34_000)}`,
      `/${".".repeat(102_400)}`,
      `/${"a;".repeat(51_200)}`,
      `/${"%".repeat(102_400)}`,
    ];
    expect(texts.filter((text) => isSafePath(text))).toEqual([]);
  });
});

describe("[SEC-25] requests", () => {
  const allow = { methods: ["GET", "PUT"], paths: ["/a/", "/b"] } as const;
  test.each<readonly [method: string, path: string, rule: string | null]>([
    ["GET", "/a/", null],
    ["PUT", "/a/x/y", null],
    ["GET", "/b", null],
    ["GET", "/b/x", null],
    ["GET", "/b?x=/../", null],
    ["GET", "/bc", "path"],
    ["GET", "/a", "path"],
    ["GET", "/", "path"],
    ["GET", "/A/", "path"],
    ["POST", "/a/", "method"],
    ["put", "/a/", "method"],
  ])("%s %s: %s", (method, path, rule) => {
    expect(requestRefusal({ method, path, headers: {} }, { allow })).toBe(rule);
  });

  test("without allow any plain request passes", () => {
    expect(
      requestRefusal(
        { method: "DELETE", path: "/x", headers: { "X-A": "b", Accept: "text/plain" } },
        {
          allow: undefined,
        },
      ),
    ).toBeNull();
  });
});

describe("[SEC-25] keys", () => {
  test.each([
    ["tenant:acme", true],
    ["tenant:", true],
    ["tenant", false],
    ["Tenant:acme", false],
    ["other", false],
    ["", false],
    ["turnout:{tenant:acme}:tenant:acme", false],
    [`tenant:${"x".repeat(512)}`, false],
    ["tenant:\ud800", false],
  ])("%j: %s", (key, allowed) => {
    expect(isAllowedKey(key, { allow: { keys: ["tenant:"] } })).toBe(allowed);
  });

  test("no policy opens a record of ours", () => {
    const key = fc.string({ maxLength: 40 });
    fc.assert(
      fc.property(key, (text) => {
        expect(isAllowedKey(companionKey(text), { allow: undefined })).toBe(false);
        expect(isAllowedKey(companionKey(text), { allow: { keys: ["t", "turnout:", companionKey(text)] } })).toBe(
          false,
        );
      }),
    );
  });

  test.each([
    ["tenant:acme", "turnout:{tenant:acme}:tenant:acme"],
    ["{acme}:route", "turnout:{acme}:{acme}:route"],
    ["a{b}c{d}", "turnout:{b}:a{b}c{d}"],
    ["a{}b", "turnout:{a{}b}:a{}b"],
    ["a}b{c", "turnout:{a}b{c}:a}b{c"],
  ])("the record beside %s is %s", (key, record) => {
    expect(companionKey(key)).toBe(record);
  });
});

/** The value holds what decodes to something else again, which some server might do. */
function decodesFurther(text: string): boolean {
  try {
    return decodeURIComponent(text) !== text;
  } catch {
    return false;
  }
}
