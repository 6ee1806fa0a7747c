import { z } from "zod";
import { fault } from "../lib/failures.ts";
import type { Json } from "../lib/json.ts";
import { parsePointer } from "../lib/json-pointer.ts";
import type { EndpointFacts, PlanContext, Planned } from "../domain/plan.ts";
import type { Found, Outcome } from "../domain/task.ts";
import { type HttpStageCall, judge, type Request, send, type Success } from "./http-exchange.ts";
import { type Ask, stands, whose } from "./http-probe.ts";
import {
  addressOf,
  connect,
  defineStage,
  destination,
  endpointName,
  FAN_OUT,
  fanOut,
  mapOf,
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
    method: method.describe("HTTP method (PUT).").optional(),
    path: path
      .describe(
        "Absolute path, with an optional query; values are percent-encoded. Default: the receiver library's path.",
      )
      .optional(),
    headers: mapOf(z.string().max(128), z.string().max(1024), {
      most: 16,
      about: "Additional headers; framing, credentials and our own are refused.",
    }).optional(),
    body: body
      .describe("JSON body; strings may hold variables. Default: the receiver library's body, for its path.")
      .meta({ free: true })
      .optional(),
    effect: z
      .enum(["Announce", "Write"])
      .describe("Announce (default): tells others. Write: changes data; undone before announces.")
      .optional(),
    idempotent: z
      .boolean()
      .describe("The request may be sent again although nobody knows whether it arrived (false).")
      .optional(),
    success: z
      .strictObject({
        status: z
          .array(z.int().min(200).max(299))
          .min(1)
          .max(16)
          .describe("Status codes of success; default every 2xx.")
          .optional(),
        equals: mapOf(z.string().max(256), body, {
          most: 16,
          about: "Values that the answer must hold, by JSON pointer.",
        }).optional(),
        emptyAt: pointer
          .describe("JSON pointer to a list of failures that must be empty; null and no list count as empty.")
          .optional(),
      })
      .describe("What counts as success.")
      .optional(),
    probe: z
      .strictObject({
        path: path.describe("Path to GET."),
        opIdPointer: pointer.describe("JSON pointer to the id of the operation in force (/opId).").optional(),
      })
      .describe("Where to ask which operation is in force. The receiver library's path needs none.")
      .optional(),
    undo: z
      .strictObject({
        method: method.describe("HTTP method; left out, that of the stage.").optional(),
        path: path.describe("Path; left out, that of the stage.").optional(),
        body: body
          .describe("JSON body; left out, that of the stage, and none for GET and DELETE.")
          .meta({ free: true })
          .optional(),
      })
      .describe(
        "What undoes it. Left out: the same request with the previous configuration. Obligatory where nobody knows that.",
      )
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
  run: (call) => (call.inputs.select === "All" ? toAll(call, one) : toOne(call, call.inputs.select)),
  undo: (call) => toAll(call, undone),
  probe,
});

function plan(context: PlanContext, about: Config): Omit<Planned, "inputs"> & { readonly inputs: Inputs } {
  const { audience, ...endpoint } = connect(context, about, "http");
  const own = context.direction === "Back" ? about.undo : undefined;
  const request = requestOf(context, about);
  const probe = probeOf(context, about);
  demandAllowed(context, endpoint, { where: own === undefined ? "" : "undo.", request });
  if (probe !== null) demandAllowed(context, endpoint, { where: "probe.", request: { ...NO_BODY, path: probe.path } });
  return {
    inputs: {
      request,
      success: successOf(context, about, about.path === undefined && own?.path === undefined),
      probe,
      select: about.to?.select ?? "All",
    },
    conflicts: about.effect === "Write" ? [`http/${about.endpoint}/${request.path}`] : [],
    endpoint: about.endpoint,
    audience,
    fencing: endpoint.fencing,
    canProbe: probe !== null,
    idempotent: about.idempotent ?? false,
    preview: `${request.method} ${request.path} to ${reached(context, about, audience.length)}`,
  };
}

const NO_BODY = { method: "GET", headers: {}, body: null } as const;

/** An undo goes to whoever may have received the stage, too (protocol.md, Plan, audience, content). */
function reached({ direction }: PlanContext, { endpoint, to }: Config, all: number): string {
  const some = `${all} of ${endpoint}`;
  if (direction === "Back") return all === 0 ? "everyone who was called" : `everyone who was called and ${some}`;
  return to?.select === "Any" || to?.select === "RoundRobin" ? `one of ${some}` : some;
}

interface Demanded {
  readonly where: string;
  readonly request: Request;
}

/** The rule of the endpoint's policy that speaks against a request, at the field that it speaks of. */
function demandAllowed(context: PlanContext, endpoint: EndpointFacts, { where, request }: Demanded): void {
  const rule = endpoint.refusesRequest(request);
  if (rule === null) return;
  const field = rule === "method" ? "method" : rule === "header" ? "headers" : "path";
  // Values of headers are never quoted (SEC-37).
  const value = { method: request.method, path: request.path, headers: Object.keys(request.headers).join(", ") }[field];
  context.issue(`${where}${field}`, value, `endpoint ${endpoint.name} does not allow this request (${rule})`);
}

