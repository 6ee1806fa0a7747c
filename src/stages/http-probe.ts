import { fault } from "../lib/failures.ts";
import { isFence } from "../lib/fence.ts";
import type { Json } from "../lib/json.ts";
import { at } from "../lib/json-pointer.ts";
import type { Found } from "../domain/task.ts";
import { type HttpStageCall, type Request, send } from "./http-exchange.ts";
import type { Verdict } from "./stage.ts";

/** Where one asks which operation is in force. */
export type Ask = {
  readonly path: string;
  readonly opIdPointer: string;
  /** Speaks src/receiver's contract: says the fence too, and what it never heard of. */
  readonly receiver: boolean;
};

/** What is in force at one instance. Ours is said only with our opId (SEC-33). */
export async function whose<Inputs>(call: HttpStageCall<Inputs>, ask: Ask, address: string): Promise<Found> {
  const line: Request = { method: "GET", path: ask.path, headers: {}, body: null };
  const result = await send(call, address, line, "read");
  const unreadable: Found = { is: "unreadable", fault: fault("ProbeFailed", { endpoint: call.endpoint, address }) };
  if (result.kind !== "answer") return unreadable;
  const body = result.json?.ok === true ? result.json.value : null;
  if (result.status === 404) {
    if (!ask.receiver) return { is: "not-in-force" };
    // Somebody else's 404, of a proxy or of a wrong path, says nothing about the tenant.
    return at(body, "/code") === "UnknownTenant" ? notOurs(call, address, at(body, "/seen") ?? null) : unreadable;
  }
  if (result.status !== 200 || body === null) return unreadable;
  const opId = at(body, ask.opIdPointer);
  const whole = !ask.receiver || at(body, "/unfinished") === undefined;
  if (opId === call.opId && whole) return { is: "in-force", outputs: { instances: 1 } };
  if (!ask.receiver) return { is: "not-in-force" };
  const fence = at(body, "/fence");
  return typeof opId === "string" && typeof fence === "string" && isFence(fence)
    ? notOurs(call, address, fence)
    : unreadable;
}

/** What was before, or what somebody did whom this history does not know. */
function notOurs<Inputs>({ endpoint, base }: HttpStageCall<Inputs>, address: string, fence: Json): Found {
  return typeof fence === "string" && isFence(fence) && fence > base
    ? { is: "foreign", fault: fault("ForeignOperation", { endpoint, address }) }
    : { is: "not-in-force" };
}

/** Reads back an operation that was acknowledged; where something else is in force, nobody knows what became of it. */
export async function stands<Inputs>(call: HttpStageCall<Inputs>, ask: Ask, address: string): Promise<Verdict> {
  const found = await whose(call, ask, address);
  if (found.is === "in-force") return { is: "acked" };
  if (found.is === "unreadable") return { is: "unknown", fault: found.fault };
  const facts = { endpoint: call.endpoint, address, pointer: ask.opIdPointer };
  return { is: "unknown", fault: fault("AnswerDiffers", facts) };
}
