import {
  type Instant,
  formatDuration,
  formatInstant,
  type Millis,
  millisOf,
  parseDuration,
  parseInstant,
} from "../lib/time.ts";

/** An object as the API server sends it. What is not read here is kept for the PUT. */
export interface RawObject {
  readonly metadata: RawMeta;
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly [key: string]: unknown;
}
export interface RawMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}
export type Fields = Readonly<Record<string, unknown>>;

/** Readers of one field each: the value in domain's terms, or what stands for its absence. Nothing here throws. */
export const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);
export const numberOf = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) ? value : null;
export const countOf = (value: unknown): number => numberOf(value) ?? 0;
export const instantAt = (value: unknown): Instant | null => (typeof value === "string" ? parseInstant(value) : null);
export const spanOf = (value: unknown): Millis =>
  typeof value === "string" ? (parseDuration(value) ?? millisOf(0)) : millisOf(0);
export const oneOf = <T extends string>(value: unknown, choices: readonly T[]): T | null =>
  choices.find((choice) => choice === value) ?? null;
export const indexesOf = (value: unknown): readonly number[] =>
  listOf(value).filter((item): item is number => typeof item === "number");
export const textsOf = (value: unknown): readonly string[] =>
  listOf(value).filter((item): item is string => typeof item === "string");
export const textMap = (value: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(fieldsOf(value)).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );

/** Writers: undefined leaves the field out, so that what is absent costs nothing. */
export const when = (value: Instant | null): string | undefined => (value === null ? undefined : formatInstant(value));
export const span = (value: Millis): string | undefined => (value === 0 ? undefined : formatDuration(value));
export const some = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list);
export const above0 = (value: number): number | undefined => (value === 0 ? undefined : value);
export const present = <T>(value: T | null): T | undefined => value ?? undefined;
export const filled = <T>(map: Readonly<Record<string, T>>): Readonly<Record<string, T>> | undefined =>
  Object.keys(map).length === 0 ? undefined : map;

/** `before` with every key of `known` replaced by what `now` says: fields of a newer release survive (S32). */
export function replaced(before: unknown, known: readonly string[], now: Fields): Fields {
  const kept = Object.fromEntries(Object.entries(fieldsOf(before)).filter(([key]) => !known.includes(key)));
  return { ...kept, ...Object.fromEntries(Object.entries(now).filter(([, value]) => value !== undefined)) };
}
