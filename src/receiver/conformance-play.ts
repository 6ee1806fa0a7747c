import { base32Digest } from "../lib/digest.ts";
import { type Fence, formatFence, isFence, parseFence } from "../lib/fence.ts";
import { decodeJson, type Json, type JsonObject } from "../lib/json.ts";
import { at } from "../lib/json-pointer.ts";
import { ANSWER_BYTES } from "./limits.ts";
import { RECEIVER_PATH } from "./request.ts";

export interface ConformanceRequest {
  readonly method: string;
  /** Sent as it stands. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of a caller that the receiver knows, of one with a wrong credential, or of nobody. */
  readonly as: "known" | "wrong" | "nobody";
  readonly body?: Uint8Array;
  /** Announce the body, never send it, and see whether an answer comes all the same. */
  readonly withholdBody?: boolean;
}

export interface ConformanceAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** The receiver under trial, and what its owner can do to it. */
export interface Target {
  /** Sends once, follows nothing, is bounded in time and bytes. */
  send(request: ConformanceRequest): Promise<ConformanceAnswer>;
  /** Cases play on `namespace/tenantId-CASE`: tenants that nobody else switches. */
  readonly tenant: { readonly namespace: string; readonly tenantId: string };
  /** Text that no earlier run had: operations of two runs must differ. */
  readonly run: string;
  /** Epoch of the first claim, in seconds; a receiver that knows greater ones raises it. */
  readonly epoch: number;
  readonly authenticates: boolean;
  /** Waits until a second effect would show another `appliedAt`. */
  pause(): Promise<void>;
  /** Kills the receiver and starts it again on what it stored. */
  restart?(): Promise<void>;
  /** Lets the next operation of this tenant fail inside the service. */
  failNext?(tenant: string): Promise<void>;
  /** How many effects the tenant has seen, where it can be told. */
  effects?(tenant: string): Promise<number>;
}

export interface Case {
  /** `[a-z-]{1,24}`: part of the tenant's name. */
  readonly id: string;
  readonly rule: string;
  readonly needs?: "authentication" | "restart" | "faults";
  readonly run: (play: Play) => Promise<void>;
}

/** The receiver did something else than the contract says. */
export class NotConforming extends Error {
  override name = "NotConforming";
}

export interface Put {
  /** Sequence number of the claim; its fence is {@link Play.fence} of it. */
  readonly seq: number;
  /** Default: the claim before. */
  readonly base?: number;
  /** Any name; equal names are one operation. Default: one per `seq`. */
  readonly operation?: string;
  readonly version?: number;
  /** Laid over the correct headers; undefined takes one away. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array;
  readonly path?: string;
  readonly method?: string;
  readonly as?: ConformanceRequest["as"];
  readonly withholdBody?: boolean;
}

export interface InForceAnswer {
  readonly version: number;
  readonly fence: string;
  readonly opId: string;
  readonly appliedAt: string;
  readonly unit: string;
}

/** One tenant of the receiver under trial, and what is expected of it. */
export interface Play {
  readonly target: Target;
  readonly tenant: string;
  readonly path: string;
  fence(seq: number): Fence;
  opId(operation: string | number): string;
  put(put: Put): Promise<ConformanceAnswer>;
  get(over?: Partial<Pick<ConformanceRequest, "path" | "as" | "method">>): Promise<ConformanceAnswer>;
  /** Another tenant under the same epoch. */
  sibling(tenant: { readonly namespace?: string; readonly suffix?: string }): Play;
  /** Puts, and expects 200 with the operation in force. */
  apply(put: Put): Promise<InForceAnswer>;
  inForce(): Promise<InForceAnswer>;
  /** Expects that `repeat` brings no further effect. */
  withoutEffect(repeat: () => Promise<unknown>): Promise<void>;
}

export function contentOf(version: number, parameters: Readonly<Record<string, string>> = {}): JsonObject {
  const colour = version % 2 === 0 ? "green" : "blue";
  return {
    deployUnit: { id: 1 + (version % 2), name: colour, version: 7 },
    version,
    endpoints: [{ key: "im-gateway", host: "127.0.0.1", port: 8080 }],
    parameters,
  };
}

export const bytesOf = (content: Json): Uint8Array => new TextEncoder().encode(JSON.stringify(content));

/** Sequence numbers of one play start here, so that older claims can be made. */
export const FIRST = 10;

export function openPlay(target: Target, caseId: string): Play {
  const { namespace, tenantId } = target.tenant;
  return playOn(target, { namespace, tenantId: `${tenantId}-${caseId}` }, { known: null });
}

interface Epoch {
  known: number | null;
  reading?: Promise<void>;
}

function playOn(target: Target, { namespace, tenantId }: Target["tenant"], epoch: Epoch): Play {
  const tenant = `${namespace}/${tenantId}`;
  const path = `${RECEIVER_PATH}${namespace}/${tenantId}`;
  const send = (request: ConformanceRequest): Promise<ConformanceAnswer> => target.send(request);
  const fence = (seq: number): Fence => formatFence(epoch.known ?? target.epoch, seq);
  const opId = (operation: string | number): string => base32Digest(target.run, tenant, String(operation));

  const play: Play = {
    target,
    tenant,
    path,
    fence,
    opId,
    get: (over = {}) => send({ method: "GET", path, headers: {}, as: "known", ...over }),
    put: async (put) => {
      await (epoch.reading ??= readEpoch(play, epoch));
      const headers: Readonly<Record<string, string | undefined>> = {
        "turnout-tenant": tenant,
        "turnout-fence": fence(put.seq),
        "turnout-base": fence(put.base ?? put.seq - 1),
        "idempotency-key": opId(put.operation ?? put.seq),
        "content-type": "application/json",
        ...put.headers,
      };
      return send({
        method: put.method ?? "PUT",
        path: put.path ?? path,
        headers: present(headers),
        as: put.as ?? "known",
        body: put.body ?? bytesOf(contentOf(put.version ?? put.seq)),
        withholdBody: put.withholdBody ?? false,
      });
    },
    sibling: ({ namespace: other = namespace, suffix = "" }) =>
      playOn(target, { namespace: other, tenantId: tenantId + suffix }, epoch),
    apply: async (put) => {
      const inForce = readInForce(await play.put(put));
      expect("opId of the answer", inForce.opId, opId(put.operation ?? put.seq));
      expect("version of the answer", inForce.version, put.version ?? put.seq);
      expect("fence of the answer", inForce.fence, fence(put.seq));
      return inForce;
    },
    inForce: async () => readInForce(await play.get()),
    withoutEffect: async (repeat) => {
      const before = await play.inForce();
      const effects = await target.effects?.(tenant);
      await target.pause();
      await repeat();
      const after = await play.inForce();
      expect("appliedAt after a repeat", after.appliedAt, before.appliedAt);
      expect("effects after a repeat", await target.effects?.(tenant), effects);
    },
  };
  return play;
}

const present = (headers: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined));

