import { randomBytes } from "node:crypto";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ReceiverProcess, startReceiver } from "../../deployment/demo/children.ts";
import type { Mode } from "../../deployment/demo/misbehaviour.ts";
import { openMachine } from "../../deployment/local/machine.ts";
import type { FencedStore } from "../../src/infra/cache/fenced.ts";
import { openFencedStore } from "../../src/infra/cache/fenced.ts";
import type { HttpEndpoint } from "../../src/infra/config/endpoint-settings.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import type { Boundary } from "../../src/lib/seams.ts";
import type { StageKindName } from "../../src/stages/registry.ts";
import type { Ports } from "../../src/stages/stage.ts";
import { httpEndpoint, openRig, type Rig } from "./egress/rig.ts";
import { fenceOf } from "./receiver-build.ts";
import { aGate, type At, type EffectRig, openStage, type QuietRig, type Stage } from "./stage-rig.ts";
import { BLUE, GREEN } from "./stage-rig-plan.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** One process of the demo's service, with the token that it wants. */
export interface Receivers extends AsyncDisposable {
  readonly process: ReceiverProcess;
  readonly token: string;
}

/** @throws Error where the service does not come up. */
export async function openReceiver(
  unit: "blue" | "green" = "green",
  token: string = randomBytes(24).toString("hex"),
): Promise<Receivers> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await mkdtempDisposable(join(tmpdir(), "turnout-stages-")));
  const machine = opening.use(await openMachine({ print: () => undefined }));
  const tokenFile = join(folder.path, "token");
  await writeFile(tokenFile, token, { mode: 0o600 });
  const process = await startReceiver({ unit, port: 0, folder: folder.path, tokenFile }, machine);
  opening.defer(() => process.stop());
  const open = opening.move();
  return { process, token, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** A store that no HTTP stage reaches. */
export const noRedis = (): FencedStore => openFencedStore(new Map());

export interface HttpStageAbout {
  readonly kind?: StageKindName & ("http" | "verify");
  /** Of the stage, without endpoint. */
  readonly config?: JsonObject;
  /** Ports on this machine, as the endpoint lists them; the stage's bytes to each pass a proxy. */
  readonly ports: readonly number[];
  /** Ports that `to:` may name, without a proxy. */
  readonly reachable?: readonly number[];
  readonly token?: string | null;
  /** Connections to one address. */
  readonly sockets?: number;
  readonly fencing?: "Token" | "None";
  readonly boundary?: Boundary;
  readonly tenantId?: string;
  readonly target?: object;
  readonly previous?: object | null;
  readonly uid?: string;
}

export interface HttpStage extends AsyncDisposable {
  readonly stage: Stage;
  readonly rig: Rig;
  readonly ports: Ports;
  /** One per port, in order. */
  readonly proxies: readonly TcpProxy[];
  /** As audiences name them, in the order of the ports. */
  readonly instances: readonly string[];
  readonly tenantId: string;
  /** `prod/ID`. */
  readonly tenant: string;
}

export const freshTenant = (): string => `t${randomBytes(5).toString("hex")}`;

/** An http or verify stage over the operator's own port and guard. */
export async function openHttpStage(about: HttpStageAbout): Promise<HttpStage> {
  const { kind = "http", config = {}, token = null, tenantId = freshTenant(), uid } = about;
  const proxies = await Promise.all(about.ports.map((port) => openTcpProxy({ host: "127.0.0.1", port })));
  const addresses = proxies.map(({ port }) => port);
  const reachable = [...addresses, ...(about.reachable ?? [])];
  const endpoint = endpointFor({ addresses, reachable, token, fencing: about.fencing ?? "Token" });
  const rig = openRig({
    endpoints: [endpoint],
    env: { TURNOUT_SECRET_T: token ?? "" },
    ...(about.sockets === undefined ? {} : { sockets: about.sockets }),
    ...(about.boundary === undefined ? {} : { boundary: about.boundary }),
  });
  const ports: Ports = { http: rig.http, redis: noRedis() };
  const { target, previous } = about;
  const stage = openStage({
    kind,
    config: { endpoint: "gateway", ...config },
    ports,
    endpoints: [endpoint],
    tenantId,
    ...(target === undefined ? {} : { target }),
    ...(previous === undefined ? {} : { previous }),
    ...(uid === undefined ? {} : { uid }),
  });
  return {
    stage,
    rig,
    ports,
    proxies,
    instances: proxies.map(({ port }) => `gateway|127.0.0.1:${port}`),
    tenantId,
    tenant: `prod/${tenantId}`,
    [Symbol.asyncDispose]: async () => {
      await rig[Symbol.asyncDispose]();
      await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
    },
  };
}

interface EndpointAbout {
  readonly addresses: readonly number[];
  readonly reachable: readonly number[];
  readonly token: string | null;
  readonly fencing: "Token" | "None";
}

function endpointFor({ addresses, reachable, token, fencing }: EndpointAbout): HttpEndpoint {
  return httpEndpoint({
    addresses: addresses.map((port) => `127.0.0.1:${port}`),
    ports: [...reachable],
    fencing,
    allow: { methods: ["GET", "PUT", "POST", "DELETE"], paths: ["/"] },
    ...(token === null ? {} : { credentials: { bearer: { env: "TURNOUT_SECRET_T" } } }),
  });
}

/** What somebody puts into a receiver past every stage. */
export async function putInto(
  { process, token }: Receivers,
  tenant: string,
  about: {
    readonly seq: number;
    readonly opId: string;
    readonly unit: typeof BLUE | typeof GREEN;
    readonly version: number;
  },
): Promise<number> {
  const { seq, opId, version } = about;
  const { deployUnit, endpoints, parameters } = about.unit;
  const answer = await fetch(`http://127.0.0.1:${process.port}/turnout/v1/tenants/${tenant}`, {
    method: "PUT",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "turnout-tenant": tenant,
      "turnout-fence": fenceOf(seq),
      "turnout-base": fenceOf(seq - 1),
      "idempotency-key": opId,
    },
    body: JSON.stringify({ deployUnit, version, endpoints, parameters }),
  });
  await answer.text();
  return answer.status;
}

