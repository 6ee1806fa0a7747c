import { z } from "zod";
import { deepEqual } from "../lib/deep-equal.ts";
import { fault, type Fault, type FailureCode } from "../lib/failures.ts";
import type { Json } from "../lib/json.ts";
import { at, parsePointer } from "../lib/json-pointer.ts";
import { millisOf, seconds } from "../lib/time.ts";
import type { PlanContext } from "../domain/plan.ts";
import type { Outcome } from "../domain/task.ts";
import {
  addressOf,
  connect,
  defineStage,
  destination,
  durationField,
  durationOf,
  endpointName,
  FAN_OUT,
  fanOut,
  type StageCall,
} from "./stage.ts";

const INTERVAL = seconds(3);
/** Polled faster, an instance would do little else. */
const SHORTEST_INTERVAL = millisOf(10);
const ROUNDS = 10;
/** Characters that a failure message has for the last answers. */
const SHOWN = 100;

const pointer = z
  .string()
  .max(256)
  .refine((text) => parsePointer(text) !== null, "must be a JSON pointer such as /version");

const config = z
  .strictObject({
    endpoint: endpointName,
    to: destination.optional(),
    path: z
      .string()
      .min(1)
      .max(1024)
      .startsWith("/")
      .describe("Where an instance says what it serves. Default: the receiver library's path.")
      .optional(),
    version: pointer.describe("JSON pointer to the version in the answer (/version).").optional(),
    unit: pointer
      .describe("JSON pointer to the deploy unit in the answer; left out, the unit is not compared.")
      .optional(),
    interval: durationField("Time between rounds (3s).").optional(),
    rounds: z.int().min(1).max(1000).describe("Rounds before the stage fails (10).").optional(),
    successThreshold: z.int().min(1).max(100).describe("Rounds in a row that must pass (1).").optional(),
    minAvailable: z
      .int()
      .min(1)
      .max(256)
      .describe("Instances that must report the version; default all but maxUnreachable.")
      .optional(),
    maxUnreachable: z.int().min(0).max(256).describe("Instances that may be unreachable (0).").optional(),
  })
  .describe("Asks every instance what it serves and waits until all say the plan's version in one round.");
type Config = z.output<typeof config>;

type Inputs = {
  readonly path: string;
  readonly version: string;
  readonly unit: string | null;
  readonly wanted: { readonly version: number; readonly unit: Json };
  readonly interval: number;
  readonly rounds: number;
  readonly successThreshold: number;
  readonly minAvailable: number | null;
  readonly maxUnreachable: number;
};
/** Between rounds; lost with the process, then counting starts again. */
type Memo = { readonly round: number; readonly streak: number };

export const verify = defineStage<Config, Inputs, "http">({
  kind: "verify",
  effect: "read",
  needs: ["http"],
  config,
  outputs: ["instances", "version"],
  undoParts: () => [{ part: "verify", role: "verify" }],
  plan(context, about) {
    const { audience, fencing, refusesRequest } = connect(context, about, "http");
    const path = context.path(about.path ?? "/turnout/v1/tenants/${namespace}/${tenantId}", "path");
    const rule = refusesRequest({ method: "GET", path, headers: {} });
    if (rule !== null) context.issue("path", path, `endpoint ${about.endpoint} does not allow this request (${rule})`);
    const unit = context.placement?.deployUnit ?? null;
    return {
      inputs: {
        path,
        version: about.version ?? "/version",
        unit: about.unit ?? null,
        wanted: { version: context.planVersion, unit: unit === null ? null : { ...unit } },
        interval: intervalOf(context, about),
        rounds: about.rounds ?? ROUNDS,
        successThreshold: about.successThreshold ?? 1,
        minAvailable: minAvailableOf(context, about, audience.length),
        maxUnreachable: about.maxUnreachable ?? 0,
      },
      conflicts: [],
      endpoint: about.endpoint,
      audience,
      fencing,
      canProbe: false,
      idempotent: true,
      preview: `GET ${path} of ${audience.length} of ${about.endpoint} until all report ${context.planVersion}`,
    };
  },
  run: round,
});

function intervalOf(context: PlanContext, { interval }: Config): number {
  const parsed = interval === undefined ? INTERVAL : durationOf(context, interval, "interval");
  if (parsed !== null && parsed < SHORTEST_INTERVAL) context.issue("interval", interval ?? "", "must be at least 10ms");
  return parsed ?? INTERVAL;
}

/** A previous unit with fewer instances needs all of them; a target with fewer could never pass. */
function minAvailableOf(context: PlanContext, { minAvailable }: Config, all: number): number | null {
  if (minAvailable === undefined) return null;
  if (context.direction === "Forward" && all > 0 && minAvailable > all)
    context.issue("minAvailable", String(minAvailable), `there are only ${all} instances`);
  return Math.min(minAvailable, Math.max(1, all));
}

