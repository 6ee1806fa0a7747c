import { connect } from "node:net";
import { millisOf, type Millis, seconds } from "../../src/lib/time.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import type { Dial } from "../../src/infra/coord/etcd-gateway.ts";
import { type CoordDeps, openCoord } from "../../src/infra/coord/open-coord.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";

/** Sockets to loopback without a guard: what a guard does has its own tests. */
export const plainDial: Dial = (address) => {
  const [host = "", port = ""] = address.split(":");
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<Dial>>>();
  const socket = connect({ host, port: Number(port), noDelay: true });
  const failed = (): void =>
    resolve({ ok: false, fault: { code: "ConnectRefused", message: `${address} refused the connection` } as never });
  socket.once("error", failed);
  socket.once("connect", () => {
    socket.removeListener("error", failed);
    socket.on("error", () => undefined);
    resolve({ ok: true, socket });
  });
  return promise;
};

export interface CoordAsked extends Partial<Pick<CoordDeps, "credentials" | "dial" | "metrics" | "clock">> {
  readonly endpoints: readonly string[];
  readonly timeout?: Millis;
  readonly silence?: Millis;
  readonly retries?: number;
}

export const coordAt = ({
  endpoints,
  timeout = seconds(5),
  silence = millisOf(500),
  retries = 3,
  ...rest
}: CoordAsked): Coord =>
  openCoord({
    endpoints,
    timeout,
    silence,
    credentials: null,
    retry: { maxRetries: retries, initial: millisOf(100), factor: 2, max: seconds(1) },
    dial: plainDial,
    clock: systemClock,
    rng: systemRng,
    ...rest,
  });

/** `host:port` of each of the variable's addresses. */
export const addressesOf = (variable: string): readonly string[] => variable.split(",").map((url) => new URL(url).host);
