import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * A receiver written from the guide alone, without a line of the library, that can be given one mistake each. Without a
 * mistake it is a second implementation that conforms.
 */
export const MISTAKES = [
  "acceptsLowerFence",
  "acceptsLowerFenceOfSameOperation",
  "ignoresNewClaimOfSameOperation",
  "forgetsNewClaimOnRestart",
  "appliesAgain",
  "acceptsEqualFence",
  "ignoresBase",
  "remembersDiverged",
  "ignoresContent",
  "firstLeavesNoFence",
  "undoRestoresFence",
  "fencePerService",
  "tenantWithoutNamespace",
  "writesLate",
  "appliesDoublesTwice",
  "refusesHigherFence",
  "getAnswersAnotherTime",
  "forgetsFenceOnRestart",
  "forgetsInForceOnRestart",
  "failureLeavesNoFence",
  "failureCountsAsDone",
  "failureLeavesOldInForce",
  "comparesAnyText",
  "takesNoFence",
  "takesAnyClaim",
  "takesAnybody",
  "remembersStrangers",
  "readsBodyFirst",
  "takesAnyTenantHeader",
  "takesAnySize",
  "takesAnyBody",
  "takesLastOfDoubledKeys",
  "refusesUnknownKeys",
  "takesAnyType",
  "inventsTenants",
  "answersEverything",
  "quotesBody",
  "decodesTwice",
  "answersOtherMethods",
  "hidesAge",
] as const;
export type Mistake = (typeof MISTAKES)[number];

interface Known {
  fence: string;
  opId: string;
  unsettled: boolean;
  inForce: {
    opId: string;
    content: string;
    deployUnit: unknown;
    version: number;
    appliedAt: string;
    before: { content: string; fence: string } | null;
  } | null;
}

interface Claim {
  readonly fence: string;
  readonly base: string;
  readonly opId: string;
}

interface Content {
  readonly unit: object;
  readonly version: number;
  readonly whole: string;
}

interface Sent {
  readonly deployUnit?: { readonly id?: unknown; readonly name?: unknown; readonly version?: unknown };
  readonly version?: unknown;
}

class Refused extends Error {
  readonly status: number;
  readonly body: object;
  constructor(status: number, code: string, facts: object = {}) {
    super(code);
    this.status = status;
    this.body = { code, ...facts };
  }
}

const FENCE = /^[0-9]{10}-[0-9]{8}$/;
const PREFIX = "/turnout/v1/tenants/";

export interface WrongReceiver extends AsyncDisposable {
  readonly origin: string;
  failNext(tenant: string): void;
  effects(tenant: string): number;
  restart(): void;
}

