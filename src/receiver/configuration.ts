import { z } from "zod";
import { canonicalJson, hexDigest } from "../lib/digest.ts";

/** api.md: integers of plans and deploy units end at 2^31−1. */
const MAX_INTEGER = 2_147_483_647;

export const versionSchema = z.int().min(0).max(MAX_INTEGER);

export const deployUnitSchema = z.object({
  id: z.int().min(0).max(MAX_INTEGER),
  name: z.string().min(1).max(253),
  version: z.int().min(0).max(MAX_INTEGER),
});

const endpointSchema = z.object({
  key: z.string().min(1).max(253),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535),
});

/** Keys that this release does not know are left out, so that a newer operator can send more. */
const configurationSchema = z.object({
  deployUnit: deployUnitSchema,
  version: versionSchema,
  endpoints: z.array(endpointSchema).max(64).default([]),
  parameters: z
    .record(z.string().min(1).max(253), z.string().max(4096))
    .refine((parameters) => Object.keys(parameters).length <= 64)
    .default({}),
});

export type DeployUnit = Readonly<z.infer<typeof deployUnitSchema>>;

/** What a tenant shall run on: the body of a PUT, validated. */
export interface Configuration {
  readonly deployUnit: DeployUnit;
  /** The plan's version: the tag that the service reports once this is in force. */
  readonly version: number;
  readonly endpoints: readonly Readonly<z.infer<typeof endpointSchema>>[];
  readonly parameters: Readonly<Record<string, string>>;
}

/** Decoded JSON → configuration; null where it has another shape. Nothing of the input is quoted (SEC-37). */
export function parseConfiguration(decoded: unknown): Configuration | null {
  const parsed = configurationSchema.safeParse(decoded);
  return parsed.success ? parsed.data : null;
}

/** Equal for equal configurations, whatever the order of their keys (SEC-60: over canonical JSON). */
export const digestOf = (configuration: Configuration): string => hexDigest(canonicalJson(configuration));
