import { readFile } from "node:fs/promises";
import type { Entry, Happening, Recording } from "../history/recording.ts";
import type { Wire } from "./fault-proxy.ts";
import { taskVersion, tenantVersion } from "./history-read.ts";
import type { SweepOperator, SweepWorld } from "./sweep-world.ts";

export interface RunAbout {
  readonly namespace: string;
  readonly operators: readonly SweepOperator[];
  readonly happenings: readonly Happening[];
  /** Wire whose answer its sender certainly never saw. */
  readonly unseen: Wire | null;
  /** What effects of the plan say in a run that nothing disturbs, by `stage direction part to`; the namespace in it written NS. */
  readonly contents: Readonly<Record<string, string>>;
}

/** A run through the proxy as checkers take it. @throws where a stored write is missing among the versions: such a history proves nothing */
export async function recordingOf(world: SweepWorld, about: RunAbout): Promise<Recording> {
  const { namespace, operators } = about;
  const wires = world.proxy.passed(namespace);
  await verdictsFrom(world, namespace, wires);
  const versions = versionsOf(world, namespace, wires);
  const gap = gapIn(versions, wires);
  if (gap !== null) throw new Error(`the record of ${namespace} has a gap: ${gap}`);
  const entries: readonly Entry[] = [
    ...versions,
    ...wires.filter(({ order }) => order > 0).map((wire) => entryOf(wire, wire === about.unseen)),
    ...world.proxy.passed(LEASES).flatMap((wire) => leaseOf(wire, operators)),
    ...about.happenings,
  ];
  return {
    entries: entries.toSorted((a, b) => a.order - b.order),
    exact: true,
    outputs: await outputsOf(world, about),
    secrets: world.secrets,
    sockets: (await Promise.all(operators.map(socketsOf))).flat(),
    allowed: world.allowed,
    unfenced: [],
    planned: plannedFor(versions, about),
  };
}

function plannedFor(versions: readonly Stored[], { namespace, contents }: RunAbout): Recording["planned"] {
  const uids = new Set(versions.flatMap((version) => (version.is === "task" ? [version.uid] : [])));
  const own = Object.entries(contents).map(([what, said]) => [what.replaceAll("NS", namespace), said] as const);
  return Object.fromEntries([...uids].flatMap((uid) => own.map(([what, said]) => [`${uid} ${what}`, said])));
}

type Stored = Extract<Entry, { readonly is: "task" | "tenant" }>;

/** A version has the place at which the proxy saw it stored; one that somebody else made stands behind the version before it. */
function versionsOf({ record }: SweepWorld, namespace: string, wires: readonly Wire[]): readonly Stored[] {
  const stored = new Map(wires.flatMap(({ rv, stored: at }) => (rv === null || at === null ? [] : [[rv, at]])));
  const { tasks, tenants } = record.of(namespace);
  const all = [
    ...tasks.map((one) => taskVersion(one, { order: 0 })),
    ...tenants.map((one) => tenantVersion(one, { order: 0 })),
  ];
  let last = 0;
  return all
    .toSorted((a, b) => a.rv - b.rv)
    .map((version) => {
      const order = stored.get(version.rv) ?? last + 0.001;
      last = Math.max(last, order);
      return { ...version, order };
    });
}

const VERSIONED = new Set(["api/status", "api/tenant", "api/finalizer", "api/create"]);

export function gapIn(versions: readonly Stored[], wires: readonly Wire[]): string | null {
  const known = new Set(versions.map(({ rv }) => rv));
  const missing = wires.find(({ rv, kind }) => rv !== null && VERSIONED.has(kind) && !known.has(rv));
  return missing === undefined ? null : `${missing.kind}#${missing.n} stored version ${missing.rv}`;
}

/** Each PUT that arrived has its line in the receiver's own log, which alone knows whether it took force. */
async function verdictsFrom({ receivers }: SweepWorld, namespace: string, wires: readonly Wire[]): Promise<void> {
  const lines = await Promise.all(
    Object.values(receivers).map(async (receiver) =>
      (await receiver.effects())
        .filter(({ tenant }) => String(tenant).startsWith(`${namespace}/`))
        .map(({ opId, fence, verdict }) => ({
          to: receiver.unit,
          key: `${receiver.unit} ${String(opId)} ${String(fence)}`,
          verdict,
        })),
    ),
  );
  const queues = new Map<string, unknown[]>();
  for (const { key, verdict } of lines.flat()) queues.set(key, [...(queues.get(key) ?? []), verdict]);
  for (const wire of wires.filter(({ kind }) => kind === "effect/http")) {
    const verdict = queues.get(`${wire.to} ${wire.effect?.opId} ${wire.effect?.fence}`)?.shift();
    if (verdict === "applied" || verdict === "repeated") wire.verdict = verdict;
    else wire.verdict = verdict === undefined ? "never" : "refused";
  }
}

/** Where the settings' own default keeps them. */
const LEASES = "turnout-system";

/** Who wrote the lease holds it, or has just given it free. */
const leaseOf = (
  { kind, stored, code, at, process }: Wire,
  operators: readonly SweepOperator[],
): readonly Happening[] =>
  kind === "api/lease" && stored !== null && code < 300 && operators.some((one) => one.process === process)
    ? [{ is: "happening", order: stored, at, what: "lease", holder: process }]
    : [];

function entryOf(wire: Wire, unseen: boolean): Entry {
  const { order, at, process, kind, effect, to, code, rv, stored, verdict } = wire;
  if (effect === null)
    return { is: "write", order: stored ?? order, at, process, kind, subject: `${wire.namespace} ${to}`, code, rv };
  return {
    is: "effect",
    order,
    at,
    process,
    to,
    ...effect,
    verdict,
    answered: unseen ? null : wire.answered,
    fenced: true,
  };
}

async function outputsOf({ record }: SweepWorld, { namespace, operators }: RunAbout): Promise<Recording["outputs"]> {
  const logs = operators.map(async ({ log }) => ({ where: log, text: await textOf(log) }));
  const { tasks, tenants } = record.of(namespace);
  const last = [tasks.at(-1), tenants.at(-1)].map((version, i) => ({
    where: i === 0 ? "task" : "tenant",
    text: JSON.stringify(version?.object ?? null),
  }));
  return [...(await Promise.all(logs)), ...last];
}

async function socketsOf({ process, sockets }: SweepOperator): Promise<Recording["sockets"]> {
  return (await textOf(sockets))
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const { ip, host, port } = JSON.parse(line) as {
        readonly ip?: string;
        readonly host?: string;
        readonly port?: number;
      };
      return { process, address: `${ip ?? host ?? ""}:${port ?? ""}` };
    });
}

const textOf = (file: string): Promise<string> => readFile(file, "utf8").catch(() => "");
