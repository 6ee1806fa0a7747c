import { open, stat } from "node:fs/promises";
import type { Version } from "./stand-record.ts";

/** A version of one of our objects that the API server says it stored. */
export interface Logged {
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  readonly rv: number;
  /** Marked for deletion: the last write of such an object deletes it, and is told under another version. */
  readonly deleting: boolean;
}

export interface AuditLog {
  /** Every version stored since this log was opened, in these namespaces. */
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

function loggedIn(line: string): readonly Logged[] {
  if (!line.includes('"level":"RequestResponse"')) return [];
  const { responseStatus, responseObject } = JSON.parse(line) as AuditEvent;
  const { kind, metadata } = responseObject ?? {};
  if ((responseStatus?.code ?? 0) >= 300 || (kind !== "SwitchTask" && kind !== "TenantState")) return [];
  const { namespace = "", name = "", resourceVersion = "", deletionTimestamp } = metadata ?? {};
  return [{ namespace, kind, name, rv: Number(resourceVersion), deleting: deletionTimestamp !== undefined }];
}

/** Where the watch and the API server's own log disagree: such a record proves nothing. */
export function gapsIn(logged: readonly Logged[], versions: readonly Version[]): readonly string[] {
  const told = new Set(versions.map(({ object }) => Number(object.metadata.resourceVersion)));
  const known = new Set(logged.map(({ rv }) => rv));
  const untold = logged.filter(({ rv, deleting }) => !deleting && !told.has(rv));
  const unlogged = versions.filter(
    ({ object: { metadata }, deleted }) =>
      !deleted && metadata.deletionTimestamp === undefined && !known.has(Number(metadata.resourceVersion)),
  );
  return [
    ...untold.map(({ kind, name, rv }) => `[gap] the watch told nothing of version ${rv} of ${kind} ${name}`),
    ...unlogged.map(
      ({ object: { kind, metadata } }) =>
        `[gap] the API server logged no write of version ${metadata.resourceVersion} of ${kind ?? ""} ${metadata.name}`,
    ),
  ];
}
