import { readFile } from "node:fs/promises";

/** A scrape. */
export interface Metrics {
  /** Sum over the series of that name whose labels are these. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
  /** Requests to the API server that were answered or failed, by verb. */
  requests(): Readonly<Record<string, number>>;
  /** Every value of a label. */
  labels(): readonly string[];
  /** Metrics as they are declared: a histogram is one. */
  names(): readonly string[];
}

/** Asks the operator whose log this is. */
export async function scrape(log: string): Promise<Metrics> {
  const started = (await readFile(log, "utf8")).split("\n").find((line) => line.includes('"started"')) ?? "{}";
  const { listen } = JSON.parse(started) as { readonly listen?: { readonly host: string; readonly port: number } };
  if (listen === undefined) throw new Error(`${log} does not say where the operator listens`);
  const answer = await fetch(`http://${listen.host}:${listen.port}/metrics`);
  return metricsOf(await answer.text());
}

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function metricsOf(text: string): Metrics {
  const series = text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(seriesOf);
  const those = (name: string): readonly Series[] => series.filter((one) => one.name === name);
  return {
    sum: (name, labels = {}) =>
      those(name)
        .filter((one) => Object.entries(labels).every(([label, value]) => one.labels[label] === value))
        .reduce((sum, { value }) => sum + value, 0),
    requests: () => {
      const verbs: Record<string, number> = {};
      for (const { labels, value } of those("turnout_kube_requests_total"))
        verbs[labels["verb"] ?? ""] = (verbs[labels["verb"] ?? ""] ?? 0) + value;
      return verbs;
    },
    labels: () => series.flatMap((one) => Object.values(one.labels)),
    names: () => [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name ?? ""),
  };
}

function seriesOf(line: string): Series {
  const found = /^([a-z0-9_]+)(?:\{(.*)\})? (\S+)/i.exec(line);
  const labels = [...(found?.[2] ?? "").matchAll(/([a-z0-9_]+)="([^"]*)"/gi)].map(([, label, value]) => [label, value]);
  return { name: found?.[1] ?? "", labels: Object.fromEntries(labels) as Series["labels"], value: Number(found?.[3]) };
}
