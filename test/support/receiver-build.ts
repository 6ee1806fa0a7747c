import { type Fence, formatFence } from "../../src/lib/fence.ts";
import { type Configuration, digestOf } from "../../src/receiver/configuration.ts";
import type { TenantRecord } from "../../src/receiver/tenant-record.ts";
import type { Operation } from "../../src/receiver/verdict.ts";

export const TENANT = "prod/acme";

export const fenceOf = (seq: number): Fence => formatFence(1_795_244_397, seq);

export function aConfiguration(version = 42): Configuration {
  return {
    deployUnit: { id: 2, name: version % 2 === 0 ? "green" : "blue", version: 7 },
    version,
    endpoints: [{ key: "im-gateway", host: "10.0.3.7", port: 8080 }],
    parameters: { trunkGroup: "tg-2" },
  };
}

/** Claim `seq`, which knows of the one before, for an operation of its own. */
export function anOperation({
  seq = 5,
  base = seq - 1,
  opId = "op",
  version = 42,
  tenant = TENANT,
}: { seq?: number; base?: number; opId?: string; version?: number; tenant?: string } = {}): Operation {
  const configuration = aConfiguration(version);
  return { tenant, fence: fenceOf(seq), base: fenceOf(base), opId, configuration, digest: digestOf(configuration) };
}

/** Operation `op` of claim 5, in force. */
export function aRecord(over: Partial<TenantRecord> = {}): TenantRecord {
  const { opId, digest, configuration } = anOperation();
  const { deployUnit, version } = configuration;
  const inForce = { opId, digest, deployUnit, version, appliedAt: "2026-06-01T12:00:00.000Z" };
  return { revision: 2, fence: fenceOf(5), opId, unsettled: "no", inForce, ...over };
}
