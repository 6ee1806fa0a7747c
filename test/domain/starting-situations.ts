import type { Phase } from "../../src/domain/phase.ts";
import { identityOf } from "../../src/domain/plan.ts";
import type { Current, Execution } from "../../src/domain/stored.ts";
import { aCurrent, aPlacement, aSpec, at } from "../support/build.ts";

export const executed = (outcome: Phase, about: Partial<Execution> = {}): Execution => ({
  identity: identityOf("acme-green", aSpec(), null),
  uid: "before",
  outcome,
  at: at(-99),
  ...about,
});
export const GREEN: Current = aCurrent({ ...aPlacement("green"), planVersion: 42 });
export const fresh = { fresh: true } as const;
