import type { IncomingMessage, ServerResponse } from "node:http";
import type { Authenticate } from "./authenticate.ts";
import { type Body, readBody } from "./body.ts";
import { carryOut, type CarryOutDeps, type Ending } from "./carry-out.ts";
import type { ReceiverLimits } from "./limits.ts";
import type { RefusalCode } from "./refusals.ts";
import { claimOf, operationOf, takesType, tenantOf } from "./request.ts";
import type { Turns } from "./turns.ts";
import { type InForceView, type Operation, viewOf } from "./verdict.ts";
import { within } from "./within.ts";

export interface ServeDeps extends CarryOutDeps {
  readonly authenticate: Authenticate;
  readonly limits: ReceiverLimits;
  readonly turns: Turns;
  /** Aborted once nothing new is taken. */
  readonly closing: AbortSignal;
  /** PUTs in hand; null where there are too many. */
  takeSeat(): (() => void) | null;
  /** Keeps `close` waiting for work that outlives its request. */
  track(work: Promise<unknown>): void;
}

/** How a request ended, and the operation it carried, as far as it was understood. */
export interface Served {
  readonly ending: Ending | { readonly is: "read"; readonly view: InForceView };
  readonly operation: Operation | null;
}

const refused = (code: RefusalCode, cause?: unknown): Served => ({
  ending: { is: "refused", code, cause },
  operation: null,
});

const CODE_OF_BODY: Readonly<Record<Exclude<Body["is"], "whole">, RefusalCode>> = {
  tooLarge: "BodyTooLarge",
  late: "BodyLate",
  gone: "BodyLate", // nobody is there to read it
};

/** Who it is comes first, the path, the claim and the body only then (SEC-30). */
export async function serve(request: IncomingMessage, response: ServerResponse, deps: ServeDeps): Promise<Served> {
  if (deps.closing.aborted) return refused("Closing");
  const unwelcome = await whyUnwelcome(request, deps);
  if (unwelcome !== null) return unwelcome;
  const tenant = tenantOf(request.url ?? "");
  if (!tenant.ok) return refused(tenant.code);
  switch (request.method) {
    case "GET":
      return get(tenant.value, deps);
    case "PUT":
      return putSeated(tenant.value, request, response, deps);
    default:
      return refused("MethodNotAllowed");
  }
}

async function whyUnwelcome(
  request: IncomingMessage,
  { authenticate, limits, clock }: ServeDeps,
): Promise<Served | null> {
  try {
    const asked = Promise.resolve(authenticate(request));
    const known = await within(asked, { timeout: limits.readTimeout, clock }, "late");
    if (known === "late") return refused("AuthenticationUnavailable");
    return known ? null : refused("Unauthenticated");
  } catch (cause) {
    return refused("AuthenticationUnavailable", cause);
  }
}

async function get(tenant: string, { store }: ServeDeps): Promise<Served> {
  try {
    const record = await store.load(tenant);
    const view = record === null ? null : viewOf(record);
    if (view !== null) return { ending: { is: "read", view }, operation: null };
    const seen = record === null ? {} : { seen: record.fence };
    return { ending: { is: "refused", code: "UnknownTenant", ...seen }, operation: null };
  } catch (cause) {
    return refused("StoreUnavailable", cause);
  }
}

async function putSeated(
  tenant: string,
  request: IncomingMessage,
  response: ServerResponse,
  deps: ServeDeps,
): Promise<Served> {
  const leaveSeat = deps.takeSeat();
  if (leaveSeat === null) return refused("Busy");
  try {
    return await put(tenant, request, response, deps);
  } finally {
    leaveSeat();
  }
}

async function put(
  tenant: string,
  request: IncomingMessage,
  response: ServerResponse,
  deps: ServeDeps,
): Promise<Served> {
  const claim = claimOf(request.headers, tenant);
  if (!claim.ok) return refused(claim.code);
  if (!takesType(request.headers)) return refused("ContentTypeUnsupported");
  const { bodyBytes, readTimeout } = deps.limits;
  const body = await readBody(request, { bytes: bodyBytes, timeout: readTimeout, clock: deps.clock });
  if (body.is !== "whole") return refused(CODE_OF_BODY[body.is]);
  const operation = operationOf(tenant, claim.value, body.bytes);
  if (!operation.ok) return refused(operation.code);
  return { ending: await inTurn(operation.value, response, deps), operation: operation.value };
}

/** A caller that hung up while waiting is forgotten: the fewer effects nobody waits for, the better. */
async function inTurn(operation: Operation, response: ServerResponse, deps: ServeDeps): Promise<Ending> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  if (response.destroyed) gone.abort();
  const givenUp = AbortSignal.any([gone.signal, deps.closing]);
  const endTurn = await deps.turns.take(operation.tenant, givenUp);
  if (endTurn === null || givenUp.aborted) {
    endTurn?.();
    return { is: "refused", code: deps.closing.aborted ? "Closing" : "Busy" };
  }
  return inTime(operation, endTurn, deps);
}

/** The turn lasts until `apply` has really ended, however long after the answer: the next operation must not be overtaken. */
async function inTime(operation: Operation, endTurn: () => void, deps: ServeDeps): Promise<Ending> {
  const tooLong = new AbortController();
  const ending = carryOut(operation, deps, tooLong.signal).finally(endTurn);
  deps.track(ending);
  const first = await within(ending, { timeout: deps.limits.applyTimeout, clock: deps.clock }, null);
  if (first !== null) return first;
  tooLong.abort(new Error("applyTimeout has passed"));
  return { is: "refused", code: "ApplyTimeout" };
}
