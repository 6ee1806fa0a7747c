// history: what a run did, as plain data in one order, and a checker for every promise of docs/protocol.md about one tenant.
// Pure: no server, clock, file or environment; who records lives in test/support, who disturbs in test/sweep.

export type Direction = "Forward" | "Back";

export interface StageSeen {
  readonly name: string;
  readonly state: string;
  readonly seq: number;
  readonly attempts: number;
  readonly part: string | null;
  readonly undone: readonly string[];
  readonly claim: {
    readonly nonce: string;
    readonly by: string;
    readonly at: number;
    readonly until: number | null;
  } | null;
  readonly outcome: "Unknown" | null;
  readonly retryAt: number | null;
  readonly failures: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  /** Fields that others changed and that were reported. */
  readonly drift: readonly string[];
  readonly approvedBy: readonly string[];
}

export interface StatusSeen {
  readonly phase: string;
  readonly direction: Direction;
  readonly protocolVersion: number;
  readonly observedGeneration: number;
  readonly epoch: number;
  readonly seq: number;
  /** The frozen plan as text; null before the first claim. */
  readonly plan: string | null;
  readonly digest: string | null;
  readonly previousKnown: boolean;
  readonly stages: readonly StageSeen[];
  readonly waiting: { readonly reason: string; readonly unblock: string } | null;
  readonly abandoned: boolean;
  /** Of the transitions in `history`, in their order. */
  readonly times: readonly number[];
  readonly commands: Readonly<Record<string, string>>;
  /** Condition → `True/Reason`. */
  readonly conditions: Readonly<Record<string, string>>;
}

export type Role = "write" | "announce" | "verify" | "gate";
export interface StageAbout {
  readonly name: string;
  readonly kind: string;
  /** What the stage does when it runs; a redis stage's publication is undone as a part of its own. */
  readonly role: Role;
  readonly publishes: boolean;
  /** Of a wait. */
  readonly duration: number | null;
  /** Of an approval. */
  readonly approvers: readonly string[] | null;
  readonly quorum: number;
  readonly endpoint: string | null;
}
export interface SpecSeen {
  readonly tenantId: string;
  readonly previousKnown: boolean;
  readonly dryRun: boolean;
  readonly unit: boolean;
  readonly stages: readonly StageAbout[];
  readonly paused: boolean | null;
  readonly rollback: boolean;
  readonly cancel: boolean;
  /** stage → user → what was decided, and which plan it names. */
  readonly approvals: Readonly<
    Record<string, Readonly<Record<string, { readonly decision: string; readonly expect: string | null }>>>
  >;
  /** Everything but `control`, as text. */
  readonly fixed: string;
}

interface Common {
  /** Place in the one order of the run. */
  readonly order: number;
  /** Milliseconds of the recorder's clock. */
  readonly at: number;
}

/** One stored version of a SwitchTask. */
export interface TaskVersion extends Common {
  readonly is: "task";
  /** The earliest that the recorder can have been told: before `at` where it was busy. */
  readonly earliest: number;
  readonly rv: number;
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly generation: number;
  /** The last one: the object is gone. */
  readonly deleted: boolean;
  /** Marked for deletion since. */
  readonly deletingSince: number | null;
  readonly finalizer: boolean;
  readonly done: boolean;
  readonly spec: SpecSeen;
  /** null: there is none. */
  readonly status: StatusSeen | null;
  readonly bytes: number;
}

/** One stored version of a TenantState. */
export interface TenantVersion extends Common {
  readonly is: "tenant";
  readonly rv: number;
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly tenantId: string;
  readonly deleted: boolean;
  /** null: the status is empty. */
  readonly epoch: number | null;
  readonly fence: string;
  readonly holder: { readonly task: string; readonly uid: string; readonly direction: Direction } | null;
  readonly current: { readonly unit: string; readonly task: string | null } | null;
  /** epoch of a force release that was carried out. */
  readonly forced: boolean;
}

/** Something that a receiver or store was asked to change. */
export interface Effect extends Common {
  readonly is: "effect";
  /** Receiver, or store and key. */
  readonly to: string;
  readonly process: string | null;
  /** `namespace/tenantId`. */
  readonly tenant: string;
  readonly opId: string;
  readonly fence: string;
  readonly base: string;
  /** applied: took force; repeated: found in force, no second effect; refused: by fence, record or content; never: did not arrive. */
  readonly verdict: "applied" | "repeated" | "refused" | "never";
  /** Digest of what was asked for. */
  readonly content: string;
  /** When whoever sent it knew the answer; null: it never did. */
  readonly answered: number | null;
  /** False: the receiver checks no fence. */
  readonly fenced: boolean;
}

/** A mutating request to the API server, as it passed. */
export interface ApiWrite extends Common {
  readonly is: "write";
  readonly process: string | null;
  /** `api/status`, `api/tenant`, … */
  readonly kind: string;
  readonly subject: string;
  /** 0: no answer came back. */
  readonly code: number;
  /** resourceVersion of what was stored. */
  readonly rv: number | null;
}

/** What happens to the run, and is none of the operator's doing. */
export type Happening = Common & { readonly is: "happening" } & (
    | { readonly what: "started" | "crashed" | "stopped"; readonly process: string; readonly asked: boolean }
    /** The API server cannot be reached, or can be again. */
    | { readonly what: "blind" | "sighted" }
    /** An old list or watch event is shown, or the stream is as it should be again. */
    | { readonly what: "replay" | "fresh" }
    | { readonly what: "lease"; readonly holder: string | null }
    /** A person wrote a status or took an object away. */
    | { readonly what: "edited"; readonly task: string }
    | { readonly what: "poisoned" | "corrected"; readonly task: string }
    /** Nothing is disturbed any more. */
    | { readonly what: "calm" }
    /** Everything is where it will stay. */
    | { readonly what: "rest" }
  );

export type Entry = TaskVersion | TenantVersion | Effect | ApiWrite | Happening;

/** What stood in stores and receivers, by place. */
export type Snapshot = Readonly<Record<string, string>>;

export interface Recording {
  /** In the order of one counter. */
  readonly entries: readonly Entry[];
  /** One proxy saw everything: effects and versions have one order. Else effects are ordered among themselves only. */
  readonly exact: boolean;
  /** Left out: not looked at. */
  readonly before?: Snapshot;
  readonly after?: Snapshot;
  /** Everything that people and machines get to read. */
  readonly outputs: readonly { readonly where: string; readonly text: string }[];
  readonly secrets: readonly string[];
  readonly sockets: readonly { readonly process: string; readonly address: string }[];
  /** Addresses that the settings allow, the API server's among them. null: not looked at. */
  readonly allowed: readonly string[] | null;
  /** Endpoints whose receivers check no fence. */
  readonly unfenced: readonly string[];
  /** What a stage's effect must say, by `uid stage direction part to`; where it is known beforehand. */
  readonly planned: Readonly<Record<string, string>>;
}

/** One broken promise: `S8`, and what was seen. `order`: the entry that shows it. */
export interface Violation {
  readonly id: string;
  readonly says: string;
  readonly order: number;
}

export type Checker = (recording: Recording) => readonly Violation[];
