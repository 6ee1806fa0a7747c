import { KubeError, type KubeVerb } from "./errors.ts";

export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** What the API server filled in is there on everything that was read. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
  readonly managedFields?: readonly unknown[];
  readonly [key: string]: unknown;
}

/** An object as the API server gave it: nothing is stripped, so that a PUT keeps the fields of newer releases (S32). */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [key: string]: unknown;
}

export interface NewObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

export interface ObjectRef {
  /** null for cluster-scoped resources. */
  readonly namespace: string | null;
  readonly name: string;
}

/** `namespace/name`, or the name alone for cluster-scoped objects: what caches and queues go by. */
export const keyOf = ({ metadata }: KubeObject): string =>
  metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;

export const refOf = ({ metadata }: { readonly metadata: NewObject["metadata"] | ObjectMeta }): ObjectRef => ({
  namespace: metadata.namespace ?? null,
  name: metadata.name,
});

export function refOfKey(key: string): ObjectRef {
  const slash = key.indexOf("/");
  return slash < 0 ? { namespace: null, name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

export const namespaceOfKey = (key: string): string => refOfKey(key).namespace ?? "";

export const apiVersionOf = ({ group, version }: Resource): string => (group === "" ? version : `${group}/${version}`);

/** `leases.coordination.k8s.io`, as RBAC and messages write it. */
export const nameOf = ({ group, plural }: Resource): string => (group === "" ? plural : `${plural}.${group}`);

const VERSION = /^(?:0|[1-9]\d{0,63})$/;

/** A decoded value that is an object of the API server: named, with uid and an orderable resourceVersion; else null. */
export function asObject(value: unknown): KubeObject | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const { metadata } = value as { readonly metadata?: unknown };
  if (typeof metadata !== "object" || metadata === null) return null;
  const { name, namespace, uid, resourceVersion } = metadata as Readonly<Record<string, unknown>>;
  const isNamed = isText(name) && isText(uid) && (namespace === undefined || isText(namespace));
  return isNamed && typeof resourceVersion === "string" && VERSION.test(resourceVersion) ? (value as KubeObject) : null;
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** Order of two resourceVersions of one resource: whole numbers of any length (Kubernetes ≥ 1.35 promises that order). */
export function compareVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export const isVersion = (text: unknown): text is string => typeof text === "string" && VERSION.test(text);

export const laterVersion = (a: string, b: string): string => (compareVersions(a, b) < 0 ? b : a);

export interface Place {
  readonly namespace: string | null;
  /** null: the collection. */
  readonly name: string | null;
  readonly subresource?: "status";
}

/** What Kubernetes takes for a name in a path. No `/`, `%`, `?`, `#`, `\`, control character or dot segment can pass (SEC-4). */
const SEGMENT = /^[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?$/;

/** Path of a collection or an object, from checked, encoded segments. @throws KubeError Invalid; nothing was sent. */
export function pathOf(resource: Resource, place: Place, verb: KubeVerb): string {
  const { group, version, plural, namespaced } = resource;
  const { namespace, name, subresource } = place;
  const scope = namespaced && namespace !== null ? ["namespaces", namespace] : [];
  const segments = [...(group === "" ? ["api"] : ["apis", group]), version, ...scope, plural];
  if (name !== null) segments.push(name);
  if (subresource !== undefined) segments.push(subresource);
  const isOutOfPlace = namespaced ? name !== null && namespace === null : namespace !== null;
  if (isOutOfPlace || !segments.every(isSegment)) {
    const shown = [namespace, name]
      .filter((part) => part !== null)
      .map((part) => encodeURIComponent(part).slice(0, 64));
    const asked = { verb, resource: nameOf(resource), target: shown.join("/") };
    throw new KubeError(asked, { kind: "Invalid", status: null, reason: "UnsafePath" });
  }
  return `/${segments.map(encodeURIComponent).join("/")}`;
}

const isSegment = (text: string): boolean => SEGMENT.test(text) && !text.includes("..");