type Seen =
  | { readonly kind: "right" }
  /** `code`: what is noted of the instance; `said`: what a person reads. */
  | { readonly kind: "unreachable" | "wrong" | "other unit"; readonly code: FailureCode; readonly said: string };

/** One round under the claim. All rounds belong to one claim: no writes and no attempts in between. */
async function round(call: StageCall<Inputs, "http">): Promise<Outcome> {
  const { inputs, addresses } = call;
  const seen = await fanOut(addresses, FAN_OUT, (instance) => ask(call, addressOf(instance)));
  const right = seen.filter(({ kind }) => kind === "right").length;
  const unreachable = seen.filter(({ kind }) => kind === "unreachable").length;
  const enough = right >= (inputs.minAvailable ?? seen.length - inputs.maxUnreachable);
  const known = unreachable <= inputs.maxUnreachable && right + unreachable === seen.length;
  const passed = seen.length > 0 && enough && known;
  const before = memoOf(call.memo);
  const now: Memo = { round: before.round + 1, streak: passed ? before.streak + 1 : 0 };
  const { version } = inputs.wanted;
  if (now.streak >= inputs.successThreshold) return { is: "done", outputs: { instances: right, version } };
  if (now.round >= inputs.rounds && !passed) {
    const failures = seen.flatMap((one, i) =>
      one.kind === "right" ? [] : [{ address: addresses[i] ?? "", code: one.code }],
    );
    // Nobody is let off: a retry asks all of them again, in the same round.
    return { is: "terminal", fault: faultOf(call, seen), reach: { acked: [], failures } };
  }
  const late = seen.length - right;
  const message = `stage ${call.stage}: ${late} of ${seen.length} instances do not report version ${version} yet`;
  return { is: "waiting", again: millisOf(inputs.interval), reason: "AwaitingVersions", message, memo: now };
}

function faultOf({ inputs, addresses }: StageCall<Inputs, "http">, seen: readonly Seen[]): Fault {
  const others = seen.filter(({ kind }) => kind !== "right");
  const facts = { late: String(others.length), total: String(seen.length) };
  if (others.length > 0 && others.every(({ kind }) => kind === "other unit")) return fault("UnitDiffers", facts);
  const answers = listed(
    seen.flatMap((one, i) => (one.kind === "right" ? [] : [`${addressOf(addresses[i] ?? "")} ${one.said}`])),
  );
  return fault("VersionsLate", { ...facts, version: String(inputs.wanted.version), answers });
}

/** As many as fit, and how many more there are. */
function listed(items: readonly string[]): string {
  let text = items[0] ?? "";
  let shown = 1;
  for (const item of items.slice(1)) {
    if (text.length + item.length + 2 > SHOWN) break;
    text += `, ${item}`;
    shown += 1;
  }
  return items.length > shown ? `${text} and ${items.length - shown} more` : text;
}

const memoOf = (memo: Json): Memo =>
  typeof memo === "object" && memo !== null && "round" in memo
    ? { round: Number(at(memo, "/round")), streak: Number(at(memo, "/streak")) }
    : { round: 0, streak: 0 };

async function ask(call: StageCall<Inputs, "http">, address: string): Promise<Seen> {
  const { endpoint, namespace, inputs } = call;
  const result = await call.ports.http.send(
    {
      endpoint,
      namespace,
      address,
      method: "GET",
      path: inputs.path,
      headers: {},
      timeout: call.instanceTimeout,
      point: null,
    },
    call.signal,
  );
  if (result.kind !== "answer") return { kind: "unreachable", code: result.fault.code, said: result.fault.code };
  const { status, json } = result;
  if (status >= 500 || status === 429)
    return {
      kind: "unreachable",
      code: status === 429 || status === 503 ? "ReceiverBusy" : "ServerError",
      said: `HTTP ${status}`,
    };
  const wrong = (said: string): Seen => ({ kind: "wrong", code: "VersionsLate", said });
  if (status !== 200) return wrong(`HTTP ${status}`);
  if (json?.ok !== true) return wrong(json?.reason === "too large" ? "AnswerTooLarge" : "NotJson");
  const version = at(json.value, inputs.version);
  if (version !== inputs.wanted.version) return wrong(shown(version));
  const rightUnit = inputs.unit === null || isUnit(at(json.value, inputs.unit), inputs.wanted.unit);
  return rightUnit
    ? { kind: "right" }
    : { kind: "other unit", code: "UnitDiffers", said: `${shown(version)} of another unit` };
}

/** A unit may be reported whole, by its name or by its id. */
const isUnit = (found: Json | undefined, wanted: Json): boolean =>
  found !== undefined && (deepEqual(found, wanted) || found === at(wanted, "/name") || found === at(wanted, "/id"));

/** Answers are data: a version is shown only if it is a whole number that could be one, else its length (SEC-33). */
function shown(version: Json | undefined): string {
  if (version === undefined) return "no version";
  if (typeof version === "number" && Number.isInteger(version) && version >= 0 && version <= 2_147_483_647)
    return String(version);
  return `${JSON.stringify(version).length} characters`;
}