function successOf(context: PlanContext, { success = {} }: Config, json: boolean): Success {
  const { status = null, equals = {}, emptyAt = null } = success;
  for (const pointer of Object.keys(equals))
    if (parsePointer(pointer) === null)
      context.issue("success.equals", pointer, "must be a JSON pointer such as /code");
  const wanted = context.content(equals, "success.equals") as Readonly<Record<string, Json>>;
  return { status, equals: wanted, emptyAt, json };
}

/** Where to ask what is in force; null where nobody can tell, and after an undo of the stage's own, which may leave anything. */
function probeOf(context: PlanContext, { probe, path, undo }: Config): Ask | null {
  if (context.direction === "Back" && undo !== undefined) return null;
  if (probe !== undefined) {
    const { path, opIdPointer = "/opId" } = probe;
    return { path: context.path(path, "probe.path"), opIdPointer, receiver: false };
  }
  return path === undefined
    ? { path: context.path(RECEIVER_PATH, "path"), opIdPointer: "/opId", receiver: true }
    : null;
}

/** Forward the request as written; while undoing the same with the previous configuration, or the stage's own `undo`. */
function requestOf(context: PlanContext, about: Config): Request {
  const own = context.direction === "Back" ? about.undo : undefined;
  const where = own === undefined ? "" : "undo.";
  const method = own?.method ?? about.method ?? "PUT";
  const headers = context.content(about.headers ?? {}, "headers") as Readonly<Record<string, Json>>;
  const content = contentOf(about, own, method);
  return {
    method,
    path: context.path(own?.path ?? about.path ?? RECEIVER_PATH, own?.path === undefined ? "path" : "undo.path"),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
    ),
    body: content === null ? null : context.content(content, own?.body === undefined ? "body" : `${where}body`),
  };
}

/** GET and DELETE have no content (RFC 9110) unless the stage gives them some; the receiver's body goes to the receiver's path. */
function contentOf(about: Config, own: Config["undo"], method: string): Json {
  const given = own?.body ?? (own?.method === undefined ? about.body : undefined);
  if (given !== undefined) return given;
  if (method === "GET" || method === "DELETE") return null;
  return about.body ?? (about.path === undefined ? RECEIVER_BODY : null);
}

type One = (call: HttpStageCall<Inputs>, instance: string) => Promise<Verdict>;

async function toAll(call: HttpStageCall<Inputs>, each: One): Promise<Outcome> {
  const verdicts = await fanOut(
    call.addresses,
    FAN_OUT,
    async (instance) => [instance, await each(call, instance)] as const,
  );
  return outcomeOf(verdicts);
}

/** One instance is enough; the next is tried only where this one certainly received nothing. */
async function toOne(call: HttpStageCall<Inputs>, select: "Any" | "RoundRobin"): Promise<Outcome> {
  const { addresses } = call;
  const first = select === "Any" ? 0 : Number.parseInt(call.opId.slice(0, 8), 36) % Math.max(1, addresses.length);
  const tried: (readonly [string, Verdict])[] = [];
  for (const instance of [...addresses.slice(first), ...addresses.slice(0, first)]) {
    const verdict = await one(call, instance);
    if (verdict.is !== "retryable") return outcomeOf([[instance, verdict]]);
    tried.push([instance, verdict]);
  }
  return outcomeOf(tried);
}

const outcomeOf = (verdicts: readonly (readonly [string, Verdict])[]): Outcome =>
  together(verdicts) ?? { is: "done", outputs: { instances: verdicts.length } };

async function one(call: HttpStageCall<Inputs>, instance: string): Promise<Verdict> {
  const address = addressOf(instance);
  if (!call.alive()) return notSent(call.stage);
  const result = await send(call, address, call.inputs.request);
  return judge(result, { endpoint: call.endpoint, address, success: call.inputs.success });
}

/** RolledBack rests on what every receiver says afterwards, not on its yes (protocol.md, Undo). */
async function undone(call: HttpStageCall<Inputs>, instance: string): Promise<Verdict> {
  const verdict = await one(call, instance);
  const { probe } = call.inputs;
  return verdict.is === "acked" && probe !== null ? stands(call, probe, addressOf(instance)) : verdict;
}

/** The claim ran out before the request was sent: nothing happened, the next claim sends it. */
const notSent = (stage: string): Verdict => ({ is: "retryable", fault: fault("ClaimExpired", { stage }), after: null });

/**
 * In force with our opId everywhere, or at one where one is enough ⇒ done without a second effect. Where an instance still has what was
 * before, the act may be sent again: it is deduplicated by opId where it did arrive.
 */
async function probe(call: HttpStageCall<Inputs>): Promise<Found> {
  const { probe: ask, select } = call.inputs;
  if (ask === null) return { is: "unreadable", fault: fault("OutcomeUnknown", { stage: call.stage }) };
  const found = await fanOut(call.addresses, FAN_OUT, (instance) => whose(call, ask, addressOf(instance)));
  const somewhere = found.find(({ is }) => is === "in-force");
  if (select !== "All" && somewhere !== undefined) return somewhere;
  const worst = (["foreign", "unreadable", "not-in-force"] as const).flatMap(
    (is) => found.find((one) => one.is === is) ?? [],
  )[0];
  return worst ?? { is: "in-force", outputs: { instances: call.addresses.length } };
}
