import { at } from "../../src/lib/json-pointer.ts";
import type { Json } from "../../src/lib/json.ts";
import { isTerminal, type Phase, PHASES } from "../../src/domain/phase.ts";
import type { Kubectl } from "./kubectl.ts";

/** A task as the demo shows it. */
export interface TaskRow {
  readonly name: string;
  readonly tenant: string;
  readonly uid: string;
  readonly phase: Phase;
  readonly progress: string;
  readonly waiting: string;
  readonly stages: readonly { readonly name: string; readonly state: string }[];
  readonly failure: string;
  readonly commands: Readonly<Record<string, { readonly value: string; readonly result: string }>>;
  readonly isOver: boolean;
}

const text = (value: Json | undefined): string => (typeof value === "string" ? value : "");

export async function readTasks(kubectl: Kubectl, namespace: string): Promise<readonly TaskRow[]> {
  const list = (await kubectl.json("get", "swt", "-n", namespace)) as Readonly<Record<string, Json>>;
  const items = list["items"];
  return Array.isArray(items) ? items.map(rowOf) : [];
}

function rowOf(task: Json): TaskRow {
  const phase = PHASES.find((known) => known === at(task, "/status/phase")) ?? "Created";
  const stages = at(task, "/status/stages");
  const done = at(task, "/metadata/labels/turnout.dev~1done") !== undefined;
  return {
    name: text(at(task, "/metadata/name")),
    tenant: text(at(task, "/spec/tenantId")),
    uid: text(at(task, "/metadata/uid")),
    phase,
    progress: text(at(task, "/status/progress")),
    waiting: text(at(task, "/status/waiting/reason")),
    stages: Array.isArray(stages)
      ? stages.map((stage: Json) => ({ name: text(at(stage, "/name")), state: text(at(stage, "/state")) }))
      : [],
    failure: text(at(task, "/status/failure/code")),
    commands: (at(task, "/status/commands") ?? {}) as unknown as TaskRow["commands"],
    isOver: isTerminal(phase) && done,
  };
}

export interface TenantRow {
  readonly tenant: string;
  readonly unit: string;
  readonly planVersion: number | null;
  readonly holder: string;
}

export async function readTenants(kubectl: Kubectl, namespace: string): Promise<readonly TenantRow[]> {
  const list = (await kubectl.json("get", "tstate", "-n", namespace)) as Readonly<Record<string, Json>>;
  const items = list["items"];
  if (!Array.isArray(items)) return [];
  return items.map((item: Json) => {
    const version = at(item, "/status/current/planVersion");
    return {
      tenant: text(at(item, "/spec/tenantId")),
      unit: text(at(item, "/status/current/deployUnit/name")),
      planVersion: typeof version === "number" ? version : null,
      holder: text(at(item, "/status/holder/task")),
    };
  });
}
