import { connect as connectTcp, type Socket } from "node:net";
import { type Address, parseAddress } from "../../lib/address.ts";
import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { fault, type Fault } from "../../lib/failures.ts";
import { formatIp, type Ip, parseIp } from "../../lib/ip.ts";
import type { Clock, Resolve } from "../../lib/seams.ts";
import { Slots } from "../../lib/slots.ts";
import { type Millis, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type EgressPolicy, type EgressRule, type Listener, refusalOf } from "./policy.ts";
import { secured, type TlsMaterial } from "./tls.ts";

export interface Destination {
  readonly policy: EgressPolicy;
  /** Whose sockets are counted. */
  readonly namespace: string;
  /** `host:port` as configured or stated; the only spelling that messages show. */
  readonly address: string;
  readonly tls: TlsMaterial | null;
}

export type Connection =
  | { readonly ok: true; readonly socket: Socket }
  /** `reason`: the code of what TLS failed with, where it did. */
  | { readonly ok: false; readonly fault: Fault; readonly reason?: string };

/** One socket that was opened, for the record that tests compare with the policy. */
export interface Connected {
  readonly endpoint: string;
  readonly namespace: string;
  readonly ip: string;
  readonly port: number;
}

export interface Guard {
  /** A connected, checked and where asked secured socket, within 5 s; or why there is none. Nothing was sent on it but TLS. */
  connect(to: Destination, signal: AbortSignal): Promise<Connection>;
  /** Counts a refusal and says it without naming an address (SEC-26). */
  refuse(endpoint: string, rule: EgressRule): Fault;
  /** Whether somebody of the namespace waits for a socket: idle ones should be given up. */
  crowded(namespace: string): boolean;
  /** Called with the namespace each time somebody has to wait. */
  onCrowded(yieldIdle: (namespace: string) => void): void;
  /** In force at once; what is open stays open. */
  limit(sockets: SocketLimits): void;
}

/** Sockets that one namespace may hold: to one address, and altogether. */
export interface SocketLimits {
  readonly perAddress: number;
  readonly perNamespace: number;
}

export interface GuardDeps {
  readonly resolve: Resolve;
  readonly clock: Clock;
  /** Until others are set. */
  readonly sockets: SocketLimits;
  /** The API server and our own listeners, asked at every connect: neither is ever an endpoint's destination. */
  readonly reserved: () => readonly Listener[];
  readonly metrics?: Metrics;
  readonly log?: Log;
  readonly onConnected?: (connected: Connected) => void;
}

/** SEC-41. */
export const CONNECT_TIMEOUT: Millis = seconds(5);
const MOST_ANSWERS = 32;
const LOOKUPS_AT_ONCE = 8;
const MOST_WAITING = 1024;

/** What the caller reads of a rule: nothing that would tell one resolved address from another. */
const SHOWN: Readonly<Partial<Record<EgressRule, string>>> = {
  port: "destination",
  cidr: "destination",
  range: "destination",
  ceiling: "destination",
  reserved: "destination",
  answers: "destination",
  socket: "destination",
};

