import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { isTerminal } from "../../src/domain/phase.ts";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import type { TaskSpec } from "../../src/domain/stored.ts";
import type { Act, Found, Outcome } from "../../src/domain/task.ts";
import { decideTenant } from "../../src/domain/tenant.ts";
import { SETTINGS } from "../support/domain-kinds.ts";
import { aged, normalStatus, normalTenant, OLD } from "./time.ts";
import { aService, aStore, receive } from "./receivers.ts";
import {
  type Budget,
  type Copy,
  type Doing,
  type DoingFields,
  type Flight,
  type FlightFields,
  type InHand,
  type Kept,
  type KeptAct,
  type LateFields,
  type LateWrite,
  type Memory,
  type MemoryFields,
  type Message,
  type Past,
  Pool,
  type Process,
  type ProcessFields,
  type Receiver,
  type Receivers,
  type Rivals,
  type Rules,
  type Scenario,
  type TaskFields,
  type TaskObject,
  type TenantFields,
  type TenantObject,
  type Verdict,
  type World,
} from "./world.ts";

/** The shipped functions, and receivers as stages.md wants them. */
export const FAITHFUL: Rules = {
  decide,
  settle,
  decideTenant,
  receive,
  sees: (view) => view,
  audience: ({ addresses }) => addresses,
  patchChecked: true,
  adopts: false,
};

const NOTHING_MAY: Budget = {
  crashes: 0,
  losses: 0,
  refusals: 0,
  early: 0,
  rollbacks: [],
  cancels: [],
  releases: 0,
  vanishings: 0,
  again: [],
};

const NO_MEMORY: MemoryFields = {
  doing: null,
  inHand: null,
  polling: null,
  fresh: false,
  rivals: null,
  reread: null,
  seen: null,
  place: null,
};

/** What the tasks of a scenario are called; their uids are `uid-1` and so on. */
export const nameOf = (index: number): string => `acme-${index + 1}`;

