// config: what settings may say, one schema per component: source of types, validation and the generated reference.
// Nothing here opens a connection or reads a secret's value.
import { z } from "zod";
import { formatAddress, parseAddress, parseHost } from "../../lib/address.ts";
import { formatByteSize, parseByteSize } from "../../lib/byte-size.ts";
import { formatCidr, parseCidr } from "../../lib/ip.ts";
import { formatDuration, type Millis, millisOf, parseDuration } from "../../lib/time.ts";

export type DeepReadonly<T> = T extends string | number | boolean | null | undefined
  ? T
  : { readonly [K in keyof T]: DeepReadonly<T[K]> };

interface Parsed<T> {
  readonly what: string;
  readonly allowed: string;
  /** Null where the text is not one. */
  readonly parse: (text: string) => T | null;
}

/** A text whose parser says what it means; a refusal names what would be accepted. */
function parsed<T>({ what, allowed, parse }: Parsed<T>): z.ZodPipe<z.ZodString, z.ZodTransform<T, string>> {
  // A number, the commonest slip, is told what would do like any other text.
  const error = ({ input }: { readonly input?: unknown }): string | undefined =>
    input === undefined ? undefined : `is not ${what} (allowed: ${allowed})`;
  return z
    .string({ error })
    .max(1024)
    .transform((text, ctx) => {
      const value = parse(text);
      if (value !== null) return value;
      ctx.addIssue({ code: "custom", message: `is not ${what}`, input: text, params: { allowed } });
      return z.NEVER;
    })
    .meta({ allowed });
}

/** `5s`, `10m` → Millis within the range, both ends included. */
export function duration(least: string, most: string): z.ZodPipe<z.ZodString, z.ZodTransform<Millis, string>> {
  const [low, high] = [mustDuration(least), mustDuration(most)];
  return parsed({
    what: "a duration in range",
    allowed: `a duration such as 5s or 10m, from ${formatDuration(low)} to ${formatDuration(high)}`,
    parse: (text) => {
      const value = parseDuration(text);
      return value !== null && value >= low && value <= high ? value : null;
    },
  });
}

/** `16KiB`, `1MiB` → bytes within the range, both ends included. */
export function byteSize(least: string, most: string): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  const [low, high] = [parseByteSize(least) ?? Number.NaN, parseByteSize(most) ?? Number.NaN];
  return parsed({
    what: "a size in range",
    allowed: `a size such as 16KiB or 1MiB, from ${formatByteSize(low)} to ${formatByteSize(high)}`,
    parse: (text) => {
      const value = parseByteSize(text);
      return value !== null && value >= low && value <= high ? value : null;
    },
  });
}

/** `host:port` in the canonical spelling of guard rule 1. */
export const address = parsed({
  what: "a canonical address",
  allowed: "host:port; host a plain IP ([…] round IPv6) or a DNS name whose last label is no number",
  parse: (text) => {
    const found = parseAddress(text);
    return found === null ? null : formatAddress(found);
  },
});

export const hostName = parsed({
  what: "a canonical host",
  allowed: "a plain IP or a DNS name whose last label is no number",
  parse: (text) => parseHost(text)?.text ?? null,
});

export const block = parsed({
  what: "a CIDR",
  allowed: "a block such as 10.96.0.0/12 with no bit set behind the prefix",
  parse: (text) => {
    const found = parseCidr(text);
    return found === null ? null : formatCidr(found);
  },
});

/** A whole number within the range, both ends included. */
export function whole(least: number, most: number): z.ZodInt {
  const error = `is not a whole number from ${least} to ${most}`;
  return z.int({ error }).min(least, { error }).max(most, { error });
}

export const port = whole(1, 65_535);

/** DNS label (RFC 1123): names of endpoints, namespaces. */
export const label = parsed({
  what: "a DNS label",
  allowed: "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
  parse: (text) => (/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text) ? text : null),
});

export const absolutePath = parsed({
  what: "an absolute path",
  allowed: "a path that begins with / and has no empty, . or .. segment",
  parse: (text) => (isPlainPath(text) ? text : null),
});

/** Where a secret is read from; the value itself never stands in settings (SEC-39). */
export const secretReference = z
  .union(
    [
      z.strictObject({
        env: parsed({
          what: "the name of a secret variable",
          allowed: "TURNOUT_SECRET_ followed by A-Z, 0-9 and _",
          parse: (text) => (/^TURNOUT_SECRET_[A-Z0-9_]{1,64}$/.test(text) ? text : null),
        }).describe("Environment variable that holds the value; its name begins with TURNOUT_SECRET_."),
      }),
      z.strictObject({
        file: absolutePath.describe(
          "File that holds the value: at most 64 KiB, under one of the ceiling's secretRoots, read again within 60 s.",
        ),
      }),
    ],
    { error: 'is not a secret reference: { "env": "TURNOUT_SECRET_…" } or { "file": "/path" }' },
  )
  .meta({ allowed: '{ "env": "TURNOUT_SECRET_…" } or { "file": "/path" }' });
export type SecretReference = DeepReadonly<z.output<typeof secretReference>>;

function isPlainPath(text: string): boolean {
  const segments = text.split("/").slice(1);
  return text.startsWith("/") && !text.includes("\0") && segments.every((s) => s !== "" && s !== "." && s !== "..");
}

function mustDuration(text: string): Millis {
  return parseDuration(text) ?? millisOf(Number.NaN);
}
