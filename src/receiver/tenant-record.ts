import { z } from "zod";
import { type Fence, isFence } from "../lib/fence.ts";
import { type DeployUnit, deployUnitSchema, versionSchema } from "./configuration.ts";

/** The operation whose configuration a tenant runs on. */
export interface InForce {
  readonly opId: string;
  /** Of the whole configuration: the same operation never comes with two contents (SEC-32). */
  readonly digest: string;
  readonly deployUnit: DeployUnit;
  readonly version: number;
  /** RFC 3339. For people: nothing is decided by it. */
  readonly appliedAt: string;
}

/**
 * All that a receiver remembers of one tenant, for ever: one record, however many operations came.
 * Holds: `unsettled: "no"` ⇒ `inForce.opId` is `opId`. What was in force before an unsettled operation stays in `inForce`, but
 * the effect of the unsettled one may have happened already.
 */
export interface TenantRecord {
  /** Grows by one with every stored version; what {@link ReceiverStore.save} compares. */
  readonly revision: number;
  /** The greatest fence ever accepted. */
  readonly fence: Fence;
  /** The operation that came with it. */
  readonly opId: string;
  /** `running`: begun, not ended, or the process died in it. `failed`: it ended and threw. */
  readonly unsettled: "no" | "running" | "failed";
  readonly inForce: InForce | null;
}

/** Idempotency key. The operator sends 52 characters of `[a-z2-7]`; others may send what they have. */
export const OPERATION_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

const recordSchema = z.strictObject({
  revision: z.int().min(1),
  fence: z.string().refine(isFence),
  opId: z.string().regex(OPERATION_PATTERN),
  unsettled: z.enum(["no", "running", "failed"]),
  inForce: z
    .strictObject({
      opId: z.string().regex(OPERATION_PATTERN),
      digest: z.string().regex(/^[0-9a-f]{64}$/),
      deployUnit: deployUnitSchema,
      version: versionSchema,
      appliedAt: z.string().max(40),
    })
    .nullable(),
});

export const formatRecord = (record: TenantRecord): string => JSON.stringify(record);

/** @throws Error for text that no store of ours wrote: a record that cannot be read is never taken for an absent one. */
export function parseRecord(text: string, tenant: string): TenantRecord {
  const parsed = recordSchema.safeParse(jsonOrNull(text));
  if (!parsed.success) throw new Error(`the stored record of ${tenant} is damaged; restore it, do not delete it`);
  return parsed.data;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
