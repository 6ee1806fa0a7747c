import type { HttpEndpoint } from "../config/endpoint-settings.ts";
import type { EgressRule } from "./policy.ts";

/** SEC-41: what goes into one request. */
export const LARGEST_PATH = 8 * 1024;
const LARGEST_HEADERS = 8 * 1024;
const MOST_HEADERS = 64;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** Visible ASCII, space and tab (RFC 9110): nothing that could end a line. */
const FIELD_VALUE = /^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/;
/** Visible ASCII but `"`, `#`, `<`, `>`, `\`, `^`, backtick, `{`, `|`, `}` (RFC 3986). */
const URI_TEXT = /^[!$-;=?-[\]_a-z~]*$/;

/** Framing and hop-by-hop fields, identities, ours, and what makes a server take another method or path than the one checked. */
const FORBIDDEN: ReadonlySet<string> = new Set([
  "accept-encoding",
  "authorization",
  "connection",
  "content-encoding",
  "content-length",
  "cookie",
  "expect",
  "host",
  "http2-settings",
  "idempotency-key",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-original-url",
  "x-rewrite-url",
]);
const FORBIDDEN_PREFIXES = ["impersonate-", "proxy-", "turnout-"] as const;

export interface RequestLine {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What speaks against a request as it would be sent, after every value was filled in (SEC-24, SEC-25); null where nothing does. */
export function requestRefusal(
  { method, path, headers }: RequestLine,
  { allow }: Pick<HttpEndpoint, "allow">,
): EgressRule | null {
  if (!/^(?:GET|HEAD|POST|PUT|PATCH|DELETE)$/.test(method)) return "method";
  if (allow !== undefined && !allow.methods.some((allowed) => allowed === method)) return "method";
  const [plain = ""] = path.split("?", 1);
  if (!isSafePath(path)) return "path";
  if (allow !== undefined && !allow.paths.some((prefix) => isBelow(plain, prefix))) return "path";
  return areSafeHeaders(headers) ? null : "header";
}

/** One leading `/`; no empty or dot segment and no backslash, however they are encoded. A query may follow. */
export function isSafePath(path: string): boolean {
  if (path.length > LARGEST_PATH || !URI_TEXT.test(path)) return false;
  const [plain = "", ...query] = path.split("?");
  if (query.some((part) => /%(?![0-9A-Fa-f]{2})/.test(part))) return false;
  const [front, ...segments] = plain.split("/");
  if (front !== "" || segments.length === 0) return false;
  return segments.every((segment, i) => (segment === "" ? i === segments.length - 1 : isSafeSegment(segment)));
}

/** Judged as every server on the way might read it: decoded once, twice or more, with path parameters cut off, compatibility forms folded. */
function isSafeSegment(segment: string): boolean {
  let text = segment;
  for (let round = 0; round < 8; round += 1) {
    if (!isSafeDecoded(text)) return false;
    const next = decoded(text);
    // Not a valid encoding: wrong as written, plain text where it is the result of decoding.
    if (next === null) return round > 0;
    if (next === text) return true;
    text = next;
  }
  return false;
}

function isSafeDecoded(text: string): boolean {
  const folded = text.normalize("NFKC");
  return (
    !/[\p{Cc}\\]/u.test(folded) &&
    !/^\/|\/\/|\/$/.test(folded) &&
    folded.split("/").every((part) => !/^\.{1,2}(?:;|$)/.test(part))
  );
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Whole segments: `/a/` is everything below, `/a` also itself, never `/ab`. */
const isBelow = (path: string, prefix: string): boolean =>
  path === prefix || path.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);

function areSafeHeaders(headers: Readonly<Record<string, string>>): boolean {
  const entries = Object.entries(headers);
  const size = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (entries.length > MOST_HEADERS || size > LARGEST_HEADERS) return false;
  const names = entries.map(([name]) => name.toLowerCase());
  if (new Set(names).size !== names.length) return false;
  return entries.every(
    ([name, value]) => TOKEN.test(name) && FIELD_VALUE.test(value) && !isForbidden(name.toLowerCase()),
  );
}

const isForbidden = (name: string): boolean =>
  FORBIDDEN.has(name) || FORBIDDEN_PREFIXES.some((prefix) => name.startsWith(prefix));
