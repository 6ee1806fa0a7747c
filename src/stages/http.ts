import { z } from "zod";
import { deepEqual } from "../lib/deep-equal.ts";
import { fault } from "../lib/failures.ts";
import { isFence, NO_FENCE } from "../lib/fence.ts";
import type { Json } from "../lib/json.ts";
import { at, parsePointer } from "../lib/json-pointer.ts";
import type { PlanContext } from "../domain/plan.ts";
import type { Found, Outcome } from "../domain/task.ts";
import type { HttpResult } from "../infra/egress/http.ts";
import { type Ask, type HttpStageCall, judge, type Request, send, type Success } from "./http-exchange.ts";
import {
  addressOf,
  connect,
  defineStage,
  destination,
  endpointName,
  FAN_OUT,
  fanOut,
  together,
  type Verdict,
} from "./stage.ts";

/** What src/receiver serves. */
const RECEIVER_PATH = "/turnout/v1/tenants/${namespace}/${tenantId}";
/** The body that src/receiver takes. */
const RECEIVER_BODY = {
  deployUnit: "${target.deployUnit}",
  version: "${plan.version}",
  endpoints: "${target.endpoints}",
  parameters: "${target.parameters}",
};

const method = z.enum(["GET", "POST", "PUT", "PATCH", "DELETE"]).describe("HTTP method.");
const path = z
  .string()
  .min(1)
  .max(1024)
  .startsWith("/")
  .describe("Absolute path, with an optional query; values of variables are percent-encoded.");
const pointer = z
  .string()
  .max(256)
  .refine((text) => parsePointer(text) !== null, "must be a JSON pointer such as /opId")
  .describe("JSON pointer (RFC 6901).");
const body = z.json().describe("JSON body; strings may hold variables.").meta({ free: true });

const config = z
  .strictObject({
    endpoint: endpointName,
    to: destination.optional(),
    method: method.optional(),
    path: path.optional(),
    headers: z
      .record(z.string().max(128), z.string().max(1024))
      .describe("Additional headers; framing, credentials and our own are refused.")
      .meta({ maxProperties: 16 })
      .optional(),
    body: body.optional(),
    effect: z
      .enum(["Announce", "Write"])
      .describe("Announce (default): tells others. Write: changes data; undone before announces.")
      .optional(),
    idempotent: z
      .boolean()
      .describe("The request may be sent again although nobody knows whether it arrived.")
      .optional(),
    success: z
      .strictObject({
        status: z
          .array(z.int().min(200).max(299))
          .min(1)
          .max(16)
          .describe("Status codes of success; default every 2xx.")
          .optional(),
        equals: z
          .record(z.string().max(256), body)
          .describe("Values that the answer must hold, by JSON pointer.")
          .meta({ maxProperties: 16 })
          .optional(),
        emptyAt: pointer.optional(),
      })
      .describe("What counts as success.")
      .optional(),
    probe: z
      .strictObject({ path, opIdPointer: pointer.optional() })
      .describe("Where to ask which operation is in force, and where in the answer its id stands (/opId).")
      .optional(),
    undo: z
      .strictObject({ method: method.optional(), path: path.optional(), body: body.optional() })
      .describe("The request that undoes it. Default: the same request with the previous configuration.")
      .optional(),
  })
  .describe("One request to each instance.");
type Config = z.output<typeof config>;

/** As stored in the plan: plain JSON. */
type Inputs = {
  readonly request: Request;
  readonly success: Success;
  readonly probe: Ask | null;
  readonly select: "All" | "Any" | "RoundRobin";
};

export const http = defineStage<Config, Inputs, "http">({
  kind: "http",
  effect: ({ effect }) => (effect === "Write" ? "write" : "announce"),
  needs: ["http"],
  config,
  outputs: ["instances"],
  plan,
  run: (call) => toAll(call, call.direction === "Forward" ? call.inputs.select : "All"),
  undo: (call) => toAll(call, "All"),
  probe,
});

function plan(
  context: PlanContext,
  about: Config,
): ReturnType<Parameters<typeof defineStage<Config, Inputs, "http">>[0]["plan"]> {
  const { audience, fencing, refusesRequest } = connect(context, about, "http");
  const request = requestOf(context, about);
  const standard = about.path === undefined;
  const probe: Ask | null =
    about.probe !== undefined
      ? {
          path: context.path(about.probe.path, "probe.path"),
          opIdPointer: about.probe.opIdPointer ?? "/opId",
          receiver: false,
        }
      : standard
        ? { path: request.path, opIdPointer: "/opId", receiver: true }
        : null;
  for (const [where, line] of [
    ["path", request] as const,
    ["probe.path", probe && { method: "GET", path: probe.path, headers: {} }] as const,
  ]) {
    const rule = line === null ? null : refusesRequest(line);
    if (rule !== null)
      context.issue(where, line?.path ?? "", `endpoint ${about.endpoint} does not allow this request (${rule})`);
  }
  const wanted = about.success ?? {};
  return {
    inputs: {
      request,
      success: {
        status: wanted.status ?? null,
        equals: context.content(wanted.equals ?? {}, "success.equals") as Readonly<Record<string, Json>>,
        emptyAt: wanted.emptyAt ?? null,
        json: standard,
      },
      probe,
      select: about.to?.select ?? "All",
    },
    conflicts: about.effect === "Write" ? [`http/${about.endpoint}/${request.path}`] : [],
    endpoint: about.endpoint,
    audience,
    fencing,
    canProbe: probe !== null,
    idempotent: about.idempotent ?? false,
    preview: `${request.method} ${request.path} to ${audience.length} of ${about.endpoint}`,
  };
}

