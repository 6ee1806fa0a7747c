import { hexDigest } from "../lib/digest.ts";
import { never } from "../lib/never.ts";
import type { CommandField, Control } from "./stored.ts";

/** The command as text, to tell a new one from one that was answered; null where it is not given. */
export function valueOf(field: CommandField, control: Control): string | null {
  switch (field) {
    case "paused":
      return control.paused === null ? null : String(control.paused);
    case "rollback":
    case "cancel":
      return control[field] ? "true" : null;
    case "retry":
      return control.retry === null ? null : String(control.retry);
    case "approvals":
      return listed(approvalsAsText(control));
    case "skip":
      return listed(Object.entries(control.skip).map(([stage, { by, reason }]) => `${stage}:${by}:${reason}`));
    default:
      return never(field);
  }
}

const approvalsAsText = ({ approvals }: Control): readonly string[] =>
  Object.entries(approvals).flatMap(([stage, users]) =>
    Object.entries(users).map(
      ([user, { decision, comment, expect }]) => `${stage}:${user}:${decision}:${expect ?? ""}:${comment ?? ""}`,
    ),
  );

const VALUE = 64;

/** A short text for a set of entries: themselves where they fit, else their digest. */
function listed(items: readonly string[]): string | null {
  if (items.length === 0) return null;
  const text = items.toSorted().join(",");
  return text.length <= VALUE ? text : `sha256:${hexDigest(text).slice(0, 24)}`;
}
