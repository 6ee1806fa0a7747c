import { describe, expect, test } from "vitest";
import { fault } from "../../src/lib/failures.ts";
import { millisOf } from "../../src/lib/time.ts";
import type { HttpResult } from "../../src/infra/egress/http.ts";
import { judge } from "../../src/stages/http-exchange.ts";

const AT = { endpoint: "im-gateway", address: "10.0.0.1:80" };
const PLACE = { ...AT, success: { status: null, equals: {}, emptyAt: null, json: false } };
const answer = (status: number): HttpResult => ({ kind: "answer", status, json: null, bytes: 0, retryAfter: null });

describe("what one exchange says of an act", () => {
  test.each<readonly [string, HttpResult]>([
    ["no answer in time", { kind: "lost", fault: fault("HttpTimeout", { ...AT, timeout: "3s" }) }],
    ["a connection that broke", { kind: "lost", fault: fault("AnswerLost", AT) }],
    ["500", answer(500)],
    ["502 of a proxy", answer(502)],
    ["504 of a proxy", answer(504)],
  ])("[S26] sent, then %s: nobody knows", (_what, result) => {
    expect(judge(result, PLACE).is).toBe("unknown");
  });

  test.each<readonly [string, HttpResult, string]>([
    ["nobody listens", { kind: "notSent", fault: fault("ConnectRefused", AT) }, "retryable"],
    ["too busy", answer(429), "retryable"],
    ["not there for the moment", answer(503), "retryable"],
    ["not allowed to go there", { kind: "notSent", fault: fault("EgressDenied", { ...AT, rule: "cidr" }) }, "terminal"],
    ["refused", answer(422), "terminal"],
    ["sent elsewhere", answer(307), "terminal"],
    ["done", answer(204), "acked"],
  ])("%s: it is known that it was not done, or that it was", (_what, result, verdict) => {
    expect(judge(result, PLACE).is).toBe(verdict);
  });

  test("a busy receiver says how long to stay away", () => {
    const busy: HttpResult = { kind: "answer", status: 429, json: null, bytes: 0, retryAfter: millisOf(7000) };
    expect(judge(busy, PLACE)).toMatchObject({ is: "retryable", after: 7000 });
  });
});
