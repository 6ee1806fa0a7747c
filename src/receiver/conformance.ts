import { BORDER_CASES } from "./conformance-border.ts";
import { FENCING_CASES } from "./conformance-fencing.ts";
import { MEMORY_CASES } from "./conformance-memory.ts";
import { NotConforming, openPlay, type Case, type Target } from "./conformance-play.ts";

/** Every rule that a receiver keeps, in any language. The order is that of the report; no case depends on another one. */
export const CASES: readonly Case[] = [...FENCING_CASES, ...MEMORY_CASES, ...BORDER_CASES];

export interface CaseResult {
  readonly id: string;
  readonly rule: string;
  readonly outcome: "passed" | "failed" | "notTried";
  /** What was expected and what came, or why it was not tried. Holds nothing that the receiver sent but codes and numbers. */
  readonly detail: string;
}

/** Runs the cases one after the other against one receiver, each on a tenant of its own. */
export async function* runConformance(target: Target, cases: readonly Case[] = CASES): AsyncGenerator<CaseResult> {
  for (const { id, rule, needs, run } of cases) {
    const missing = needs === undefined ? null : MISSING[needs](target);
    if (missing !== null) yield { id, rule, outcome: "notTried", detail: missing };
    else yield { id, rule, ...(await outcomeOf(() => run(openPlay(target, id)))) };
  }
}

const MISSING: Readonly<Record<NonNullable<Case["needs"]>, (target: Target) => string | null>> = {
  authentication: ({ authenticates }) => (authenticates ? null : "this receiver is tried without authentication"),
  restart: (target) => (target.restart === undefined ? "nobody can restart this receiver from here" : null),
  faults: (target) =>
    target.failNext === undefined ? "nobody can make an operation of this receiver fail from here" : null,
};

async function outcomeOf(run: () => Promise<void>): Promise<Pick<CaseResult, "outcome" | "detail">> {
  try {
    await run();
    return { outcome: "passed", detail: "" };
  } catch (error) {
    if (error instanceof NotConforming) return { outcome: "failed", detail: error.message };
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    return { outcome: "failed", detail: `no answer (${/^\w{1,40}$/.test(code) ? code : "unknown reason"})` };
  }
}
