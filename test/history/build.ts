import { base32Digest } from "../../src/lib/digest.ts";
import { formatFence } from "../../src/lib/fence.ts";
import type {
  Direction,
  Effect,
  Entry,
  Happening,
  Recording,
  SpecSeen,
  StageAbout,
  StageSeen,
  StatusSeen,
  TaskVersion,
  TenantVersion,
} from "./recording.ts";

// Histories by hand: each call is what happened next, one order and ten milliseconds later. Nothing here keeps anybody from writing nonsense.

const EPOCH = 1_795_244_397;

export const aStage = (name: string, about: Partial<StageAbout> = {}): StageAbout => ({
  name,
  kind: "http",
  role: "announce",
  publishes: false,
  duration: null,
  approvers: null,
  quorum: 1,
  endpoint: null,
  ...about,
});
export const ROUTE = aStage("route", { kind: "redis", role: "write", publishes: true });
export const NOTIFY = aStage("notify");
export const CHECK = aStage("check", { kind: "verify", role: "verify" });
export const GATE = aStage("gate", { kind: "approval", role: "gate", approvers: ["alice"] });
export const SOAK = aStage("soak", { kind: "wait", role: "gate", duration: 30_000 });

const SPEC: SpecSeen = {
  tenantId: "acme",
  previousKnown: true,
  dryRun: false,
  unit: false,
  stages: [ROUTE, NOTIFY, CHECK],
  paused: null,
  rollback: false,
  cancel: false,
  approvals: {},
  fixed: "spec",
};

const STATUS: StatusSeen = {
  phase: "Validating",
  direction: "Forward",
  protocolVersion: 1,
  observedGeneration: 1,
  epoch: 0,
  seq: 0,
  plan: null,
  digest: null,
  previousKnown: true,
  stages: [],
  waiting: null,
  abandoned: false,
  times: [],
  commands: {},
  conditions: {},
};

const ENTRY: Omit<StageSeen, "name"> = {
  state: "Pending",
  seq: 0,
  attempts: 0,
  part: null,
  undone: [],
  claim: null,
  outcome: null,
  retryAt: null,
  failures: 0,
  startedAt: null,
  finishedAt: null,
  drift: [],
  approvedBy: [],
};

type TaskChange = Partial<Omit<TaskVersion, "is" | "order" | "at" | "rv">>;

/** What a task began with; `uid` tells two objects of one name apart. */
export interface Born {
  readonly name?: string;
  readonly uid?: string;
  readonly spec?: Partial<SpecSeen>;
}

type What = Happening["what"];

export class History {
  readonly entries: Entry[] = [];
  #order = 0;
  #now = 1_000_000;
  #rv = 100;
  #nonces = 0;
  #task: TaskVersion | null = null;
  #tenant: TenantVersion;
  #process = "p1";