/** Forward the request as written; while undoing the same with the previous configuration, or the stage's own `undo`. */
function requestOf(context: PlanContext, about: Config): Request {
  const own = context.direction === "Back" ? about.undo : undefined;
  const content: Json = own?.body ?? about.body ?? (about.path === undefined ? RECEIVER_BODY : null);
  const headers = context.content(about.headers ?? {}, "headers") as Readonly<Record<string, Json>>;
  return {
    method: own?.method ?? about.method ?? "PUT",
    path: context.path(own?.path ?? about.path ?? RECEIVER_PATH, "path"),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
    ),
    body: content === null ? null : context.content(content, "body"),
  };
}

async function toAll(call: HttpStageCall<Inputs>, select: Inputs["select"]): Promise<Outcome> {
  const verdicts = select === "All" ? await toEach(call) : await toOne(call, select);
  return together(verdicts) ?? { is: "done", outputs: { instances: verdicts.length } };
}

type Verdicts = readonly (readonly [string, Verdict])[];

const toEach = (call: HttpStageCall<Inputs>): Promise<Verdicts> =>
  fanOut(call.addresses, FAN_OUT, async (instance) => [instance, await one(call, instance)] as const);

/** One instance is enough; the next is tried only where this one certainly received nothing. */
async function toOne(call: HttpStageCall<Inputs>, select: "Any" | "RoundRobin"): Promise<Verdicts> {
  const { addresses } = call;
  const first = select === "Any" ? 0 : Number.parseInt(call.opId.slice(0, 8), 36) % Math.max(1, addresses.length);
  const tried: (readonly [string, Verdict])[] = [];
  for (const instance of [...addresses.slice(first), ...addresses.slice(0, first)]) {
    const verdict = await one(call, instance);
    if (verdict.is !== "retryable") return [[instance, verdict]];
    tried.push([instance, verdict]);
  }
  return tried;
}

async function one(call: HttpStageCall<Inputs>, instance: string): Promise<Verdict> {
  const address = addressOf(instance);
  if (!call.alive()) return notSent(call.stage);
  const result = await send(call, address, call.inputs.request);
  return judge(result, { endpoint: call.endpoint, address, success: call.inputs.success });
}

/** The claim ran out before the request was sent: nothing happened, the next claim sends it. */
const notSent = (stage: string): Verdict => ({ is: "retryable", fault: fault("ClaimExpired", { stage }), after: null });

/**
 * In force with our opId everywhere ⇒ done without a second effect. Where the instance still has what was before (its fence is not
 * above our base), the act may be sent again: it is deduplicated by opId where it did arrive.
 */
async function probe(call: HttpStageCall<Inputs>): Promise<Found> {
  const ask = call.inputs.probe;
  if (ask === null) return { is: "unreadable", fault: fault("OutcomeUnknown", { stage: call.stage }) };
  const found = await fanOut(call.addresses, FAN_OUT, async (instance) => {
    const address = addressOf(instance);
    const line: Request = { method: "GET", path: ask.path, headers: {}, body: null };
    return whose(await send(call, address, line, "read"), { call, ask, address });
  });
  const worst = (["foreign", "unreadable", "not-in-force"] as const).flatMap(
    (is) => found.find((one) => one.is === is) ?? [],
  )[0];
  return worst ?? { is: "in-force", outputs: { instances: call.addresses.length } };
}

interface Asked {
  readonly call: HttpStageCall<Inputs>;
  readonly ask: Ask;
  readonly address: string;
}

function whose(result: HttpResult, { call, ask, address }: Asked): Found {
  const { endpoint } = call;
  if (result.kind === "answer" && result.status === 404) return { is: "not-in-force" };
  const answer =
    result.kind === "answer" && result.status === 200 && result.json?.ok === true ? result.json.value : null;
  if (answer === null) return { is: "unreadable", fault: fault("ProbeFailed", { endpoint, address }) };
  const opId = at(answer, ask.opIdPointer);
  if (deepEqual(opId, call.opId)) return { is: "in-force", outputs: { instances: 1 } };
  const seen = ask.receiver ? at(answer, "/fence") : null;
  const fence = typeof seen === "string" && isFence(seen) ? seen : NO_FENCE;
  return fence > call.base
    ? { is: "foreign", fault: fault("ForeignOperation", { endpoint, address }) }
    : { is: "not-in-force" };
}
