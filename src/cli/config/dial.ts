import { once } from "node:events";
import { connect } from "node:net";
import type { Connection } from "../../infra/egress/connect.ts";
import { secured } from "../../infra/egress/tls.ts";
import { parseAddress } from "../../lib/address.ts";
import { fault } from "../../lib/failures.ts";
import type { Access } from "./access.ts";

const ENDPOINT = "coord";

/** A socket to `host:port` with the rights of the person who asks: no guard stands between a terminal and its network. */
export async function dial(address: string, tls: Access["tls"], signal: AbortSignal): Promise<Connection> {
  const parsed = parseAddress(address);
  if (parsed === null) throw new Error(`${address} is no address`);
  const { host, port } = parsed;
  const socket = connect({ host: host.text, port, noDelay: true });
  const stop = (): void => void socket.destroy();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await once(socket, "connect", { signal });
  } catch {
    socket.destroy();
    return { ok: false, fault: fault("ConnectRefused", { endpoint: ENDPOINT, address }) };
  } finally {
    signal.removeEventListener("abort", stop);
  }
  socket.on("error", () => undefined);
  if (tls === null) return { ok: true, socket };
  try {
    return {
      ok: true,
      socket: await secured(socket, { identity: host, ca: tls.ca, cert: null, key: null, alpn: ["http/1.1"] }),
    };
  } catch (error) {
    socket.destroy();
    const reason = (error as NodeJS.ErrnoException).code ?? "refused";
    return { ok: false, fault: fault("TlsFailed", { endpoint: ENDPOINT, address, reason }), reason };
  }
}