/** Fences are remembered for ever, so a run on tenants of an earlier one begins above what is remembered. */
async function readEpoch(play: Play, epoch: Epoch): Promise<void> {
  const answer = await play.get();
  const json = jsonOf(answer);
  const seen = at(json, "/fence") ?? at(json, "/seen");
  const known = typeof seen === "string" ? (parseFence(seen)?.epoch ?? 0) : 0;
  epoch.known = Math.max(known + 1, play.target.epoch);
}

/** The answer's JSON; null where it is none. */
export function jsonOf({ body }: ConformanceAnswer): Json {
  const decoded = decodeJson(new TextDecoder().decode(body), { depth: 16, keys: 1000 });
  return decoded.ok ? decoded.value : null;
}

/** A 200 of GET or PUT, held to its shape. */
export function readInForce(answer: ConformanceAnswer): InForceAnswer {
  expectStatus(answer, 200);
  expectForm(answer);
  const json = jsonOf(answer);
  const text = (pointer: string): string => {
    const value = at(json, pointer);
    if (typeof value !== "string") throw new NotConforming(`the answer has no text at ${pointer}`);
    return value;
  };
  const version = at(json, "/version");
  if (!Number.isSafeInteger(version)) throw new NotConforming("the answer has no integer at /version");
  const found = {
    version: Number(version),
    fence: text("/fence"),
    opId: text("/opId"),
    unit: text("/deployUnit/name"),
  };
  const appliedAt = text("/appliedAt");
  if (!isFence(found.fence)) throw new NotConforming("the fence of the answer is malformed");
  if (Number.isNaN(Date.parse(appliedAt))) throw new NotConforming("appliedAt of the answer is no time");
  return { ...found, appliedAt };
}

/** A refusal with its code, and with the greatest fence seen where it is due. */
export function expectRefused(answer: ConformanceAnswer, status: number, code?: string, seen?: string): void {
  expectStatus(answer, status);
  expectForm(answer);
  const json = jsonOf(answer);
  const found = at(json, "/code");
  if (typeof found !== "string") throw new NotConforming(`the answer ${status} has no code`);
  if (code !== undefined) expect("code", found, code);
  if (seen !== undefined) expect("seen", at(json, "/seen"), seen);
}

export function expectStatus(answer: ConformanceAnswer, ...among: readonly number[]): void {
  if (among.includes(answer.status)) return;
  const code = at(jsonOf(answer), "/code");
  const named = typeof code === "string" && /^\w{1,40}$/.test(code) ? ` ${code}` : "";
  throw new NotConforming(`expected ${among.join(" or ")}, got ${answer.status}${named}`);
}

function expectForm({ body, contentType }: ConformanceAnswer): void {
  if (body.length > ANSWER_BYTES)
    throw new NotConforming(`the answer has ${body.length} bytes, more than ${ANSWER_BYTES}`);
  if (!contentType.toLowerCase().startsWith("application/json")) throw new NotConforming("the answer is not JSON");
}

export function expect(what: string, found: unknown, expected: unknown): void {
  if (found === expected) return;
  throw new NotConforming(`${what}: expected ${shown(expected)}, got ${shown(found)}`);
}

/** Foreign text is shown only where it is plainly harmless. */
function shown(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return /^[\w:.-]{1,64}$/.test(value) ? value : `a text of ${value.length}`;
  return value === undefined || value === null ? "nothing" : "something else";
}
