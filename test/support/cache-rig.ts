import { connect } from "node:net";
import type { Cache } from "../../src/infra/cache/cache.ts";
import { type CacheDeps, openCache } from "../../src/infra/cache/open-cache.ts";
import type { Dial } from "../../src/infra/cache/redis-login.ts";
import { type CacheSettings, cacheSettings } from "../../src/infra/config/cache-settings.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** Sockets without a guard: what a guard does has its own tests. */
export const dialTo =
  ({ host, port }: { readonly host: string; readonly port: number }): Dial =>
  () => {
    const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<Dial>>>();
    const socket = connect({ host, port, noDelay: true });
    const failed = (): void =>
      resolve({ ok: false, fault: { code: "ConnectRefused", message: "refused the connection" } as never });
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.removeListener("error", failed);
      socket.on("error", () => undefined);
      resolve({ ok: true, socket });
    });
    return promise;
  };

/** As a configuration file would say it. */
export const cacheSettingsOf = (raw: Readonly<Record<string, unknown>>): CacheSettings =>
  cacheSettings.parse({ minIdleConns: 0, ...raw });

export interface CacheRig extends AsyncDisposable {
  readonly proxy: TcpProxy;
  readonly cache: Cache;
}
export interface CacheAsked {
  readonly address: string;
  readonly password: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly deps?: Partial<CacheDeps>;
}

/** A cache before a real Redis, with a line between them that can be spoilt and whose connections can be counted. */
export async function openCacheRig({ address, password, settings = {}, deps = {} }: CacheAsked): Promise<CacheRig> {
  const [host = "", port = ""] = address.split(":");
  const proxy = await openTcpProxy({ host, port: Number(port) });
  const cache = openCache(cacheSettingsOf(settings), {
    dial: dialTo(proxy),
    credentials: async () => ({ username: null, password }),
    clock: systemClock,
    rng: systemRng,
    ...deps,
  });
  return {
    proxy,
    cache,
    [Symbol.asyncDispose]: async () => {
      await cache.close();
      await proxy[Symbol.asyncDispose]();
    },
  };
}