/** What the demo's receiver serves, without fences and times. */
export async function servedBy({ process }: Receivers, tenant: string): Promise<string> {
  const state = await process.state(tenant);
  return state === null ? "nothing" : JSON.stringify({ deployUnit: state["deployUnit"], version: state["version"] });
}

/** One receiver of a service that several tests share, on blue 41. */
export async function httpRig(receiver: Receivers, effect: "Announce" | "Write"): Promise<EffectRig> {
  const about = { config: { effect }, ports: [receiver.process.port], token: receiver.token };
  const opened = await openHttpStage(about);
  const { tenant, tenantId, stage } = opened;
  const [proxy] = opened.proxies;
  if (proxy === undefined) throw new Error("no proxy");
  await putInto(receiver, tenant, { seq: 1, opId: "placed", unit: BLUE, version: 41 });
  const late: HttpStage[] = [];
  const tell = (mode: Mode): Promise<void> => receiver.process.tell({ mode, tenant });
  return {
    stage,
    state: () => servedBy(receiver, tenant),
    before: JSON.stringify({ deployUnit: BLUE.deployUnit, version: 41 }),
    after: JSON.stringify({ deployUnit: GREEN.deployUnit, version: 42 }),
    fence: async () => String((await receiver.process.state(tenant))?.["fence"]),
    effects: async () => {
      const lines = await receiver.process.effects();
      return lines.filter(
        (line) => line["tenant"] === tenant && line["verdict"] === "applied" && line["version"] === 42,
      ).length;
    },
    delay: async (at: At) => {
      const boundary = aGate();
      const other = await openHttpStage({ ...about, tenantId, boundary });
      late.push(other);
      const outcome = other.stage.run({ ...at, addresses: [`gateway|127.0.0.1:${other.proxies[0]?.port}`] });
      await boundary.reached;
      return {
        deliver: () => {
          boundary.open();
          return outcome;
        },
      };
    },
    takenByOthers: async () =>
      void (await putInto(receiver, tenant, { seq: 9, opId: "theirs", unit: GREEN, version: 50 })),
    unreadable: () => tell("unreadable"),
    down: async () => proxy[Symbol.asyncDispose](),
    loseAnswers: async () => proxy.swallow("toClient"),
    mend: () => proxy.clear(),
    arrived: () => proxy.passed.toServer,
    [Symbol.asyncDispose]: async () => {
      for (const other of late) await other[Symbol.asyncDispose]();
      await opened[Symbol.asyncDispose]();
    },
  };
}

/** A verify stage that asks a receiver which serves what it should. */
export async function verifyRig(receiver: Receivers): Promise<QuietRig> {
  const opened = await openHttpStage({ kind: "verify", ports: [receiver.process.port], token: receiver.token });
  const { tenant } = opened;
  await putInto(receiver, tenant, { seq: 1, opId: "placed", unit: GREEN, version: 42 });
  return {
    stage: opened.stage,
    state: async () => JSON.stringify(await receiver.process.state(tenant)),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}
