import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { ReceiverProcess } from "./children.ts";
import type { Stand } from "./stand.ts";
import { readTasks, readTenants, type TaskRow, type TenantRow } from "./tasks.ts";

export interface AuditRow {
  readonly tenant: string;
  readonly phase: string;
  readonly statusSays: string;
  readonly receiverSays: string;
  readonly redisSays: string;
  readonly effects: number;
  readonly problems: readonly string[];
}

/** How each tenant of the play must have ended. */
const EXPECTED: Readonly<Record<string, { readonly phase: string; readonly unit: string; readonly version: number }>> =
  {
    acme: { phase: "RolledBack", unit: "blue", version: 41 },
    wayne: { phase: "RolledBack", unit: "blue", version: 41 },
  };
const USUAL = { phase: "Completed", unit: "green", version: 42 } as const;

/** Compares what statuses claim with what receivers serve and Redis holds, tenant by tenant. Empty problems everywhere: nothing was lost. */
export async function audit(stand: Stand): Promise<readonly AuditRow[]> {
  const tasks = await readTasks(stand.kubectl, stand.namespace);
  const tenants = await readTenants(stand.kubectl, stand.namespace);
  const effects = [...(await stand.blue.effects()), ...(await stand.green.effects())];
  return Promise.all(
    tasks.map((task) => {
      const mine = effects.filter((effect) => effect["tenant"] === `${stand.namespace}/${task.tenant}`);
      return auditOne(stand, task, { tenant: tenants.find(({ tenant }) => tenant === task.tenant), effects: mine });
    }),
  );
}

interface Found {
  readonly tenant: TenantRow | undefined;
  readonly effects: readonly Readonly<Record<string, unknown>>[];
}

async function auditOne(stand: Stand, task: TaskRow, { tenant, effects }: Found): Promise<AuditRow> {
  const expected = EXPECTED[task.tenant] ?? USUAL;
  const serving: ReceiverProcess = expected.unit === "blue" ? stand.blue : stand.green;
  const state = (await serving.state(`${stand.namespace}/${task.tenant}`)) as Json;
  const hash = await stand.redis.hgetall(`tenant:${task.tenant}`);
  const says = {
    status: `${tenant?.unit ?? "?"} ${tenant?.planVersion ?? "?"}`,
    receiver: `${shown(at(state, "/deployUnit/name"))} ${shown(at(state, "/version"))}`,
    redis: `${hash["unit"] ?? "?"} ${hash["version"] ?? "?"}`,
  };
  const want = `${expected.unit} ${expected.version}`;
  const problems = [
    ...(task.phase === expected.phase ? [] : [`phase ${task.phase} instead of ${expected.phase}`]),
    ...Object.entries(says).flatMap(([who, said]) => (said === want ? [] : [`${who} says ${said} instead of ${want}`])),
    ...(tenant?.holder === "" ? [] : [`still held by ${tenant?.holder ?? "?"}`]),
    ...doubled(effects),
  ];
  return {
    tenant: task.tenant,
    phase: task.phase,
    statusSays: says.status,
    receiverSays: says.receiver,
    redisSays: says.redis,
    effects: effects.length,
    problems,
  };
}

const shown = (value: Json | undefined): string =>
  value === undefined ? "?" : typeof value === "string" ? value : JSON.stringify(value);

/** Each operation takes effect once per receiver, however often it was sent. */
function doubled(effects: Found["effects"]): readonly string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { unit, opId, verdict } of effects) {
    const key = `${String(unit)} ${String(opId)}`;
    if (verdict === "applied" && seen.has(key)) twice.add(key);
    if (verdict === "applied") seen.add(key);
  }
  return [...twice].map((key) => `took effect twice: ${key.slice(0, 20)}…`);
}

const COLUMNS = [12, 12, 12, 14, 12, 8] as const;
const pad = (parts: readonly string[]): string =>
  parts
    .map((part, i) => part.padEnd(COLUMNS[i] ?? 0))
    .join(" ")
    .trimEnd();

export function auditTable(rows: readonly AuditRow[]): readonly string[] {
  const head = pad(["TENANT", "PHASE", "STATUS SAYS", "RECEIVER SAYS", "REDIS SAYS", "EFFECTS"]);
  const lines = rows.map((row) => {
    const line = pad([row.tenant, row.phase, row.statusSays, row.receiverSays, row.redisSays, String(row.effects)]);
    return row.problems.length === 0 ? `${line}  ok` : `${line}  ✘ ${row.problems.join("; ")}`;
  });
  return [head, ...lines];
}
