import { parseAddress } from "../../lib/address.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import type { Log } from "../clog/log.ts";
import type { SettingsOf } from "../config/components.ts";
import type { Coord } from "../coord/coord.ts";
import { openCoord } from "../coord/open-coord.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracer } from "../metrics/tracer.ts";
import type { Network } from "./kit-network.ts";
import { limitsOf } from "./live-coord.ts";

export interface CoordDeps {
  readonly network: Network;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Left out: this process makes no traces. */
  readonly tracer?: Tracer;
}

/** etcd as the settings of the files say it, at the addresses of COORD_ENDPOINTS where that is set. Connects when first asked. */
export function coordOf(settings: SettingsOf<"coord">, named: string, deps: CoordDeps): Coord {
  const { network, clock, rng, log, metrics, tracer } = deps;
  const { username, password } = settings;
  if (settings.enableTracing && tracer === undefined)
    log.warn({ component: "coord" }, "enableTracing has no effect: this process makes no traces");
  const { addresses, clear } = named === "" ? { addresses: settings.endpoints, clear: false } : addressesOf(named);
  return openCoord({
    endpoints: addresses,
    ...limitsOf(settings),
    credentials:
      username === undefined || password === undefined
        ? null
        : async () => ({ username, password: await network.secret("coord", password) }),
    dial: async (address, signal) => {
      const tls = clear ? null : await network.tls("coord", settings.tls, { address, alpn: ["http/1.1"] });
      return network.connect("coord", { address, tls }, signal);
    },
    clock,
    rng,
    ...(settings.enableMetrics ? { metrics } : {}),
    ...(settings.enableTracing && tracer !== undefined ? { tracer } : {}),
    log: log.module("coord"),
  });
}

/** `http://host:port,…` in the clear, else as the settings' `tls` says. @throws InfraError CONFIG */
function addressesOf(text: string): { readonly addresses: readonly string[]; readonly clear: boolean } {
  const parts = text.split(",").map((part) => /^(?:(https?):\/\/)?([^/]+)\/?$/.exec(part.trim()));
  const addresses = parts.map((part) => part?.[2] ?? "");
  const clear = parts.filter((part) => part?.[1] === "http").length;
  if (addresses.every((address) => parseAddress(address) !== null) && (clear === 0 || clear === parts.length))
    return { addresses, clear: clear > 0 };
  const message = `COORD_ENDPOINTS: ${JSON.stringify(text.slice(0, 80))} is not http://HOST:PORT,… or https://HOST:PORT,…`;
  throw new InfraError({ component: "coord", type: "CONFIG", code: "BadEndpoints", message, retryable: false });
}
