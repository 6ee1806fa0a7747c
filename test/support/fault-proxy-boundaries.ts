import { createHash } from "node:crypto";
import { PUBLISH, RESTORE, WHOSE, WRITE } from "../../src/infra/cache/fenced-scripts.ts";
import { hexDigest } from "../../src/lib/digest.ts";
import type { Reply } from "./fault-proxy-resp.ts";

/** What a receiver or store is asked to put in force. */
export interface Effect {
  readonly tenant: string;
  readonly opId: string;
  readonly fence: string;
  readonly base: string;
  /** By {@link contentOf}. */
  readonly content: string;
}
export type EffectVerdict = "applied" | "repeated" | "refused" | "never";

const sha1 = (text: string): string => createHash("sha1").update(text).digest("hex");
const SCRIPTS = new Map([
  [sha1(WRITE), "write"],
  [sha1(RESTORE), "restore"],
  [sha1(PUBLISH), "publish"],
  [sha1(WHOSE), "whose"],
]);

const CONTENT = 12;
/** Digest of what is asked for, the same in every namespace: what one run says can be held against another's. */
export const contentOf = (namespace: string, ...parts: readonly string[]): string =>
  hexDigest(...parts.map((part) => part.replaceAll(namespace, "NS"))).slice(0, CONTENT);

/** `secret#process` → both. */
export function untagged(text: string): { readonly token: string; readonly process: string | null } {
  const at = text.lastIndexOf("#");
  return at < 0 ? { token: text, process: null } : { token: text.slice(0, at), process: text.slice(at + 1) };
}

const RESOURCE =
  /^\/apis\/turnout\.dev\/v1alpha1\/namespaces\/([^/]+)\/(switchtasks|tenantstates)(?:\/[^/?]+)?(\/status)?(?:\?|$)/;
const OTHERS = /^\/apis\/(events\.k8s\.io|coordination\.k8s\.io)\/v1\/namespaces\/([^/]+)\/(?:events|leases)/;

/** The class of the boundary that a request must have passed; null: it changes nothing. */
export function apiKind(method: string, path: string): { readonly kind: string; readonly namespace: string } | null {
  if (method === "GET") return null;
  const other = OTHERS.exec(path);
  if (other !== null)
    return { kind: other[1] === "events.k8s.io" ? "api/event" : "api/lease", namespace: other[2] ?? "" };
  const [found, namespace = "", plural, status] = RESOURCE.exec(path) ?? [];
  if (found === undefined) return { kind: `api/${method}`, namespace: "" };
  if (method === "PUT" && status !== undefined)
    return { kind: plural === "switchtasks" ? "api/status" : "api/tenant", namespace };
  const kinds: Readonly<Record<string, string>> = { POST: "api/create", PATCH: "api/finalizer", DELETE: "api/delete" };
  return { kind: kinds[method] ?? `api/${method}`, namespace };
}

/** What one of our scripts is asked to change; null for everything else. Fence and base differ from attempt to attempt, whose it is and what it undoes from run to run, the rest may not. */
export function redisEffect(
  args: readonly string[],
): { readonly namespace: string; readonly to: string; readonly effect: Effect } | null {
  const script = args[0] === "EVALSHA" ? SCRIPTS.get(args[1] ?? "") : undefined;
  if (script === undefined || script === "whose") return null;
  const keys = Number(args[2]);
  const ask = JSON.parse(args[3 + keys] ?? "{}") as Readonly<Record<string, unknown>>;
  const { fence, base, tenant, opId, uid: _task, undo: _by, undoes: _of, settled: _was, ...rest } = ask;
  const namespace = String(tenant).split("/")[0] ?? "";
  const content = contentOf(namespace, script, JSON.stringify(rest));
  const effect = { tenant: String(tenant), opId: String(opId), fence: String(fence), base: String(base), content };
  return { namespace, to: `redis ${args[3] ?? ""}`, effect };
}

const VERDICTS: Readonly<Record<string, EffectVerdict>> = {
  written: "applied",
  restored: "applied",
  published: "applied",
  "in-force": "repeated",
  again: "repeated",
  nothing: "repeated",
};

export const verdictOf = (answer: Reply): EffectVerdict =>
  Array.isArray(answer) ? (VERDICTS[String(answer[0])] ?? "refused") : "refused";

export function versionOf(body: Buffer): number | null {
  const found = (JSON.parse(body.toString("utf8")) as { readonly metadata?: { readonly resourceVersion?: string } })
    .metadata?.resourceVersion;
  return found === undefined ? null : Number(found);
}
