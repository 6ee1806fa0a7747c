import { deepEqual } from "../lib/deep-equal.ts";
import { fault } from "../lib/failures.ts";
import { isFence } from "../lib/fence.ts";
import type { Json } from "../lib/json.ts";
import { at } from "../lib/json-pointer.ts";
import type { HttpResult } from "../infra/egress/http.ts";
import type { StageCall, Verdict } from "./stage.ts";

export type HttpStageCall<Inputs> = StageCall<Inputs, "http">;

export type Request = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Json;
};
export type Success = {
  /** null: every 2xx. */
  readonly status: readonly number[] | null;
  readonly equals: Readonly<Record<string, Json>>;
  readonly emptyAt: string | null;
  /** The answer must be JSON even where nothing in it is looked at. */
  readonly json: boolean;
};
/** One exchange under the claim. `read`: changes nothing, carries no stamp and is no boundary. */
export function send<Inputs>(
  call: HttpStageCall<Inputs>,
  address: string,
  request: Request,
  how: "effect" | "read" = "effect",
): Promise<HttpResult> {
  const { endpoint, namespace, tenant, fence, base, opId } = call;
  const read = how === "read";
  return call.ports.http.send(
    {
      endpoint,
      namespace,
      address,
      method: request.method,
      path: request.path,
      headers: request.headers,
      ...(read ? {} : { stamp: { tenant, fence, base, opId } }),
      ...(request.body === null ? {} : { body: request.body }),
      timeout: call.instanceTimeout,
      point: read ? null : { class: "effect/http", subject: `${namespace}/${call.task.name}` },
    },
    call.signal,
  );
}

interface Place {
  readonly endpoint: string;
  readonly address: string;
  readonly success: Success;
}

/** One answer → verdict (stages.md, Retries and classes). Bodies are read, never quoted (SEC-37). */
export function judge(result: HttpResult, place: Place): Verdict {
  if (result.kind === "lost") return { is: "unknown", fault: result.fault };
  if (result.kind === "notSent") {
    const terminal =
      result.fault.code === "EgressDenied" ||
      result.fault.code === "SecretUnreadable" ||
      result.fault.code === "TlsFailed" ||
      result.fault.code === "RequestTooLarge";
    return terminal ? { is: "terminal", fault: result.fault } : { is: "retryable", fault: result.fault, after: null };
  }
  const { endpoint, address } = place;
  const { status } = result;
  const at = { endpoint, address, status: String(status) };
  if (status === 429 || status === 503)
    return { is: "retryable", fault: fault("ReceiverBusy", at), after: result.retryAfter };
  if (status >= 200 && status < 300) return accepted(result, place);
  if (status >= 500) return { is: "unknown", fault: fault("ServerError", at) };
  if (status >= 300 && status < 400) return { is: "terminal", fault: fault("Redirected", at) };
  if (status === 401 || status === 403) return { is: "terminal", fault: fault("Unauthorized", at) };
  return refused(result, place) ?? { is: "terminal", fault: fault("HttpRejected", at) };
}

/** The refusals of the receiver's contract (stages.md, Receiver library). */
function refused(result: HttpResult & { readonly kind: "answer" }, { endpoint, address }: Place): Verdict | null {
  const body = result.json?.ok === true ? result.json.value : null;
  const code = at(body, "/code");
  const seen = at(body, "/seen");
  const fence = typeof seen === "string" && isFence(seen) ? seen : "unknown";
  if (result.status === 412 && code === "Fenced")
    return { is: "fenced", fault: fault("Fenced", { endpoint, address, seen: fence }) };
  if (result.status === 412 && code === "Diverged")
    return { is: "diverged", fault: fault("Diverged", { endpoint, address, seen: fence }) };
  if (result.status === 409 && code === "ContentDiffers")
    return { is: "terminal", fault: fault("ContentDiffers", { endpoint, address }) };
  return null;
}

/** 2xx is not yet success: status set, values and empty list must hold too. */
function accepted(result: HttpResult & { readonly kind: "answer" }, { endpoint, address, success }: Place): Verdict {
  if (success.status !== null && !success.status.includes(result.status)) {
    return { is: "terminal", fault: fault("HttpRejected", { endpoint, address, status: String(result.status) }) };
  }
  const { json } = result;
  const wanted = Object.entries(success.equals);
  if (json !== null && !json.ok && json.reason === "too large") {
    return { is: "terminal", fault: fault("AnswerTooLarge", { endpoint, address, limit: "65536" }) };
  }
  if (!success.json && wanted.length === 0 && success.emptyAt === null) return { is: "acked" };
  if (json?.ok !== true)
    return { is: "terminal", fault: fault("NotJson", { endpoint, address, bytes: String(result.bytes) }) };
  const differs = wanted.find(([pointer, value]) => !deepEqual(at(json.value, pointer), value));
  if (differs !== undefined)
    return { is: "terminal", fault: fault("AnswerDiffers", { endpoint, address, pointer: differs[0] }) };
  const list = success.emptyAt === null ? [] : (at(json.value, success.emptyAt) ?? []);
  const empty = Array.isArray(list) && list.length === 0;
  return empty
    ? { is: "acked" }
    : { is: "terminal", fault: fault("FailListNotEmpty", { endpoint, address, pointer: success.emptyAt ?? "" }) };
}
