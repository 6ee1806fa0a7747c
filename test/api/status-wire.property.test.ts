import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/lib/json.ts";
import { TurnoutError } from "../../src/lib/errors.ts";
import { switchTaskStatus } from "../../src/api/status-schema.ts";
import { statusFrom, statusTo } from "../../src/api/status-wire.ts";
import { tenantStateStatus } from "../../src/api/tenant-state.ts";
import { tenantFrom, tenantTo } from "../../src/api/tenant-wire.ts";
import { decide } from "../../src/domain/decide.ts";
import { decideTenant } from "../../src/domain/tenant.ts";
import type { Status } from "../../src/domain/stored.ts";
import { poisoned, statuses, tenantStatuses } from "../support/arbitrary-status.ts";
import { play, stories } from "../support/arbitrary-runs.ts";
import { aTask, at } from "../support/build.ts";
import { statusOf } from "../support/run-process.ts";
import { cases } from "../support/seed.ts";

const throughTheWire = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;
const written = (status: Status, before?: unknown): Json =>
  throughTheWire(
    statusTo(before, status, { generation: status.observedGeneration, total: 4, conditions: status.conditions }),
  );
const read = (raw: unknown): Status | null => statusFrom(raw, 1);

describe("[S32] what is stored is what is read", () => {
  test("status of a task", () => {
    fc.assert(
      fc.property(statuses, (status) => {
        expect(read(written(status))).toEqual(status);
      }),
      cases(200),
    );
  });

  test("status of a task, written over another one", () => {
    fc.assert(
      fc.property(statuses, statuses, (before, status) => {
        // A plan that stands there is never replaced by another text of the same plan.
        fc.pre(before.plan === null || before.plan.digest !== status.plan?.digest);
        expect(read(written(status, written(before)))).toEqual(status);
      }),
      cases(100),
    );
  });

  test("status of a tenant", () => {
    fc.assert(
      fc.property(tenantStatuses, (status) => {
        expect(tenantFrom(throughTheWire(tenantTo(undefined, status)))).toEqual(status);
      }),
      cases(200),
    );
  });
});

describe("[S32] fields of a newer release survive every write", () => {
  const strange = fc.dictionary(fc.stringMatching(/^x[A-Za-z]{0,8}$/), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 });

  test("of the status, of every stage entry, of the frozen plan", () => {
    fc.assert(
      fc.property(statuses, strange, strange, strange, (status, top, inEntry, inPlan) => {
        const raw = written(status) as Readonly<Record<string, Json>>;
        const entries = (raw["stages"] ?? []) as readonly object[];
        const plan = raw["plan"] === undefined ? {} : { plan: { ...(raw["plan"] as object), ...inPlan } };
        const newer = throughTheWire({
          ...raw,
          ...top,
          stages: entries.map((one) => ({ ...one, ...inEntry })),
          ...plan,
        });
        const again = written(status, newer) as Readonly<Record<string, Json>>;
        expect(again).toEqual(entries.length === 0 ? { ...(newer as object), stages: undefined } : newer);
      }),
      cases(100),
    );
  });

  test("of a tenant", () => {
    fc.assert(
      fc.property(tenantStatuses, strange, (status, top) => {
        const newer = { ...(throughTheWire(tenantTo(undefined, status)) as object), ...top };
        expect(throughTheWire(tenantTo(throughTheWire(newer), status))).toEqual(throughTheWire(newer));
      }),
      cases(100),
    );
  });
});

describe("[S25] whatever is stored, the API server's schema takes", () => {
  const refused = (raw: unknown): unknown => {
    const parsed = switchTaskStatus.safeParse(raw);
    return parsed.success ? null : parsed.error.issues;
  };

  test("of every status within its bounds", () => {
    fc.assert(
      fc.property(statuses, (status) => {
        expect(refused(written(status))).toBeNull();
      }),
      cases(100),
    );
  });

  test("of every tenant", () => {
    fc.assert(
      fc.property(tenantStatuses, (status) => {
        expect(tenantStateStatus.safeParse(throughTheWire(tenantTo(undefined, status))).error).toBeUndefined();
      }),
      cases(100),
    );
  });

  test("at the end of any run", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(stories(), (story) => {
        const { tasks } = play(story).world;
        for (const task of Object.values(tasks)) {
          expect(refused(task.status ?? {})).toBeNull();
          const status = statusOf(task);
          expect(status === null ? null : read(written(status))).toEqual(status);
        }
      }),
      cases(60),
    );
  });
});

describe("[S30] [S24] a poisoned status", () => {
  test("of any shape is a status or none, and never throws", () => {
    fc.assert(
      fc.property(fc.anything(), (raw) => {
        const status = read(raw);
        expect(status === null || typeof status.phase === "string").toBe(true);
        const tenant = tenantFrom(raw);
        expect(tenant === null || Number.isSafeInteger(tenant.epoch)).toBe(true);
      }),
      cases(500),
    );
  });

  /** What comes of a turn: a decision, or the code of what was thrown; anything else is thrown on. */
  function turn(decided: () => { readonly do: string }): string {
    try {
      return decided().do;
    } catch (error) {
      if (error instanceof TurnoutError) return error.code;
      throw error;
    }
  }
  const known = expect.stringMatching(
    /^(?:sleep|write|act|finalizer|create-tenant|lock|release|remove|read|leave|IllegalTransition)$/,
  );
  const live = aTask({ stages: { route: "Completed", notify: "Running" } });
  const back = aTask({ phase: "RollingBack", stages: { route: "RollingBack", notify: "RolledBack" } });
  const held = aTask({ pipeline: { hold: "approval", one: "write" }, stages: { hold: "Mine" } });

  test.each([
    ["going forward", live],
    ["going back", back],
    ["that waits", held],
  ])("of a task %s: decided upon, or stopped by a bug that has a code", (_name, view) => {
    fc.assert(
      fc.property(poisoned(written(view.status)), fc.boolean(), (raw, rollback) => {
        const status = read(raw);
        const poor = { ...view, stored: status, status: status ?? view.status };
        const asked = { ...poor, control: { ...view.control, rollback } };
        expect(turn(() => decide(asked, at(100)))).toEqual(known);
      }),
      cases(300),
    );
  });

  test("of a tenant: the same", () => {
    const status = aTask({ stages: { route: "Running" } }).tenant.status;
    const good = throughTheWire(status === null ? {} : tenantTo(undefined, status));
    fc.assert(
      fc.property(poisoned(good), (raw) => {
        const tenant = tenantFrom(raw);
        expect(turn(() => decide({ ...live, tenant: { ...live.tenant, status: tenant } }, at(100)))).toEqual(known);
        const facts = {
          status: tenant,
          release: null,
          deleting: false,
          finalizer: true,
          namespaceTerminating: false,
          policiesMissing: false,
          holder: { is: "vanished" as const },
        };
        expect(["sleep", "write"]).toContain(turn(() => decideTenant(facts, at(100))));
      }),
      cases(200),
    );
  });
});
