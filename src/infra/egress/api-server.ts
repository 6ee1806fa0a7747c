import type { buildConnector } from "undici";
import { formatAddress, parseHost } from "../../lib/address.ts";
import type { Guard } from "./connect.ts";
import { configuredServerPolicy } from "./policy.ts";

/** What a connection to the API server proves to whom; null: the host's own name, Node's authorities, no client certificate. */
export interface ApiServerTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly servername: string | null;
}

/**
 * Sockets to the API server from the one socket factory (SEC-18): its own policy, its own port, no other place. Says so by an error where
 * the guard refuses; nothing was sent then.
 */
export function apiServerConnector(guard: Guard, origin: string): (tls: ApiServerTls) => buildConnector.connector {
  const url = new URL(origin);
  const port = Number(url.port === "" ? (url.protocol === "https:" ? 443 : 80) : url.port);
  const policy = configuredServerPolicy("kubernetes", port);
  const host = parseHost(url.hostname.replace(/^\[|\]$/g, ""));
  if (host === null)
    throw new Error(`the API server's host ${url.hostname} is not a name or an address in its usual form`);
  return ({ ca, cert, key, servername }) => {
    const identity = servername === null ? host : (parseHost(servername) ?? host);
    const tls = url.protocol === "https:" ? { identity, ca, cert, key, alpn: ["http/1.1"] } : null;
    const to = { policy, namespace: "", address: formatAddress({ host, port }), tls };
    const dial = async (callback: buildConnector.Callback): Promise<void> => {
      const opened = await guard.connect(to, new AbortController().signal);
      if (opened.ok) callback(null, opened.socket);
      else
        callback(
          Object.assign(new Error(opened.fault.message), { code: CODES[opened.fault.code] ?? "ECONNREFUSED" }),
          null,
        );
    };
    return (_options, callback) => void dial(callback);
  };
}

/** As Node would have said it: whoever classifies errno need not know the guard. */
const CODES: Readonly<Record<string, string>> = {
  ConnectRefused: "ECONNREFUSED",
  DnsFailed: "ENOTFOUND",
  ConnectTimeout: "UND_ERR_CONNECT_TIMEOUT",
  TlsFailed: "ERR_TLS_CERT_ALTNAME_INVALID",
};
