import { parseAddress, parseHost } from "../../lib/address.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Clock, Resolve } from "../../lib/seams.ts";
import type { Log } from "../clog/log.ts";
import type { TlsSettings } from "../config/endpoint-settings.ts";
import type { SecretReference } from "../config/setting-fields.ts";
import { type Connection, type Guard, openGuard } from "../egress/connect.ts";
import { configuredServerPolicy } from "../egress/policy.ts";
import { openSecrets, type Secrets } from "../egress/secrets.ts";
import type { TlsMaterial } from "../egress/tls.ts";
import type { Metrics } from "../metrics/metrics.ts";

export interface NetworkDeps {
  readonly resolve: Resolve;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folders under which secret files may lie. */
  readonly secretRoots: readonly string[];
  readonly metrics: Metrics;
  readonly log: Log;
}

/** The ways out of a process: one guard, one reader of secrets. */
export interface Network {
  /** The value now. @throws InfraError CONFIG, never showing it */
  secret(component: string, reference: SecretReference): Promise<string>;
  /** Null: in the clear. The identity is that of the address unless the settings name another. */
  tls(
    component: string,
    settings: TlsSettings,
    at: { readonly address: string; readonly alpn: readonly string[] },
  ): Promise<TlsMaterial | null>;
  /** A socket to a server that the settings name, and to no other port of it. */
  connect(component: string, to: Target, signal: AbortSignal): Promise<Connection>;
}
export interface Target {
  readonly address: string;
  readonly tls: TlsMaterial | null;
}

/** One process and its own stores: pools are bounded by their settings, the guard only ends what runs wild. */
const SOCKETS = { perAddress: 4096, perNamespace: 8192 } as const;
const UNNAMED = { kind: "name", text: "invalid" } as const;

export function openNetwork({ resolve, clock, env, secretRoots, metrics, log }: NetworkDeps): Network {
  const guard: Guard = openGuard({
    resolve,
    clock,
    sockets: SOCKETS,
    reserved: () => [],
    metrics,
    log: log.module("egress"),
  });
  const secrets = openSecrets({ env, roots: secretRoots, clock });
  const secret = (component: string, reference: SecretReference): Promise<string> =>
    valueOf(secrets, component, reference);
  return {
    secret,
    tls: async (component, settings, { address, alpn }) => {
      if (settings === "None") return null;
      const { ca, cert, key, serverName } = settings;
      const read = (part: SecretReference | undefined): Promise<string> | null =>
        part === undefined ? null : secret(component, part);
      const identity = parseHost(serverName ?? "") ?? parseAddress(address)?.host ?? UNNAMED;
      return { identity, ca: await read(ca), cert: await read(cert), key: await read(key), alpn };
    },
    connect: (component, { address, tls }, signal) => {
      const policy = configuredServerPolicy(component, parseAddress(address)?.port ?? 0);
      return guard.connect({ policy, namespace: "", address, tls }, signal);
    },
  };
}

async function valueOf(secrets: Secrets, component: string, reference: SecretReference): Promise<string> {
  const read = await secrets.read(reference);
  if (read.ok) return read.value;
  const what = "env" in reference ? reference.env : reference.file;
  throw new InfraError({
    component,
    type: "CONFIG",
    code: "SecretUnreadable",
    message: `${component}: the secret ${what} cannot be read (${read.reason}); correct the reference or set it`,
    retryable: false,
  });
}
