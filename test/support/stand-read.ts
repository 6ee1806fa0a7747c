import type { ReceiverProcess } from "../../deployment/demo/children.ts";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { Document } from "./stand-space.ts";

// What a person would look up in a task, short enough to compare whole.

type Fields = Readonly<Record<string, Json>>;
const listAt = (document: Document, pointer: string): readonly Fields[] =>
  (at(document, pointer) ?? []) as unknown as readonly Fields[];

/** `Created → Validating (TaskSeen)`, oldest first. */
export const historyOf = (task: Document): readonly string[] =>
  listAt(task, "/status/history").map(({ from, to, reason }) => `${text(from)} → ${text(to)} (${text(reason)})`);

/** Every phase that was entered, in order. */
export const phasesOf = (task: Document): readonly string[] =>
  listAt(task, "/status/history").map(({ to }) => text(to));

/** Stage → state. */
export const stagesOf = (task: Document): Readonly<Record<string, string>> =>
  Object.fromEntries(listAt(task, "/status/stages").map(({ name, state }) => [text(name), text(state)]));

/** Condition → `True/Completed`. */
export const conditionsOf = (task: Document): Readonly<Record<string, string>> =>
  Object.fromEntries(
    listAt(task, "/status/conditions").map(({ type, status, reason }) => [
      text(type),
      `${text(status)}/${text(reason)}`,
    ]),
  );

/** Conditions of stages only. */
export const stageConditionsOf = (task: Document): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(conditionsOf(task)).flatMap(([type, said]) =>
      type.startsWith(STAGE) ? [[type.slice(STAGE.length), said]] : [],
    ),
  );
const STAGE = "stage.turnout.dev/";

/** Message of a condition. */
export const messageOf = (task: Document, type: string): string =>
  text(listAt(task, "/status/conditions").find((condition) => condition["type"] === type)?.["message"]);

const text = (value: Json | undefined): string =>
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);

export const textAt = (document: Document, pointer: string): string => text(at(document, pointer));

/** One PUT that reached a receiver, as it wrote it down. */
export interface Effect {
  readonly unit: string;
  readonly version: number;
  readonly verdict: string;
  readonly fence: string;
  readonly opId: string;
}

/** PUTs about one tenant at several receivers, in the order of the receivers and of each one's log. */
export async function effectsAt(receivers: readonly ReceiverProcess[], tenant: string): Promise<readonly Effect[]> {
  const all = await Promise.all(receivers.map((receiver) => receiver.effects()));
  return all.flat().filter((effect) => effect["tenant"] === tenant) as unknown as readonly Effect[];
}

/** `green 42 applied`, in order. */
export const effectLines = (effects: readonly Effect[]): readonly string[] =>
  effects.map(({ unit, version, verdict }) => `${unit} ${version} ${verdict}`);

/** Operations that took effect more than once at one receiver. */
export function doubled(effects: readonly Effect[]): readonly string[] {
  const keys = effects.filter(({ verdict }) => verdict === "applied").map(({ unit, opId }) => `${unit} ${opId}`);
  return keys.filter((key, i) => keys.indexOf(key) !== i);
}

/** Writes of the status that moved a stage: its list of stages is another one than in the version before. */
export function stageWrites(versions: readonly Document[]): number {
  const stages = versions.map((version) => JSON.stringify(at(version, "/status/stages") ?? []));
  return stages.filter((now, i) => now !== (stages[i - 1] ?? "[]")).length;
}
