import type { KubeObject } from "../../src/kube/resource.ts";
import { DONE_LABEL, FINALIZER } from "../../src/api/group.ts";
import { canonicalJson } from "../../src/lib/digest.ts";
import { parseDuration } from "../../src/lib/time.ts";
import type {
  Role,
  SpecSeen,
  StageAbout,
  StageSeen,
  StatusSeen,
  TaskVersion,
  TenantVersion,
} from "../history/recording.ts";
import type { Version } from "./stand-record.ts";

// A stored object as checkers see it. Read from the wire by its own hand: what the operator's decoder overlooks is not overlooked here.

type Fields = Readonly<Record<string, unknown>>;
const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as readonly unknown[]) : []);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);
const count = (value: unknown): number => (typeof value === "number" ? value : 0);
const time = (value: unknown): number | null => (typeof value === "string" ? Date.parse(value) : null);
const texts = (value: unknown): readonly string[] => list(value).map(text);
const mapped = <T>(value: unknown, each: (item: unknown) => T): Readonly<Record<string, T>> =>
  Object.fromEntries(Object.entries(fields(value)).map(([key, item]) => [key, each(item)]));

interface Place {
  readonly order: number;
}

export function taskVersion({ object, deleted, seen, idle }: Version, { order }: Place): TaskVersion {
  const { metadata } = object;
  return {
    is: "task",
    order,
    at: seen,
    earliest: Math.min(seen, idle),
    rv: Number(metadata.resourceVersion),
    name: metadata.name,
    uid: metadata.uid,
    namespace: metadata.namespace ?? "",
    generation: metadata.generation ?? 0,
    deleted,
    deletingSince: time(metadata.deletionTimestamp),
    finalizer: metadata.finalizers?.includes(FINALIZER) === true,
    done: metadata.labels?.[DONE_LABEL] === "true",
    spec: specSeen(object),
    status: statusSeen(object),
    bytes: Buffer.byteLength(JSON.stringify({ ...object, metadata: { ...metadata, managedFields: [] } })),
  };
}

function specSeen({ spec: raw }: KubeObject): SpecSeen {
  const { control: asked, ...rest } = fields(raw);
  const control = fields(asked);
  return {
    tenantId: text(rest["tenantId"]),
    previousKnown: rest["previous"] !== undefined,
    dryRun: rest["dryRun"] === true,
    unit: rest["executionUnit"] !== undefined,
    stages: list(rest["stages"]).map(stageAbout),
    paused: typeof control["paused"] === "boolean" ? control["paused"] : null,
    rollback: control["rollback"] === true,
    cancel: control["cancel"] === true,
    approvals: mapped(control["approvals"], (users) =>
      mapped(users, (one) => ({ decision: text(fields(one)["decision"]), expect: textOrNull(fields(one)["expect"]) })),
    ),
    fixed: canonicalJson(rest),
  };
}

const KINDS = ["http", "redis", "verify", "wait", "approval"] as const;

function stageAbout(raw: unknown): StageAbout {
  const stage = fields(raw);
  const kind = KINDS.find((name) => stage[name] !== undefined) ?? "unknown";
  const config = fields(stage[kind]);
  const users = fields(config["approvers"])["users"];
  return {
    name: text(stage["name"]),
    kind,
    role: roleOf(kind, config),
    publishes: config["publish"] !== undefined,
    duration: kind === "wait" ? parseDuration(text(config["duration"])) : null,
    approvers: users === undefined ? null : texts(users),
    quorum: count(config["quorum"]) || 1,
    endpoint: textOrNull(config["endpoint"]),
  };
}

function roleOf(kind: string, config: Fields): Role {
  if (kind === "redis") return "write";
  if (kind === "http") return config["effect"] === "Write" ? "write" : "announce";
  return kind === "verify" ? "verify" : "gate";
}

function statusSeen({ status: raw }: KubeObject): StatusSeen | null {
  const status = fields(raw);
  if (typeof status["phase"] !== "string") return null;
  const plan = status["plan"] === undefined ? null : fields(status["plan"]);
  const waiting = status["waiting"] === undefined ? null : fields(status["waiting"]);
  return {
    phase: status["phase"],
    direction: status["direction"] === "Back" ? "Back" : "Forward",
    protocolVersion: count(status["protocolVersion"]),
    observedGeneration: count(status["observedGeneration"]),
    epoch: count(status["epoch"]),
    seq: count(status["seq"]),
    plan: plan === null ? null : canonicalJson(plan),
    digest: plan === null ? null : textOrNull(plan["digest"]),
    previousKnown: plan?.["previous"] !== undefined,
    stages: list(status["stages"]).map(stageSeen),
    waiting: waiting === null ? null : { reason: text(waiting["reason"]), unblock: text(waiting["unblock"]) },
    abandoned: status["abandoned"] !== undefined,
    times: list(status["history"]).map((one) => time(fields(one)["at"]) ?? Number.NaN),
    commands: mapped(status["commands"], (one) =>
      `${text(fields(one)["result"])} ${text(fields(one)["reason"])}`.trim(),
    ),
    conditions: Object.fromEntries(
      list(status["conditions"])
        .map(fields)
        .map(({ type, status: is, reason }) => [text(type), `${text(is)}/${text(reason)}`]),
    ),
  };
}

function stageSeen(raw: unknown): StageSeen {
  const stage = fields(raw);
  const claim = stage["claim"] === undefined ? null : fields(stage["claim"]);
  return {
    name: text(stage["name"]),
    state: text(stage["state"]),
    seq: count(stage["seq"]),
    attempts: count(stage["attempts"]),
    part: textOrNull(stage["part"]),
    undone: texts(stage["undone"]),
    claim:
      claim === null
        ? null
        : {
            nonce: text(claim["nonce"]),
            by: text(claim["by"]),
            at: time(claim["at"]) ?? 0,
            until: time(claim["until"]),
          },
    outcome: stage["outcome"] === "Unknown" ? "Unknown" : null,
    retryAt: time(stage["retryAt"]),
    failures: list(stage["failures"]).length,
    startedAt: time(stage["startedAt"]),
    finishedAt: time(stage["finishedAt"]),
    drift: texts(fields(stage["drift"])["keys"]),
    approvedBy: texts(fields(stage["outputs"])["approvedBy"]),
  };
}

export function tenantVersion({ object, deleted, seen }: Version, { order }: Place): TenantVersion {
  const { metadata } = object;
  const status = fields(object["status"]);
  const holder = status["holder"] === undefined ? null : fields(status["holder"]);
  const current = status["current"] === undefined ? null : fields(status["current"]);
  const brought = fields(current?.["task"])["uid"];
  return {
    is: "tenant",
    order,
    at: seen,
    rv: Number(metadata.resourceVersion),
    name: metadata.name,
    uid: metadata.uid,
    namespace: metadata.namespace ?? "",
    tenantId: text(fields(object["spec"])["tenantId"]),
    deleted,
    epoch: typeof status["epoch"] === "number" ? status["epoch"] : null,
    fence: text(status["fence"]) || "0000000000-00000000",
    holder:
      holder === null
        ? null
        : {
            task: text(holder["task"]),
            uid: text(holder["uid"]),
            direction: holder["direction"] === "Back" ? "Back" : "Forward",
          },
    current:
      current === null
        ? null
        : { unit: text(fields(current["deployUnit"])["name"]), task: brought === undefined ? null : text(brought) },
    forced: fields(status["released"])["result"] === "Done",
  };
}
