import type { IncomingHttpHeaders } from "node:http";
import { type Fence, isFence } from "../lib/fence.ts";
import { decodeJson, type JsonLimits } from "../lib/json.ts";
import { type Configuration, digestOf, parseConfiguration } from "./configuration.ts";
import type { RefusalCode } from "./refusals.ts";
import { OPERATION_PATTERN } from "./tenant-record.ts";
import type { Operation } from "./verdict.ts";

/** Where the receiver answers: mount the handler for every path below. */
export const RECEIVER_PATH = "/turnout/v1/tenants/";

/** A Kubernetes namespace (RFC 1123 label). */
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** api.md: `spec.tenantId`. */
const TENANT_ID = /^[A-Za-z0-9_-]{1,64}$/;
/** RFC 9110: one media type, at most a charset. */
const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i;

/** SEC-41. */
const BODY_LIMITS: JsonLimits = { depth: 16, keys: 1000 };

export type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly code: RefusalCode };

const good = <T>(value: T): Read<T> => ({ ok: true, value });
const bad = (code: RefusalCode): { readonly ok: false; readonly code: RefusalCode } => ({ ok: false, code });

/** Request target → `namespace/tenantId`. Each segment is percent-decoded exactly once. */
export function tenantOf(target: string): Read<string> {
  if (!target.startsWith(RECEIVER_PATH)) return bad("UnknownPath");
  const segments = target.slice(RECEIVER_PATH.length).split("/");
  if (segments.length !== 2) return bad("UnknownPath");
  const [namespace, tenantId] = segments.map(decoded);
  if (!namespace || !tenantId) return bad("PathMalformed");
  return NAMESPACE.test(namespace) && TENANT_ID.test(tenantId)
    ? good(`${namespace}/${tenantId}`)
    : bad("PathMalformed");
}

function decoded(segment: string): string | null {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

/** The claim that a PUT carries in its headers. */
export interface Claim {
  readonly fence: Fence;
  readonly base: Fence;
  readonly opId: string;
}

/** A header that came twice arrives joined by a comma and is refused as malformed. */
export function claimOf(headers: IncomingHttpHeaders, tenant: string): Read<Claim> {
  if (headers["turnout-tenant"] !== tenant) return bad("TenantDiffers");
  const fence = headers["turnout-fence"];
  if (fence === undefined) return bad("FenceMissing");
  if (typeof fence !== "string" || !isFence(fence)) return bad("FenceMalformed");
  const base = headers["turnout-base"];
  // A base that is not below the fence would never let a divergence be seen.
  if (typeof base !== "string" || !isFence(base) || base >= fence) return bad("BaseMalformed");
  const opId = headers["idempotency-key"];
  if (typeof opId !== "string" || !OPERATION_PATTERN.test(opId)) return bad("OperationMalformed");
  return good({ fence, base, opId });
}

/** Whether a body may be what we take: JSON in UTF-8, not compressed. */
export function takesType(headers: IncomingHttpHeaders): boolean {
  const coding = headers["content-encoding"];
  return JSON_TYPE.test(headers["content-type"] ?? "") && (coding === undefined || coding.toLowerCase() === "identity");
}

export function operationOf(tenant: string, claim: Claim, body: Uint8Array): Read<Operation> {
  const configuration = configurationOf(body);
  if (configuration === null) return bad("BodyMalformed");
  return good({ tenant, ...claim, configuration, digest: digestOf(configuration) });
}

function configurationOf(body: Uint8Array): Configuration | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
    const json = decodeJson(text, BODY_LIMITS);
    return json.ok ? parseConfiguration(json.value) : null;
  } catch {
    return null; // not UTF-8
  }
}
