import type { z } from "zod";
import type { JsonObject } from "../lib/json.ts";
import { type Millis, millisOf, parseDuration, seconds } from "../lib/time.ts";
import type { Control, Endpoint, Issue, Placement, Previous, Retry, StageSpec, TaskSpec } from "../domain/stored.ts";
import { controlSchema, type KindSchemas, switchTaskSpec } from "./switch-task.ts";
import { countOf, type Fields, fieldsOf, listOf, numberOf, oneOf, textMap, textOf } from "./wire.ts";

export interface DecodedSpec {
  /** null where `issues` holds errors. */
  readonly spec: TaskSpec | null;
  readonly issues: readonly Issue[];
}

const WEEK = millisOf(168 * 3_600_000);
const MOST_ISSUES = 50;

/** Decoder of `spec` for the registered kinds. Total: whatever comes gives a spec or issues with path and value (SEC-16). */
export function specDecoder(kinds: KindSchemas): (spec: unknown) => DecodedSpec {
  const schema = switchTaskSpec(kinds);
  const names = Object.keys(kinds);
  return (raw) => {
    const { control: _control, ...spec } = fieldsOf(raw);
    const parsed = schema.safeParse(spec);
    if (!parsed.success)
      return { spec: null, issues: parsed.error.issues.slice(0, MOST_ISSUES).map((found) => issueOf(found, spec)) };
    const several = listOf(spec["stages"]).flatMap((stage, i) => wrongKinds(fieldsOf(stage), i, names));
    return several.length > 0 ? { spec: null, issues: several } : { spec: specOf(spec, names), issues: [] };
  };
}

function issueOf(found: z.core.$ZodIssue, spec: Fields): Issue {
  const path = found.path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : `${text}.${String(key)}`),
    "spec",
  );
  const value = found.path.reduce<unknown>(
    (here, key) => (Array.isArray(here) ? here[Number(key)] : fieldsOf(here)[String(key)]),
    spec,
  );
  const shown = value === undefined ? "" : (JSON.stringify(value) ?? "");
  return {
    severity: "error",
    path: path.slice(0, 128),
    value: shown.slice(0, 128),
    message: found.message.slice(0, 256),
  };
}

function wrongKinds(stage: Fields, index: number, names: readonly string[]): readonly Issue[] {
  const set = names.filter((kind) => stage[kind] !== undefined);
  if (set.length === 1) return [];
  const message = `set exactly one of ${names.join(", ")}`;
  return [{ severity: "error", path: `spec.stages[${index}]`, value: set.join(", "), message }];
}

const durationOf = (value: unknown): Millis | null => (typeof value === "string" ? parseDuration(value) : null);

function specOf(spec: Fields, kinds: readonly string[]): TaskSpec {
  const plan = fieldsOf(spec["plan"]);
  return {
    tenantId: textOf(spec["tenantId"]) ?? "",
    executionUnit: textOf(spec["executionUnit"]),
    plan: { id: countOf(plan["id"]), version: countOf(plan["version"]) },
    target: placementOf(spec["target"]),
    previous: spec["previous"] === undefined ? null : previousOf(spec["previous"]),
    requestedBy: textOf(spec["requestedBy"]),
    serviceAccountName: textOf(spec["serviceAccountName"]),
    stages: listOf(spec["stages"]).map((stage) => stageOf(fieldsOf(stage), kinds)),
    onFailure: oneOf(spec["onFailure"], ["Hold", "Rollback"]) ?? "Hold",
    retry: retryOf(spec["retry"]),
    progressDeadline: durationOf(spec["progressDeadline"]),
    rollbackWindow: durationOf(spec["rollbackWindow"]) ?? WEEK,
    deletionPolicy: oneOf(spec["deletionPolicy"], ["Rollback", "Abandon", "Block"]) ?? "Rollback",
    ttlAfterFinished: durationOf(spec["ttlAfterFinished"]),
    dryRun: spec["dryRun"] === true,
  };
}

export function placementOf(value: unknown): Placement {
  const fields = fieldsOf(value);
  const unit = fieldsOf(fields["deployUnit"]);
  return {
    deployUnit: { id: countOf(unit["id"]), name: textOf(unit["name"]) ?? "", version: countOf(unit["version"]) },
    endpoints: listOf(fields["endpoints"]).map(endpointOf),
    parameters: textMap(fields["parameters"]),
    default: fields["default"] === true,
  };
}

function endpointOf(value: unknown): Endpoint {
  const { key, host, port } = fieldsOf(value);
  return { key: textOf(key) ?? "", host: textOf(host) ?? "", port: countOf(port) };
}

export function previousOf(value: unknown): Previous {
  const fields = fieldsOf(value);
  const task = fieldsOf(fields["task"]);
  const name = textOf(task["name"]);
  return {
    ...placementOf(value),
    planVersion: countOf(fields["planVersion"]),
    task: name === null ? null : { name, uid: textOf(task["uid"]) ?? "" },
  };
}

function stageOf(stage: Fields, kinds: readonly string[]): StageSpec {
  const kind = kinds.find((name) => stage[name] !== undefined) ?? "";
  return {
    name: textOf(stage["name"]) ?? "",
    kind,
    config: fieldsOf(stage[kind]) as JsonObject,
    timeout: durationOf(stage["timeout"]),
    attemptTimeout: durationOf(stage["attemptTimeout"]),
    instanceTimeout: durationOf(stage["instanceTimeout"]),
    retry: retryOf(stage["retry"]),
    onDrift: oneOf(stage["onDrift"], ["Hold", "Overwrite", "Keep"]) ?? "Hold",
  };
}

/** What is given of a retry policy; a backoff is filled up with the defaults of stages.md. */
function retryOf(value: unknown): Partial<Retry> | null {
  if (value === undefined) return null;
  const fields = fieldsOf(value);
  const most = numberOf(fields["maxAttempts"]);
  const waits = fieldsOf(fields["backoff"]);
  const backoff = {
    initial: durationOf(waits["initial"]) ?? seconds(1),
    factor: numberOf(waits["factor"]) ?? 2,
    max: durationOf(waits["max"]) ?? seconds(30),
  };
  return { ...(most === null ? {} : { maxAttempts: most }), ...(fields["backoff"] === undefined ? {} : { backoff }) };
}

const NO_CONTROL: Control = { paused: null, rollback: false, cancel: false, retry: null, approvals: {}, skip: {} };

/** `spec.control`. What does not decode is not a command: the API server let nothing of the kind through. */
export function controlOf(spec: unknown): Control {
  const raw = fieldsOf(spec)["control"];
  if (raw === undefined) return NO_CONTROL;
  const parsed = controlSchema.safeParse(raw);
  if (!parsed.success) return NO_CONTROL;
  const { paused, rollback, cancel, retry, approvals, skip } = parsed.data;
  return {
    paused: paused ?? null,
    rollback: rollback ?? false,
    cancel: cancel ?? false,
    retry: retry ?? null,
    approvals: mapValues(approvals ?? {}, (users) =>
      mapValues(users, ({ decision, comment, expect }) => ({
        decision,
        comment: comment ?? null,
        expect: expect ?? null,
      })),
    ),
    skip: skip ?? {},
  };
}

const mapValues = <A, B>(map: Readonly<Record<string, A>>, change: (value: A) => B): Readonly<Record<string, B>> =>
  Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]));
