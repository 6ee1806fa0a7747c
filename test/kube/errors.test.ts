import { describe, expect, test } from "vitest";

import {
  type Asked,
  fromAnswer,
  fromNoAnswer,
  fromStatusObject,
  isAlreadyExists,
  isAmbiguous,
  isConflict,
  isForbidden,
  isGone,
  isInvalid,
  isKind,
  isNamespaceTerminating,
  isNotFound,
  isRefused,
  isUnavailable,
  KubeError,
  type KubeErrorKind,
  NoAnswer,
} from "../../src/kube/errors.ts";
import { seconds } from "../../src/lib/time.ts";

const ASKED: Asked = { verb: "update", resource: "widgets.test.local/status", target: "prod/acme" };
const answer = (status: number, body: unknown = null, headers = {}): KubeError =>
  fromAnswer(ASKED, { status, headers, body });
const status = (reason: string, more = {}): unknown => ({
  kind: "Status",
  reason,
  message: "the server's own words",
  ...more,
});

const ROWS: readonly (readonly [code: number, reason: string | null, kind: KubeErrorKind])[] = [
  [409, "Conflict", "Conflict"],
  [409, "AlreadyExists", "AlreadyExists"],
  [409, null, "Conflict"],
  [409, "Strange", "Conflict"],
  [409, "constructor", "Conflict"],
  [404, "AlreadyExists", "NotFound"],
  [404, "NotFound", "NotFound"],
  [410, "Gone", "Gone"],
  [410, "Expired", "Gone"],
  [410, null, "Gone"],
  [422, "Invalid", "Invalid"],
  [400, "BadRequest", "Invalid"],
  [405, "MethodNotAllowed", "Invalid"],
  [415, "UnsupportedMediaType", "Invalid"],
  [403, "Forbidden", "Forbidden"],
  [401, "Unauthorized", "Unauthorized"],
  [429, "TooManyRequests", "Throttled"],
  [413, "RequestEntityTooLarge", "TooLarge"],
  [408, null, "Ambiguous"],
  [500, "InternalError", "Ambiguous"],
  [500, "AlreadyExists", "Ambiguous"],
  [503, "ServiceUnavailable", "Ambiguous"],
  [504, "Timeout", "Ambiguous"],
  [301, null, "BadAnswer"],
  [307, "Conflict", "BadAnswer"],
];

describe("an answer is classified by its status, and 409 and 410 by the reason", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(25));
  test.each(ROWS)("%s %s is %s", (code, reason, kind) => {
    const error = answer(code, reason === null ? "<html>" : status(reason));
    expect([error.kind, error.status, error.reason]).toEqual([kind, code, reason]);
  });
});

test("the message says verb, resource, object, kind and code", () => {
  expect(answer(409, status("Conflict")).message).toBe(
    "update widgets.test.local/status prod/acme: Conflict (409 Conflict)",
  );
  expect(answer(502).message).toBe("update widgets.test.local/status prod/acme: Ambiguous (502)");
});

test("the API server's own words are shown for Invalid and Forbidden only, on one line, cut at 512 characters", () => {
  expect(answer(422, status("Invalid")).message).toContain(": the server's own words");
  expect(answer(403, status("Forbidden")).message).toContain(": the server's own words");
  expect(answer(409, status("Conflict")).message).not.toContain("words");
  expect(answer(500, status("InternalError")).message).not.toContain("words");
  const long = answer(422, status("Invalid", { message: `a\u001b[31m\n${"x".repeat(5000)}` })).message;
  expect(long).toHaveLength("update widgets.test.local/status prod/acme: Invalid (422 Invalid): ".length + 512 - 0);
  expect(/\p{Cc}/u.test(long)).toBe(false);
});

test("a reason that is no word, and a body that is no Status, tell nothing", () => {
  for (const body of [
    null,
    7,
    "text",
    [],
    { reason: 7 },
    { reason: "two words" },
    { reason: "x".repeat(65) },
    { details: { causes: {} } },
  ]) {
    const error = answer(409, body);
    expect([error.kind, error.reason, error.causes]).toEqual(["Conflict", null, []]);
  }
});

test("Retry-After is read as seconds, bounded, and left out where it is no number", () => {
  const after = (value: string): unknown => answer(429, null, { "retry-after": value }).retryAfter;
  expect([after("3"), after("999999"), after("Wed, 21 Oct 2026 07:28:00 GMT"), after("-1")]).toEqual([
    seconds(3),
    seconds(300),
    null,
    null,
  ]);
  expect(answer(429).retryAfter).toBeNull();
});

test("a Status inside a watch event is classified like an answer; without a code it is ambiguous", () => {
  expect(isGone(fromStatusObject(ASKED, { kind: "Status", code: 410, reason: "Expired" }))).toBe(true);
  expect(isAmbiguous(fromStatusObject(ASKED, "nonsense"))).toBe(true);
});

test("what got no answer keeps its kind and its short code", () => {
  const cause = new NoAnswer("Refused", "ECONNREFUSED");
  const error = fromNoAnswer(ASKED, cause);
  expect([error.kind, error.reason, error.status, error.cause]).toEqual(["Refused", "ECONNREFUSED", null, cause]);
  expect(error.message).toBe("update widgets.test.local/status prod/acme: Refused (ECONNREFUSED)");
});

test("each predicate accepts its own kinds and nothing that is no KubeError", () => {
  const predicates = {
    isConflict,
    isAlreadyExists,
    isNotFound,
    isGone,
    isInvalid,
    isForbidden,
    isAmbiguous,
    isRefused,
    isUnavailable,
  };
  const accepted = (error: unknown): string[] =>
    Object.entries(predicates).flatMap(([name, accepts]) => (accepts(error) ? [name] : []));
  const of = (kind: KubeErrorKind): KubeError => new KubeError(ASKED, { kind, status: null, reason: null });
  expect(accepted(of("Conflict"))).toEqual(["isConflict"]);
  expect(accepted(of("AlreadyExists"))).toEqual(["isAlreadyExists"]);
  expect(accepted(of("NotFound"))).toEqual(["isNotFound"]);
  expect(accepted(of("Gone"))).toEqual(["isGone"]);
  expect(accepted(of("Invalid"))).toEqual(["isInvalid"]);
  expect(accepted(of("Forbidden"))).toEqual(["isForbidden"]);
  expect(accepted(of("Ambiguous"))).toEqual(["isAmbiguous", "isUnavailable"]);
  expect(accepted(of("Refused"))).toEqual(["isRefused", "isUnavailable"]);
  expect(accepted(of("Throttled"))).toEqual(["isUnavailable"]);
  expect(accepted(of("TooLarge"))).toEqual([]);
  expect(accepted(new Error("Conflict"))).toEqual([]);
  expect(isKind(of("TooLarge"), "Invalid", "TooLarge")).toBe(true);
});

test("a namespace that goes away is told by the cause, not by 403 alone", () => {
  const causes = { details: { causes: [{ reason: "NamespaceTerminating", field: "metadata.namespace" }, 7] } };
  expect(isNamespaceTerminating(answer(403, status("Forbidden", causes)))).toBe(true);
  expect(isNamespaceTerminating(answer(403, status("Forbidden")))).toBe(false);
});