export async function openWrongReceiver(token: string, mistake: Mistake | null): Promise<WrongReceiver> {
  const has = (...any: readonly Mistake[]): boolean => mistake !== null && any.includes(mistake);
  let known = new Map<string, Known>();
  const toFail = new Set<string>();
  const effects = new Map<string, number>();
  const turns = new Map<string, Promise<unknown>>();

  const keyOf = (tenant: string): string => {
    if (has("fencePerService")) return "all";
    return has("tenantWithoutNamespace") ? (tenant.split("/")[1] ?? "") : tenant;
  };

  function authenticate({ headers }: IncomingMessage): void {
    if (has("takesAnybody") || headers.authorization === `Bearer ${token}`) return;
    if (has("remembersStrangers") && FENCE.test(String(headers["turnout-fence"]))) {
      const tenant = String(headers["turnout-tenant"]);
      known.set(tenant, {
        fence: String(headers["turnout-fence"]),
        opId: "stranger",
        unsettled: false,
        inForce: known.get(tenant)?.inForce ?? null,
      });
    }
    throw new Refused(401, "Unauthenticated");
  }

  function tenantOf(url: string): string {
    if (!url.startsWith(PREFIX)) throw new Refused(404, "UnknownPath");
    const segments = url.slice(PREFIX.length).split("/");
    if (segments.length !== 2) throw new Refused(404, "UnknownPath");
    try {
      const decode = has("decodesTwice")
        ? (text: string) => decodeURIComponent(decodeURIComponent(text))
        : decodeURIComponent;
      const tenant = segments.map((segment) => decode(segment)).join("/");
      if (!/^[a-z0-9-]{1,63}\/[A-Za-z0-9_-]{1,64}$/.test(tenant)) throw new Refused(400, "PathMalformed");
      return tenant;
    } catch {
      throw new Refused(400, "PathMalformed");
    }
  }

  function claimOf({ headers }: IncomingMessage, tenant: string): Claim {
    if (headers["turnout-tenant"] !== tenant && !has("takesAnyTenantHeader")) throw new Refused(400, "TenantDiffers");
    const fence = headers["turnout-fence"] ?? (has("takesNoFence") ? "0000000000-00000001" : undefined);
    if (fence === undefined) throw new Refused(428, "FenceMissing");
    if (!FENCE.test(String(fence)) && !has("comparesAnyText")) throw new Refused(400, "FenceMalformed");
    const base = String(headers["turnout-base"] ?? "");
    const opId = String(headers["idempotency-key"] ?? "");
    if (has("takesAnyClaim")) return { fence: String(fence), base, opId };
    if (!FENCE.test(base)) throw new Refused(400, "BaseMalformed");
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(opId)) throw new Refused(400, "OperationMalformed");
    return { fence: String(fence), base, opId };
  }

  async function bodyOf(request: IncomingMessage): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const bytes = Buffer.concat(chunks);
    if (bytes.length > 256 * 1024 && !has("takesAnySize")) throw new Refused(413, "BodyTooLarge");
    return bytes.toString("latin1") === "" || isUtf8(bytes) || has("takesAnyBody")
      ? bytes.toString("utf8")
      : refuseBody();
  }

  function refuseBody(): never {
    throw new Refused(400, "BodyMalformed");
  }

  function contentOf(text: string): Content {
    if (has("takesAnyBody")) return { unit: { id: 1, name: "any", version: 1 }, version: 1, whole: "" };
    let content: Sent;
    try {
      content = JSON.parse(text) as Sent;
    } catch {
      throw has("quotesBody")
        ? new Refused(400, "BodyMalformed", { near: text.slice(0, 80) })
        : new Refused(400, "BodyMalformed");
    }
    const keys = [...text.matchAll(/"(\w+)"\s*:/g)].map(([, key]) => key);
    const topKeys = keys.filter((key) => key === "version").length;
    if (topKeys > 2 && !has("takesLastOfDoubledKeys")) refuseBody();
    if (keys.some((key) => key === "__proto__" || key === "constructor") || text.includes("[".repeat(17))) refuseBody();
    if (/\\ud8/.test(text)) refuseBody();
    if (typeof content !== "object" || content === null || typeof content.deployUnit !== "object") refuseBody();
    const { version } = content;
    if (typeof version !== "number" || !Number.isSafeInteger(version) || version >= 2 ** 31) refuseBody();
    if (has("refusesUnknownKeys") && keys.includes("later")) refuseBody();
    const { deployUnit } = content;
    return { unit: { id: deployUnit?.id, name: deployUnit?.name, version: deployUnit?.version }, version, whole: text };
  }

  function check(claim: Claim, record: Known | undefined): "go" | "repeat" {
    if (record === undefined) return "go";
    const sameInForce = record.inForce?.opId === claim.opId;
    const below = record.fence > claim.fence;
    if (below && !has("acceptsLowerFence") && !(sameInForce && has("acceptsLowerFenceOfSameOperation"))) {
      throw new Refused(412, "Fenced", { seen: record.fence });
    }
    if (record.fence > claim.base && record.fence < claim.fence && !has("ignoresBase")) {
      const seen = record.fence;
      if (has("remembersDiverged")) Object.assign(record, { fence: claim.fence, opId: claim.opId });
      throw new Refused(412, "Diverged", { seen });
    }
    if (record.fence === claim.fence && record.opId !== claim.opId && !has("acceptsEqualFence")) {
      throw new Refused(412, "Diverged", { seen: record.fence });
    }
    if (has("refusesHigherFence") && record.fence < claim.fence && !sameInForce) throw new Refused(409, "Taken");
    return sameInForce && (!record.unsettled || has("failureLeavesOldInForce")) ? "repeat" : "go";
  }

  async function apply(tenant: string, claim: Claim, text: string): Promise<object> {
    const record = known.get(keyOf(tenant));
    const content = contentOf(text);
    const next = check(claim, record);
    if (record?.inForce?.opId === claim.opId && record.inForce.content !== content.whole && !has("ignoresContent")) {
      throw new Refused(409, "ContentDiffers");
    }
    if (next === "repeat" && record?.inForce && !has("appliesAgain")) {
      if (!has("ignoresNewClaimOfSameOperation")) Object.assign(record, { fence: claim.fence, opId: claim.opId });
      return view(record, record.inForce);
    }
    const begun: Known = { ...claim, unsettled: true, inForce: record?.inForce ?? null };
    if (!has("failureLeavesNoFence", "writesLate")) known.set(keyOf(tenant), begun);
    await beSlow(claim);
    const failed = toFail.delete(tenant);
    if (failed && !has("failureCountsAsDone")) throw new Refused(500, "ApplyFailed");
    effects.set(tenant, (effects.get(tenant) ?? 0) + 1);
    const answered = settle(tenant, claim, content, record);
    if (failed) throw new Refused(500, "ApplyFailed");
    return answered;
  }

  /** Claims that were let in, and go on once eight are together or no more come: the newest first, so that the oldest writes last. */
  const inside: { readonly fence: string; readonly go: () => void }[] = [];
  let quiet: NodeJS.Timeout | null = null;
  function crowd(fence: string): Promise<void> {
    const letGo = (): void => {
      for (const { go } of inside.splice(0).toSorted((a, b) => (a.fence < b.fence ? 1 : -1))) go();
    };
    if (quiet !== null) clearTimeout(quiet);
    quiet = setTimeout(letGo, 500);
    return new Promise((go) => {
      inside.push({ fence, go });
      if (inside.length === 8) setImmediate(letGo);
    });
  }

  async function beSlow({ fence }: Claim): Promise<void> {
    if (has("writesLate")) await crowd(fence);
    if (has("appliesDoublesTwice")) await sleep(5);
  }

  function settle(tenant: string, claim: Claim, content: Content, record: Known | undefined): object {
    const { unit, version, whole } = content;
    const replaced = record?.inForce ?? null;
    const inForce = {
      opId: claim.opId,
      content: whole,
      deployUnit: unit,
      version,
      appliedAt: new Date().toISOString(),
      before: replaced && { content: replaced.content, fence: record?.fence ?? "" },
    };
    const settled: Known = { ...claim, unsettled: false, inForce };
    const undone = replaced?.before?.content === whole ? replaced.before.fence : null;
    if (has("undoRestoresFence") && undone !== null) known.set(keyOf(tenant), { ...settled, fence: undone });
    else if (has("firstLeavesNoFence") && record === undefined) known.set(keyOf(tenant), { ...settled, fence: "0" });
    else known.set(keyOf(tenant), settled);
    return view(settled, inForce);
  }

  function view({ fence }: Known, { opId, deployUnit, version, appliedAt }: NonNullable<Known["inForce"]>): object {
    const padding = has("answersEverything") ? { padding: "x".repeat(5000) } : {};
    return { deployUnit, version, fence, opId, ...(has("hidesAge") ? {} : { appliedAt }), ...padding };
  }

  function get(tenant: string): object {
    const record = known.get(keyOf(tenant));
    if (record?.inForce) {
      const seen = view(record, record.inForce);
      return has("getAnswersAnotherTime") ? { ...seen, appliedAt: new Date().toISOString() } : seen;
    }
    if (has("inventsTenants")) return { deployUnit: { name: "blue" }, version: 0 };
    throw new Refused(404, "UnknownTenant", record === undefined ? {} : { seen: record.fence });
  }

  async function serve(request: IncomingMessage): Promise<object> {
    const early = has("readsBodyFirst") && request.method === "PUT" ? await bodyOf(request) : null;
    authenticate(request);
    const tenant = tenantOf(request.url ?? "");
    if (request.method === "GET") return get(tenant);
    if (request.method !== "PUT" && !has("answersOtherMethods")) throw new Refused(405, "MethodNotAllowed");
    const claim = claimOf(request, tenant);
    const { headers } = request;
    const typed = (headers["content-type"] ?? "").startsWith("application/json") && !headers["content-encoding"];
    if (!typed && !has("takesAnyType")) throw new Refused(415, "ContentTypeUnsupported");
    const text = early ?? (await bodyOf(request));
    if (has("writesLate", "appliesDoublesTwice")) return apply(tenant, claim, text);
    const turn = (turns.get(tenant) ?? Promise.resolve()).catch(() => undefined).then(() => apply(tenant, claim, text));
    turns.set(tenant, turn);
    return turn;
  }

  const server = createServer((request, response) => {
    serve(request)
      .then((body) => answer(response, 200, body))
      .catch((error: unknown) => {
        if (error instanceof Refused) answer(response, error.status, error.body);
        else answer(response, 500, { code: "Bug" });
      });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    failNext: (tenant) => toFail.add(tenant),
    effects: (tenant) => effects.get(tenant) ?? 0,
    restart: () => {
      const kept = [...known].map(([tenant, record]): [string, Known] => [tenant, afterRestart(record)]);
      known = new Map(has("forgetsFenceOnRestart") ? [] : kept);
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  function afterRestart(record: Known): Known {
    if (has("forgetsInForceOnRestart")) return { ...record, inForce: null, unsettled: true };
    return has("forgetsNewClaimOnRestart") && record.fence.endsWith("14")
      ? { ...record, fence: record.fence.slice(0, -2) + "10" }
      : record;
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
