import { describe as group, expect, test } from "vitest";
import { errorReference } from "../../src/lib/error-reference.ts";
import {
  CheckpointError,
  ExecutionError,
  exitCodeOf,
  InvalidSpecError,
  TaskNotFoundError,
  TransitionError,
  TurnoutError,
} from "../../src/lib/errors.ts";
import { describe, FAILURE_TYPES, FAILURES, type FailureCode, fault, type Fault } from "../../src/lib/failures.ts";
import { never } from "../../src/lib/never.ts";

const CODES = Object.keys(FAILURES) as readonly FailureCode[];
const of = (code: FailureCode): Fault => ({ code, message: "what", remedy: "do" });

group("[R5] the catalogue of failures", () => {
  test.each(CODES)("%s has a type, words and a way out", (code) => {
    const { type, says, todo } = FAILURES[code];
    expect(FAILURE_TYPES).toContain(type);
    expect(code.length).toBeLessThanOrEqual(40);
    expect(says.length).toBeGreaterThan(10);
    expect(todo.length).toBeGreaterThan(3);
    expect(errorReference()).toContain(`| \`${code}\` | ${type} | ${FAILURES[code].retryable ? "yes" : "no"} |`);
  });

  test("facts are filled in, and cut", () => {
    expect(fault("IllegalTransition", { from: "a", to: "b" }).message).toContain("a");
    const long = describe("IllegalTransition", { from: "x".repeat(999), to: "b" });
    expect(long).toContain("x".repeat(120));
    expect(long).not.toContain("x".repeat(121));
    const facts = {} as unknown as { readonly from: string; readonly to: string };
    expect(describe("IllegalTransition", facts)).toContain("?");
  });
});

group("errors", () => {
  test("carry code, type, whether to try again, and their own name", () => {
    const cause = new Error("socket");
    const error = new TurnoutError(of("ConnectRefused"), { cause });
    expect(error).toMatchObject({
      name: "TurnoutError",
      code: "ConnectRefused",
      type: "Network",
      retryable: true,
      cause,
    });
    expect(error.message).toBe("what");
    const named = [InvalidSpecError, ExecutionError, TransitionError, CheckpointError, TaskNotFoundError];
    expect(named.map((kind) => new kind(of("Internal")).name)).toEqual([
      "InvalidSpecError",
      "ExecutionError",
      "TransitionError",
      "CheckpointError",
      "TaskNotFoundError",
    ]);
  });

  test("the exit code tells the class", () => {
    const codes = Object.fromEntries(
      CODES.map((code) => [FAILURES[code].type, exitCodeOf(new TurnoutError(of(code)))]),
    );
    expect(codes).toMatchObject({
      Validation: 2,
      Permission: 3,
      Conflict: 4,
      Network: 5,
      Timeout: 5,
      Unavailable: 5,
      Rejected: 6,
      System: 1,
    });
    expect(exitCodeOf(new Error("any"))).toBe(1);
    expect(exitCodeOf("text")).toBe(1);
  });

  test("the end of a total switch shows what came", () => {
    expect(() => never({ is: "lunch" } as never)).toThrow('unreachable: {"is":"lunch"}');
  });
});