/** The egress guard (security.md): the one place that opens sockets. */
export function openGuard(deps: GuardDeps): Guard {
  const lookups = new Slots(LOOKUPS_AT_ONCE, MOST_WAITING);
  const sockets = new SocketCaps(deps.sockets);
  const refuse = (endpoint: string, rule: EgressRule): Fault => {
    deps.metrics?.count("turnout_egress_refused_total", { rule });
    deps.log?.warn({ endpoint, rule }, `egress refused for endpoint ${endpoint}`);
    return fault("EgressDenied", { endpoint, rule: SHOWN[rule] ?? rule });
  };
  return {
    refuse,
    crowded: (namespace) => sockets.crowded(namespace),
    onCrowded: (yieldIdle) => sockets.onCrowded(yieldIdle),
    limit: (limits) => sockets.limit(limits),
    connect: (to, signal) => {
      const { endpoint } = to.policy;
      const parsed = parseAddress(to.address);
      if (parsed === null) return Promise.resolve({ ok: false, fault: refuse(endpoint, "form") });
      return withDeadline({ clock: deps.clock, timeout: CONNECT_TIMEOUT, signal }, async (ended) => {
        try {
          const ips = await addressesOf(parsed, { resolve: deps.resolve, lookups, signal: ended });
          const unfit = judge(to, { ips, port: parsed.port }, deps.reserved());
          if (unfit === "failed") return { ok: false, fault: fault("DnsFailed", { endpoint, address: to.address }) };
          if (unfit !== null) return { ok: false, fault: refuse(endpoint, unfit) };
          return await connectFirst({ to, ips, port: parsed.port, signal: ended, deps, sockets, refuse });
        } catch (error) {
          return { ok: false, fault: connectFault(error, ended, to) };
        }
      });
    },
  };
}

/** Guard 3: **all** answers must pass; one bad answer refuses the call. */
function judge(
  { policy }: Destination,
  { ips, port }: { readonly ips: readonly (Ip | null)[]; readonly port: number },
  reserved: readonly Listener[],
): EgressRule | "failed" | null {
  if (ips.length === 0) return "failed";
  if (ips.length > MOST_ANSWERS) return "answers";
  for (const ip of ips) {
    const rule = ip === null ? "answers" : refusalOf(policy, { ip, port }, reserved);
    if (rule !== null) return rule;
  }
  return null;
}

interface LookUp {
  readonly resolve: Resolve;
  readonly lookups: Slots;
  readonly signal: AbortSignal;
}

/** Guard 2. A literal is not looked up; an answer that is no canonical IP is null. */
async function addressesOf({ host }: Address, { resolve, lookups, signal }: LookUp): Promise<readonly (Ip | null)[]> {
  if (host.kind === "ip") return [host.ip];
  const give = await lookups.take(signal);
  // A look-up that outlives its asker keeps its slot: the system's resolver cannot be stopped, only bounded.
  const asked = resolve(host.text, signal).finally(give);
  const texts = await untilAborted(asked, signal).catch((error: unknown) => {
    if (signal.aborted) throw error;
    return [];
  });
  return texts.slice(0, MOST_ANSWERS + 1).map(parseIp);
}

interface Attempt {
  readonly to: Destination;
  readonly ips: readonly (Ip | null)[];
  readonly port: number;
  readonly signal: AbortSignal;
  readonly deps: GuardDeps;
  readonly sockets: SocketCaps;
  readonly refuse: Guard["refuse"];
}

/** Guard 4 and 5: one literal after the other, all under one deadline; the last failure is the one told. */
async function connectFirst({ to, ips, port, signal, deps, sockets, refuse }: Attempt): Promise<Connection> {
  let last: unknown = new Error("no address");
  for (const ip of ips) {
    if (ip === null) break;
    const release = await sockets.take(to.namespace, `${formatIp(ip)} ${port}`, signal);
    const socket = await openTcp(ip, port, signal).catch((error: unknown) => {
      last = error;
      release();
      return null;
    });
    if (socket === null) {
      if (signal.aborted) break;
      continue;
    }
    socket.once("close", release);
    // Whoever uses the socket learns of its end by `close`; an error that nobody awaits must not end the process.
    socket.on("error", () => undefined);
    if (!isTheChosen(socket, ip, port)) {
      socket.destroy();
      return { ok: false, fault: refuse(to.policy.endpoint, "socket") };
    }
    deps.onConnected?.({ endpoint: to.policy.endpoint, namespace: to.namespace, ip: formatIp(ip), port });
    if (to.tls === null) return { ok: true, socket };
    return secureOrFail(socket, to.tls, { signal, to });
  }
  throw last;
}

