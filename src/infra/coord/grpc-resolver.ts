import { experimental, Metadata, status } from "@grpc/grpc-js";
import { parseAddress } from "../../lib/address.ts";
import type { Rng } from "../../lib/seams.ts";
import type { Coord, Instance } from "./coord.ts";

type Listener = experimental.ResolverListener;
type Target = experimental.GrpcUri;

/** Names of services for grpc-js: `SCHEME:///im-logic` is every instance that the registry shows, with round robin over them. */
export interface GrpcNames {
  /** What a client is given as its address. */
  target(service: string): string;
}

const ROUND_ROBIN = { loadBalancingConfig: [{ round_robin: {} }], methodConfig: [] };

/**
 * grpc-js keeps its resolvers in a table of the process, by scheme: each coord gets a scheme of its own, so that two in one process
 * do not answer for each other.
 */
export function openGrpcNames(coord: Coord, rng: Rng): GrpcNames {
  const scheme = `coord-${rng.id()}`;
  experimental.registerResolver(
    scheme,
    class extends RegistryResolver {
      constructor(target: Target, listener: Listener) {
        super(coord, target.path, listener);
      }
      static getDefaultAuthority(target: Target): string {
        return target.path;
      }
    },
  );
  return { target: (service) => `${scheme}:///${service}` };
}

class RegistryResolver implements experimental.Resolver {
  readonly #coord: Coord;
  readonly #service: string;
  readonly #listener: Listener;
  #following: AbortController | null = null;

  constructor(coord: Coord, service: string, listener: Listener) {
    this.#coord = coord;
    this.#service = service;
    this.#listener = listener;
  }

  updateResolution(): void {
    if (this.#following !== null) return;
    this.#following = new AbortController();
    void this.#follow(this.#following.signal);
  }

  destroy(): void {
    this.#following?.abort();
    this.#following = null;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      await using discovery = await this.#coord.discover(this.#service, signal);
      this.#tell(discovery.current());
      for await (const instances of discovery.changes(signal)) this.#tell(instances);
    } catch {
      if (signal.aborted) return;
      this.#following = null;
      this.#fail("the registry cannot be read");
    }
  }

  #tell(instances: readonly Instance[]): void {
    const endpoints = instances.flatMap(({ address }) => {
      const parsed = parseAddress(address);
      return parsed === null ? [] : [{ addresses: [{ host: parsed.host.text, port: parsed.port }] }];
    });
    if (endpoints.length === 0) this.#fail(`no instance of ${this.#service} is registered`);
    else this.#listener(experimental.statusOrFromValue(endpoints), {}, experimental.statusOrFromValue(ROUND_ROBIN), "");
  }

  #fail(details: string): void {
    const error = { code: status.UNAVAILABLE, details, metadata: new Metadata() };
    this.#listener(experimental.statusOrFromError(error), {}, null, details);
  }
}
