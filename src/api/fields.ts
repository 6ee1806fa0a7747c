import { z } from "zod";

/** Keys that the CRD generator copies; zod carries them in `.meta()`. */
export interface KubernetesMeta {
  readonly "x-kubernetes-preserve-unknown-fields"?: true;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-map-type"?: "atomic" | "granular";
  readonly "x-kubernetes-validations"?: readonly Rule[];
  readonly maxProperties?: number;
}
/** A CEL rule of a CRD. `message` is what a person reads at kubectl. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly reason?: "FieldValueInvalid" | "FieldValueForbidden" | "FieldValueRequired";
  readonly fieldPath?: string;
}

export const kubernetes = (meta: KubernetesMeta): Readonly<Record<string, unknown>> => ({ ...meta });

export const DURATION_PATTERN = /^([0-9]{1,9}(ms|s|m|h|d))+$/;

export const text = (max: number, about: string): z.ZodString => z.string().max(max).describe(about);
export const duration = (about: string): z.ZodString =>
  z
    .string()
    .min(2)
    .max(32)
    .regex(DURATION_PATTERN, "must be a duration such as 300ms, 90s, 5m or 1h30m")
    .describe(about);
export const timestamp = (about: string): z.ZodString =>
  z.string().max(40).describe(about).meta({ format: "date-time" });
/** 1…2^31−1 (api.md, Sizes). */
export const counted = (about: string): z.ZodInt => z.int().min(1).max(2_147_483_647).describe(about);
export const bounded = (min: number, max: number, about: string): z.ZodInt => z.int().min(min).max(max).describe(about);

/** A map with bounded keys; the CRD says how many. Generic text as value unless a schema is given. */
export const map = <V extends z.ZodType>(values: V, most: number, about: string): z.ZodRecord<z.ZodString, V> =>
  z
    .record(z.string().max(128), values)
    .describe(about)
    .meta(kubernetes({ maxProperties: most }));

/** Any JSON: templates decide what is in it. Kept as it is, never pruned. */
export const anyJson = (about: string): z.ZodType =>
  z
    .json()
    .describe(about)
    .meta({ ...kubernetes({ "x-kubernetes-preserve-unknown-fields": true }), free: true });

export const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
export const objectName = (about: string): z.ZodString =>
  z.string().min(1).max(63).regex(NAME, "must be lower-case letters, digits and -").describe(about);
