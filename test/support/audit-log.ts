import { open, stat } from "node:fs/promises";
import type { Version } from "./stand-record.ts";

/** A write of one of our objects: a version that the API server says it stored, or may have stored. */
export interface Logged {
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  /** null: who asked was gone before the answer (measured: the log says 504, whether or not the version was stored). */
  readonly rv: number | null;
  /** Marked for deletion: the last write of such an object deletes it, and is told under another version. */
  readonly deleting: boolean;
}

export interface AuditLog {
  /** Every such write since this log was opened, in these namespaces. */
  stored(namespaces: ReadonlySet<string>): Promise<readonly Logged[]>;
}

/** What the API server itself writes down about every write, whoever asked for it. null: this one keeps no such log. */
export async function openAuditLog(path: string | undefined): Promise<AuditLog | null> {
  if (path === undefined) return null;
  const found: Logged[] = [];
  let [read, rest] = [(await stat(path)).size, ""];
  return {
    stored: async (namespaces) => {
      const file = await open(path);
      try {
        const { bytesRead, buffer } = await file.read({
          position: read,
          buffer: Buffer.alloc((await file.stat()).size - read + 1),
        });
        read += bytesRead;
        // A character that is cut in two stays whole: lines are parsed only where they have ended.
        const text = rest + buffer.toString("latin1", 0, bytesRead);
        const lines = text.split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) found.push(...loggedIn(line));
      } finally {
        await file.close();
      }
      return found.filter(({ namespace }) => namespaces.has(namespace));
    },
  };
}

interface AuditEvent {
  readonly objectRef?: { readonly resource?: string; readonly namespace?: string; readonly name?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly responseObject?: {
    readonly kind?: string;
    readonly metadata?: {
      readonly namespace?: string;
      readonly name?: string;
      readonly resourceVersion?: string;
      readonly deletionTimestamp?: string;
    };
  };
}

const KINDS: Readonly<Record<string, string>> = { switchtasks: "SwitchTask", tenantstates: "TenantState" };
const GATEWAY_TIMEOUT = 504;

function loggedIn(line: string): readonly Logged[] {
  if (!line.includes('"level":"RequestResponse"')) return [];
  const { objectRef = {}, responseStatus, responseObject } = JSON.parse(line) as AuditEvent;
  const kind = KINDS[objectRef.resource ?? ""];
  if (kind === undefined) return [];
  const code = responseStatus?.code ?? 0;
  if (code === GATEWAY_TIMEOUT) {
    const { namespace = "", name = "" } = objectRef;
    return [{ namespace, kind, name, rv: null, deleting: false }];
  }
  if (code >= 300 || responseObject?.kind !== kind) return [];
  const { namespace = "", name = "", resourceVersion = "", deletionTimestamp } = responseObject.metadata ?? {};
  return [{ namespace, kind, name, rv: Number(resourceVersion), deleting: deletionTimestamp !== undefined }];
}

/** Where the watch and the API server's own log disagree: such a record proves nothing. */
export function gapsIn(logged: readonly Logged[], versions: readonly Version[]): readonly string[] {
  const told = new Set(versions.map(({ object }) => Number(object.metadata.resourceVersion)));
  const known = new Set(logged.map(({ rv }) => rv));
  const untold = logged.filter(({ rv, deleting }) => rv !== null && !deleting && !told.has(rv));
  const unlogged = versions.filter(
    ({ object: { metadata }, deleted }) =>
      !deleted && metadata.deletionTimestamp === undefined && !known.has(Number(metadata.resourceVersion)),
  );
  return [
    ...untold.map(({ kind, name, rv }) => `[gap] the watch told nothing of version ${rv} of ${kind} ${name}`),
    ...unaccounted(logged, unlogged).map(
      ({ object: { kind, metadata } }) =>
        `[gap] the API server logged no write of version ${metadata.resourceVersion} of ${kind ?? ""} ${metadata.name}`,
    ),
  ];
}

/** Those of the unlogged versions that no unanswered write of the same object accounts for: each accounts for one. */
function unaccounted(logged: readonly Logged[], unlogged: readonly Version[]): readonly Version[] {
  const left = new Map<string, number>();
  const key = (kind: string, namespace: string, name: string): string => `${kind} ${namespace}/${name}`;
  for (const { rv, kind, namespace, name } of logged) {
    if (rv === null) left.set(key(kind, namespace, name), (left.get(key(kind, namespace, name)) ?? 0) + 1);
  }
  return unlogged.filter(({ object: { kind = "", metadata } }) => {
    const object = key(kind, metadata.namespace ?? "", metadata.name);
    const count = left.get(object) ?? 0;
    left.set(object, count - 1);
    return count <= 0;
  });
}
