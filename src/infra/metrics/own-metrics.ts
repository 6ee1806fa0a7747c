import type { Metric } from "./metric-table.ts";

/** Metrics of one service, each declared once: `{ messages_total: { kind: "counter", labels: ["result"], help: "…" } }`. */
export type MetricTable = Readonly<Record<string, Metric>>;

/** Before the names of the table: `im_repo_messages_total`. */
export interface Names {
  readonly namespace: string;
  readonly subsystem?: string | undefined;
}

type Of<T extends MetricTable, K extends Metric["kind"]> = {
  readonly [N in keyof T & string]: T[N]["kind"] extends K ? N : never;
}[keyof T & string];
type LabelsOf<T extends MetricTable, N extends keyof T> = Readonly<Record<T[N]["labels"][number], string>>;

/** Only what the table declares compiles. */
export interface Declared<T extends MetricTable> {
  count<N extends Of<T, "counter">>(name: N, labels: LabelsOf<T, N>, by?: number): void;
  observe<N extends Of<T, "histogram">>(name: N, labels: LabelsOf<T, N>, value: number): void;
  set<N extends Of<T, "gauge">>(name: N, labels: LabelsOf<T, N>, value: number): void;
}

export const fullName = ({ namespace, subsystem }: Names, name: string): string =>
  [namespace, subsystem, name].filter((part) => part !== undefined).join("_");

export function declaredOf<T extends MetricTable>(
  apply: (name: string, labels: Readonly<Record<string, string>>, value: number) => void,
): Declared<T> {
  return {
    count: (name, labels, by = 1) => apply(name, labels, by),
    observe: (name, labels, value) => apply(name, labels, value),
    set: (name, labels, value) => apply(name, labels, value),
  };
}