/** Keeps every value that occurs once, and remembers what pure functions answered. One for each search. */
export class Machine {
  readonly scenario: Scenario;
  readonly rules: Rules;
  readonly timed: boolean;
  readonly #tasks = new Pool<TaskFields>();
  readonly #tenants = new Pool<TenantFields>();
  readonly #receivers = new Pool<Receivers>();
  readonly #flights = new Pool<FlightFields>();
  readonly #late = new Pool<LateFields>();
  readonly #processes = new Pool<ProcessFields>();
  readonly #memories = new Pool<MemoryFields>();
  readonly #acts = new Pool<{ readonly act: Act }>();
  readonly #hands = new Pool<{ readonly act: KeptAct; readonly outcome: Outcome | Found }>();
  readonly #doings = new Pool<DoingFields>();
  readonly #rivals = new Pool<{ readonly list: Rivals["list"] }>();
  readonly #budgets = new Pool<Budget>();
  readonly #pasts = new Pool<Past>();
  readonly #answers = new Map<string, unknown>();

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.rules = { ...FAITHFUL, ...scenario.rules };
    this.timed = scenario.timed === true;
  }

  /** The answer of a pure function for what `key` stands for; made once. */
  once<T>(key: string, make: () => T): T {
    const known = this.#answers.get(key);
    if (known !== undefined) return known as T;
    const answer = make();
    this.#answers.set(key, answer);
    return answer;
  }

  spec(index: number): TaskSpec {
    const spec = this.scenario.specs[index];
    if (spec === undefined) throw new Error(`no task ${index}`);
    return spec;
  }

  task(fields: TaskFields): TaskObject {
    const { index, uid, exists, status, finalizer, done, rollback, cancel, deleted } = fields;
    const normal = status === null ? null : normalStatus(status, this.timed);
    return this.#tasks.keep({ index, uid, exists, status: normal, finalizer, done, rollback, cancel, deleted });
  }

  tenant({ exists, status, release }: TenantFields): TenantObject {
    return this.#tenants.keep({ exists, status: status === null ? null : normalTenant(status), release });
  }

  receivers(known: Receivers["at"]): Receivers & Kept {
    return this.#receivers.keep({ at: known });
  }

  flight(fields: FlightFields): Flight {
    const { message, from, act, age } = fields;
    return this.#flights.keep({ message, from, act, age });
  }

  late(fields: LateFields): LateWrite {
    return this.#late.keep(
      fields,
      `${fields.on} ${fields.after.id} ${fields.checked} ${fields.from} ${fields.on === "task" ? fields.inHand?.id : ""}`,
    );
  }

  process({ index, copies: held, tenant, memories }: ProcessFields): Process {
    const copies = held.map((copy, i) => this.#dimmed(copy, memories[i]));
    let key = `${index} ${tenant.of.id} ${tenant.current}`;
    for (const copy of copies) key += ` ${copy.of.id} ${copy.blind === true ? "blind" : copy.current}`;
    for (const memory of memories) key += ` ${memory.id}`;
    return this.#processes.keep({ index, copies, tenant, memories }, key);
  }

  /**
   * An old copy of a task between its first claim and its end leads to writes of that task alone, which are refused, and then it is read.
   * So what it says is the same as that it is old. Before and after, an old copy may lead to a write of TenantState.
   */
  #dimmed(copy: Copy<TaskObject>, memory: Memory | undefined): Copy<TaskObject> {
    const { status, index, uid } = copy.of;
    if (copy.current || copy.blind === true || this.rules.adopts || status === null) return copy;
    const isUnderWay = !isTerminal(status.phase) && status.seq > 0 && status.waiting?.reason !== "Diverged";
    return isUnderWay && memory?.polling === null
      ? { of: this.#untold(index, uid), current: false, blind: true }
      : copy;
  }

  #untold(index: number, uid: string): TaskObject {
    return this.task({
      index,
      uid,
      exists: true,
      status: null,
      finalizer: false,
      done: false,
      rollback: false,
      cancel: false,
      deleted: false,
    });
  }

  memory(fields: Partial<MemoryFields>, before: MemoryFields = NO_MEMORY): Memory {
    const { doing, inHand, polling, fresh, rivals, reread, seen, place } = { ...before, ...fields };
    const again = reread === null ? "" : `${reread.claimed?.id ?? "-"},${reread.tenant}`;
    const key = `${doing?.id} ${inHand?.id} ${polling} ${fresh} ${rivals?.id} ${again} ${seen?.nonce} ${seen?.age} ${JSON.stringify(place)}`;
    return this.#memories.keep({ doing, inHand, polling, fresh, rivals, reread, seen, place }, key);
  }

  act(act: Act): KeptAct {
    return this.#acts.keep({ act });
  }

  inHand(act: KeptAct, outcome: Outcome | Found): InHand {
    return this.#hands.keep({ act, outcome }, `${act.id} ${JSON.stringify(outcome)}`);
  }

  doing({ act, step, answers, age, adopted }: DoingFields): Doing {
    const key = `${act.id} ${step} ${age} ${adopted} ${JSON.stringify(answers)}`;
    return this.#doings.keep({ act, step, answers, age, adopted }, key);
  }

  rivals(list: Rivals["list"]): Rivals {
    return this.#rivals.keep({ list });
  }

  budget(budget: Budget): Budget & Kept {
    const { crashes, losses, refusals, early, rollbacks, cancels, releases, vanishings, again } = budget;
    return this.#budgets.keep({ crashes, losses, refusals, early, rollbacks, cancels, releases, vanishings, again });
  }

  past({ before, refusable, gone, vanished, released }: Past): Past & Kept {
    return this.#pasts.keep({ before, refusable, gone, vanished, released });
  }

  /** One message to one receiver, and everything behind all addresses afterwards. */
  received(all: Receivers & Kept, flight: Flight): { readonly receivers: Receivers & Kept; readonly verdict: Verdict } {
    const { message } = flight;
    return this.once(`receive ${all.id} ${flight.id}`, () => {
      const { receiver, verdict } = this.rules.receive(this.receiver(all, message.to, message), message);
      return { receivers: this.receivers({ ...all.at, [message.to]: receiver }), verdict };
    });
  }

  receiver(all: Receivers, address: string, about: Pick<Message, "store" | "fenced">): Receiver {
    return all.at[address] ?? (about.store ? aStore(null) : aService(null, about.fenced));
  }

  /** One tick later, for an object that holds moments. */
  older(task: TaskObject): TaskObject {
    const { status } = task;
    return status === null ? task : this.once(`older ${task.id}`, () => this.task({ ...task, status: aged(status) }));
  }

  get size(): string {
    const pools = {
      tasks: this.#tasks,
      tenants: this.#tenants,
      receivers: this.#receivers,
      flights: this.#flights,
      processes: this.#processes,
      memories: this.#memories,
    };
    return Object.entries(pools)
      .map(([name, pool]) => `${pool.size} ${name}`)
      .join(", ");
  }

  /** The world before anything happened: tasks that nobody has looked at. */
  start(): World {
    const { scenario } = this;
    const tasks = scenario.specs.map((_, index) => this.#untold(index, `uid-${index + 1}`));
    const tenant = this.tenant({ exists: scenario.tenant !== null, status: scenario.tenant, release: null });
    const processes = Array.from({ length: scenario.processes }, (_, index) =>
      this.process({
        index,
        copies: tasks.map((of) => ({ of, current: true })),
        tenant: { of: tenant, current: true },
        memories: tasks.map(() => this.memory({})),
      }),
    );
    const may = this.budget({ ...NOTHING_MAY, ...scenario.may });
    const past = this.past({
      before: tasks.map(() => null),
      refusable: tasks.map(() => false),
      gone: null,
      vanished: false,
      released: false,
    });
    return { tasks, tenant, receivers: this.receivers(this.#untouched()), flights: [], late: [], processes, may, past };
  }

  /** Everything that any task may touch, as it was before: stores and receivers hold what the tenant's present place says. */
  #untouched(): Receivers["at"] {
    const current = this.scenario.tenant?.current ?? null;
    const served: Json = current === null ? null : { version: current.planVersion };
    const found: Record<string, Receiver> = {};
    for (const { stages, target } of this.scenario.specs) {
      for (const { kind, config } of stages) {
        if (kind === "write") found[`store|${keyOf(config)}`] = aStore(served);
        if (kind === "write" || kind === "wait" || kind === "approval") continue;
        const { there, later, fenced } = placesOf(config, current?.endpoints ?? [], target.endpoints);
        for (const address of later) found[address] ??= aService(null, fenced);
        for (const address of there) found[address] = aService(served, fenced);
      }
    }
    return found;
  }
}

type Places = readonly { readonly key: string; readonly host: string; readonly port: number }[];

/** Whom a stage may tell: who serves the tenant now, and who will. */
function placesOf(config: Readonly<Record<string, Json>>, now: Places, then: Places) {
  const endpoint = typeof config["endpoint"] === "string" ? config["endpoint"] : "receivers";
  const facts = SETTINGS.endpoints[endpoint];
  const fenced = facts?.fencing !== "None";
  const to = at(config, "/to");
  const under = (places: Places): readonly string[] =>
    places.filter(({ key }) => key === to).map(({ key, host, port }) => `${key}|${host}:${port}`);
  return typeof to === "string"
    ? { there: under(now), later: under(then), fenced }
    : { there: (facts?.addresses ?? []).map((address) => `${endpoint}|${address}`), later: [], fenced };
}

const keyOf = (config: Readonly<Record<string, Json>>): string => {
  const key = typeof config["key"] === "string" ? config["key"] : "t:${namespace}/${tenantId}";
  return key.replace("${namespace}", "prod").replace("${tenantId}", "acme");
};

export const older = (age: number): number => Math.min(age + 1, OLD);
