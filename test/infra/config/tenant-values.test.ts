import { describe, expect, test } from "vitest";
import { openTenantValues, type TenantValues } from "../../../src/infra/config/tenant-values.ts";
import { openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { millisOf, seconds } from "../../../src/lib/time.ts";
import { aLog } from "../../support/config-rig.ts";
import { ManualClock, seededRng } from "../../support/manual-clock.ts";
import { MemoryCentre } from "../../support/memory-centre.ts";

const PREFIX = "/config/dev/im-gateway/tenants/";

interface Rig extends AsyncDisposable {
  readonly centre: MemoryCentre;
  readonly clock: ManualClock;
  readonly tenants: TenantValues;
  readonly told: readonly string[];
  readonly errors: () => number;
}

async function aRig(given: Readonly<Record<string, string>> = {}): Promise<Rig> {
  const centre = new MemoryCentre();
  for (const [tenant, value] of Object.entries(given)) await centre.put(`${PREFIX}${tenant}`, value);
  const clock = new ManualClock();
  const { log, lines } = aLog();
  const about = { env: "dev", service: "im-gateway", clock, rng: seededRng(), log, metrics: openMetrics() } as const;
  const tenants = await openTenantValues(centre, about, new AbortController().signal);
  const told: string[] = [];
  tenants.subscribe(
    (namespace, tenantId, value) => void told.push(`${namespace}/${tenantId} ${JSON.stringify(value?.value ?? null)}`),
  );
  const errors = (): number => lines.filter(({ level }) => level === "error").length;
  return { centre, clock, tenants, told, errors, [Symbol.asyncDispose]: () => tenants.close() };
}

describe("[R113] the tenants of a service", () => {
  test("are loaded, then followed one by one; others' keys are not theirs", async () => {
    await using rig = await aRig({ "ns/a": '{"unit":"blue"}' });
    expect([rig.tenants.of("ns", "a")?.value, rig.tenants.of("ns", "b"), rig.tenants.size]).toEqual([
      { unit: "blue" },
      null,
      1,
    ]);
    await rig.centre.put(`${PREFIX}ns/a`, '{"unit":"green"}');
    await rig.centre.put(`${PREFIX}ns/b`, '{"unit":"blue"}');
    await rig.centre.put("/config/dev/im-logic/tenants/ns/c", '{"unit":"blue"}');
    await rig.centre.put("/config/dev/im-gateway/clog", "{}");
    await rig.centre.delete(`${PREFIX}ns/b`);
    await rig.clock.advance(millisOf(0));
    expect(rig.told).toEqual(['ns/a {"unit":"green"}', 'ns/b {"unit":"blue"}', "ns/b null"]);
    expect(rig.tenants.check()).toMatchObject({ status: "healthy", details: { tenants: 1 } });
  });

  test("a value that cannot be read leaves the last good one in force, is logged and shown until a good one comes", async () => {
    await using rig = await aRig({ "ns/a": '{"unit":"blue"}' });
    for (const bad of ["{", "[]", '{"unit":1,"unit":2}']) {
      await rig.centre.put(`${PREFIX}ns/a`, bad);
      await rig.clock.advance(millisOf(0));
      expect([rig.tenants.of("ns", "a")?.value, rig.tenants.check().status]).toEqual([{ unit: "blue" }, "degraded"]);
    }
    expect([rig.errors(), rig.told]).toEqual([3, []]);
    await rig.centre.put(`${PREFIX}ns/a`, '{"unit":"green"}');
    await rig.clock.advance(millisOf(0));
    expect([rig.tenants.of("ns", "a")?.value, rig.tenants.check().status]).toEqual([{ unit: "green" }, "healthy"]);
  });

  test("while the centre is away the last values stay with their age; what changed comes within 5 s, deletes too", async () => {
    await using rig = await aRig({ "ns/a": '{"unit":"blue"}', "ns/b": '{"unit":"blue"}' });
    rig.centre.cut();
    await rig.clock.advance(seconds(60));
    expect([rig.tenants.size, rig.tenants.stale(), rig.tenants.check().status]).toEqual([2, 60_000, "degraded"]);
    rig.centre.restore();
    await rig.centre.put(`${PREFIX}ns/a`, '{"unit":"green"}');
    await rig.centre.delete(`${PREFIX}ns/b`);
    rig.centre.compact(rig.centre.revision);
    await rig.clock.advance(seconds(5));
    expect([rig.tenants.of("ns", "a")?.value, rig.tenants.of("ns", "b"), rig.tenants.stale()]).toEqual([
      { unit: "green" },
      null,
      0,
    ]);
  });

  test("closed, it watches nothing; a start that is given up leaves nothing behind", async () => {
    const rig = await aRig();
    await rig.tenants.close();
    expect([rig.centre.watching, rig.clock.sleeping]).toEqual([0, 0]);
    rig.centre.cut();
    const about = {
      env: "dev",
      service: "im-gateway",
      clock: rig.clock,
      rng: seededRng(),
      log: aLog().log,
      metrics: openMetrics(),
    } as const;
    const stop = new AbortController();
    const opening = openTenantValues(rig.centre, about, stop.signal);
    await rig.clock.advance(seconds(10));
    stop.abort(new Error("too long"));
    await expect(opening).rejects.toThrow("too long");
    expect(rig.clock.sleeping).toBe(0);
  });
});