  constructor() {
    this.#tenant = {
      is: "tenant",
      order: 0,
      at: 0,
      rv: 0,
      name: "acme",
      uid: "tenant-1",
      namespace: "ns",
      tenantId: "acme",
      deleted: false,
      epoch: null,
      fence: "0000000000-00000000",
      holder: null,
      current: null,
      forced: false,
    };
  }

  /** Lets time pass. */
  after(ms: number): this {
    this.#now += ms;
    return this;
  }
  /** The recorder was busy for so long when it was told the last version. */
  toldLate(ms: number): this {
    this.#task = { ...this.#known(), earliest: this.#now - ms };
    this.entries.splice(-1, 1, this.#task);
    return this;
  }
  by(process: string): this {
    this.#process = process;
    return this;
  }

  /** Another task from here on. */
  born({ name = "green", uid = "uid-1", spec = {} }: Born = {}): this {
    const whole = { ...SPEC, ...spec };
    const version: TaskVersion = {
      is: "task",
      ...this.#next(),
      earliest: 0,
      rv: 0,
      name,
      uid,
      namespace: "ns",
      generation: 1,
      deleted: false,
      deletingSince: null,
      finalizer: false,
      done: false,
      spec: whole,
      status: null,
      bytes: 4000,
    };
    return this.#store(version);
  }
  /** Goes on with a task that was born before. */
  on(uid: string): this {
    this.#task =
      this.entries.findLast((entry): entry is TaskVersion => entry.is === "task" && entry.uid === uid) ?? null;
    return this;
  }

  version(change: TaskChange = {}): this {
    return this.#store({ ...this.#known(), ...change });
  }
  say(status: Partial<StatusSeen>): this {
    return this.version({ status: { ...this.status(), ...status } });
  }
  phase(phase: string, more: Partial<StatusSeen> = {}): this {
    return this.say({ phase, waiting: null, ...more });
  }
  waits(reason: string, unblock = "kubectl patch …"): this {
    return this.say({ waiting: { reason, unblock } });
  }
  /** The spec's control, by a person. */
  told(control: Partial<SpecSeen>): this {
    const { spec, generation } = this.#known();
    return this.version({ spec: { ...spec, ...control }, generation: generation + 1 });
  }
  stage(name: string, change: Partial<StageSeen>): this {
    return this.say({ stages: this.#with(name, change) });
  }

  /** First status, finalizer, lock: ready for the first claim. */
  ready(): this {
    return this.phase("Pending").version({ finalizer: true }).locked();
  }
  locked(direction: Direction = "Forward", epoch?: number): this {
    const { name, uid } = this.#known();
    const next = epoch ?? Math.max(EPOCH, (this.#tenant.epoch ?? 0) + 1);
    return this.tenant({ holder: { task: name, uid, direction }, epoch: next });
  }
  tenant(change: Partial<TenantVersion>): this {
    this.#tenant = { ...this.#tenant, ...change, ...this.#next(), rv: (this.#rv += 1) };
    this.entries.push(this.#tenant);
    return this;
  }
  released(change: Partial<TenantVersion> = {}): this {
    const { epoch, seq } = this.status();
    return this.tenant({ holder: null, fence: formatFence(epoch, seq), ...change });
  }

  /** Settles what is open as done, then claims; the settled part of an undo is noted. */
  claim(name: string, part: string | null = null, change: Partial<StageSeen> = {}): this {
    const before = this.status();
    const back = part !== null;
    const seq = before.seq + 1;
    const epoch = this.#tenant.epoch ?? EPOCH;
    const settled = this.#settled();
    this.#nonces += 1;
    const claim = { nonce: `n${this.#nonces}`, by: this.#process, at: this.#now, until: this.#now + 9000 };
    const old = settled.find((stage) => stage.name === name) ?? { ...ENTRY, name };
    const entry: StageSeen = {
      ...old,
      state: back ? "RollingBack" : "Running",
      seq,
      attempts: old.attempts + 1,
      part,
      claim,
      outcome: null,
      ...change,
    };
    return this.say({
      phase: back ? "RollingBack" : "Running",
      direction: back ? "Back" : before.direction,
      epoch,
      seq,
      plan: before.plan ?? "plan",
      digest: before.digest ?? "sha256:abcdef012345",
      waiting: null,
      stages: [...settled.filter((stage) => stage.name !== name), entry].toSorted(this.#inOrder()),
    });
  }
  /** Settles what is open, and ends. */
  ends(phase = "Completed", more: Partial<StatusSeen> = {}): this {
    const stages = this.#settled().map((stage) => (phase === "RolledBack" ? { ...stage, state: "RolledBack" } : stage));
    return this.phase(phase, { stages, ...more });
  }
  /** The last version: finalizer off, label on. */
  removed(): this {
    return this.version({ finalizer: false, done: true });
  }

  /** What the claim that is open sends. */
  effect(change: Partial<Effect> = {}): this {
    const { status, uid, spec, namespace } = this.#known();
    const open = status?.stages.find(({ claim }) => claim !== null) ?? { ...ENTRY, name: "route" };
    return this.#effect(open, { uid, tenant: `${namespace}/${spec.tenantId}` }, change);
  }
  /** A late one: of a stage, a direction and a seq that are over. */
  late(name: string, { part = null, seq }: { part?: string | null; seq: number }, change: Partial<Effect> = {}): this {
    const { uid, spec, namespace } = this.#known();
    return this.#effect({ ...ENTRY, name, part, seq }, { uid, tenant: `${namespace}/${spec.tenantId}` }, change);
  }

  happens(what: What, about: { process?: string; task?: string; asked?: boolean; holder?: string | null } = {}): this {
    const { process = this.#process, task = "green", asked = true, holder = null } = about;
    this.entries.push({ is: "happening", ...this.#next(), what, process, task, asked, holder } as unknown as Happening);
    return this;
  }
  write(kind: string, code = 200): this {
    const subject = "ns/green";
    this.entries.push({ is: "write", ...this.#next(), process: this.#process, kind, subject, code, rv: null });
    return this;
  }

  recording(about: Partial<Recording> = {}): Recording {
    return {
      entries: this.entries,
      exact: true,
      outputs: [],
      secrets: [],
      sockets: [],
      allowed: null,
      unfenced: [],
      planned: {},
      ...about,
    };
  }

  status(): StatusSeen {
    return this.#known().status ?? STATUS;
  }
  #known(): TaskVersion {
    if (this.#task === null) throw new Error("no task was born");
    return this.#task;
  }
  #next(): { readonly order: number; readonly at: number } {
    this.#order += 1;
    this.#now += 10;
    return { order: this.#order, at: this.#now };
  }
  #store(version: TaskVersion): this {
    this.#rv += 1;
    const status = version.status === null ? null : { ...version.status, observedGeneration: version.generation };
    const place = this.#next();
    this.#task = { ...version, ...place, earliest: place.at, rv: this.#rv, status };
    this.entries.push(this.#task);
    return this;
  }
  #with(name: string, change: Partial<StageSeen>): readonly StageSeen[] {
    const { stages } = this.status();
    const old = stages.find((stage) => stage.name === name) ?? { ...ENTRY, name };
    const next = { ...old, ...change };
    const all = stages.some((stage) => stage.name === name) ? stages : [...stages, old];
    return all.map((stage) => (stage.name === name ? next : stage));
  }
  #settled(): readonly StageSeen[] {
    return this.status().stages.map((stage) => {
      if (stage.claim === null) return stage;
      const { part } = stage;
      if (part === null) return { ...stage, state: "Completed", claim: null };
      return { ...stage, claim: null, undone: [...stage.undone, part] };
    });
  }
  #inOrder(): (a: StageSeen, b: StageSeen) => number {
    const names = this.#known().spec.stages.map(({ name }) => name);
    return (a, b) => names.indexOf(a.name) - names.indexOf(b.name);
  }
  #effect(
    { name, part, seq }: Pick<StageSeen, "name" | "part" | "seq">,
    { uid, tenant }: { readonly uid: string; readonly tenant: string },
    change: Partial<Effect>,
  ): this {
    const direction = part === null ? "Forward" : "Back";
    const place = this.#next();
    this.entries.push({
      is: "effect",
      ...place,
      to: name === "route" ? "redis acme" : "green",
      process: this.#process,
      tenant,
      opId: base32Digest(uid, name, direction, part ?? ""),
      fence: formatFence(this.#known().status?.epoch ?? EPOCH, seq),
      base: formatFence(this.#known().status?.epoch ?? EPOCH, Math.max(0, seq - 1)),
      verdict: "applied",
      content: `${name} ${direction} ${part ?? ""}`,
      answered: place.order + 0.5,
      fenced: true,
      ...change,
    });
    return this;
  }
}

export const history = (): History => new History();

/** Seen, validated, locked. */
export const begun = (born: Born = {}): History => history().born(born).ready();

/** All three stages done, the end not yet stored. */
export const forward = (born: Born = {}): History =>
  begun(born).claim("route").effect().claim("notify").effect().claim("check");

export const completed = (born: Born = {}): History =>
  forward(born)
    .ends()
    .released({ current: { unit: "green", task: born.uid ?? "uid-1" } })
    .removed();

/** All three stages done, then told to go back, and everything undone. */
export const undoing = (born: Born = {}): History =>
  forward(born)
    .told({ rollback: true })
    .claim("route", "write")
    .effect()
    .claim("route", "publish")
    .effect()
    .claim("notify", "announce")
    .effect()
    .claim("check", "verify");

export const rolledBack = (born: Born = {}): History =>
  undoing(born)
    .ends("RolledBack")
    .released({ current: { unit: "blue", task: null } })
    .removed();