async function secureOrFail(
  socket: Socket,
  tls: TlsMaterial,
  { signal, to }: { readonly signal: AbortSignal; readonly to: Destination },
): Promise<Connection> {
  try {
    return { ok: true, socket: await untilAborted(secured(socket, tls), signal) };
  } catch (error) {
    socket.destroy();
    const reason = codeOf(error);
    if (signal.aborted || reason === "ECONNRESET" || reason === "EPIPE") {
      return { ok: false, fault: connectFault(error, signal, to) };
    }
    const failed = fault("TlsFailed", { endpoint: to.policy.endpoint, address: to.address, reason });
    return { ok: false, fault: failed, reason };
  }
}

/** Settles with the socket's connect or error; destroys it when the signal comes first. */
function openTcp(ip: Ip, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const socket = connectTcp({
      host: formatIp(ip),
      port,
      family: ip.family,
      autoSelectFamily: false,
      noDelay: true,
      keepAlive: true,
    });
    const done = (): void => {
      signal.removeEventListener("abort", abort);
      socket.removeListener("error", fail);
    };
    const fail = (error: Error): void => {
      done();
      socket.destroy();
      reject(error);
    };
    const abort = (): void => fail(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", fail);
    socket.once("connect", () => {
      done();
      resolve(socket);
    });
  });
}

/** What the kernel connected to is what was judged, and nobody wrote before us. */
function isTheChosen(socket: Socket, ip: Ip, port: number): boolean {
  const remote = parseIp(socket.remoteAddress ?? "");
  return (
    remote !== null &&
    remote.family === ip.family &&
    remote.bits === ip.bits &&
    socket.remotePort === port &&
    socket.bytesWritten === 0
  );
}

function connectFault(error: unknown, signal: AbortSignal, { policy, address }: Destination): Fault {
  const refused = !signal.aborted && ["ECONNREFUSED", "ECONNRESET", "EPIPE"].includes(codeOf(error));
  return fault(refused ? "ConnectRefused" : "ConnectTimeout", { endpoint: policy.endpoint, address });
}

/** The error's own code where it has a plain one: no library text leaves here. */
function codeOf(error: unknown): string {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  return typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code) ? code : "unknown";
}

/** In place of an address. */
const ALL = "";

/** SEC-40: a namespace's sockets, to one address and altogether. */
class SocketCaps {
  readonly #byKey = new Map<string, Slots>();
  readonly #listeners: ((namespace: string) => void)[] = [];
  #limits: SocketLimits;

  constructor(limits: SocketLimits) {
    this.#limits = limits;
  }
  limit(limits: SocketLimits): void {
    this.#limits = limits;
    for (const [key, slots] of this.#byKey) slots.resize(this.#most(key));
  }
  onCrowded(listener: (namespace: string) => void): void {
    this.#listeners.push(listener);
  }
  crowded(namespace: string): boolean {
    return [...this.#byKey].some(([key, slots]) => key.startsWith(`${namespace} `) && slots.waiting > 0);
  }
  async take(namespace: string, address: string, signal: AbortSignal): Promise<() => void> {
    const one = await this.#slot(namespace, address, signal);
    try {
      const all = await this.#slot(namespace, ALL, signal);
      return () => {
        one();
        all();
      };
    } catch (error) {
      one();
      throw error;
    }
  }
  #most(key: string): number {
    return key.endsWith(` ${ALL}`) ? this.#limits.perNamespace : this.#limits.perAddress;
  }
  async #slot(namespace: string, address: string, signal: AbortSignal): Promise<() => void> {
    const key = `${namespace} ${address}`;
    const slots = this.#byKey.get(key) ?? new Slots(this.#most(key), MOST_WAITING);
    this.#byKey.set(key, slots);
    const taking = slots.take(signal);
    if (slots.waiting > 0) for (const listener of this.#listeners) listener(namespace);
    const give = await taking;
    return () => {
      give();
      if (slots.held === 0 && slots.waiting === 0 && this.#byKey.get(key) === slots) this.#byKey.delete(key);
    };
  }
}
