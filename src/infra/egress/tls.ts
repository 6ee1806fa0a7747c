import type { Socket } from "node:net";
import { checkServerIdentity, connect, type TLSSocket } from "node:tls";
import type { Host } from "../../lib/address.ts";

/** What a TLS connection proves to whom. */
export interface TlsMaterial {
  /** Name or IP that the certificate must carry: the configured one, never what DNS answered. */
  readonly identity: Host;
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** Offered protocols; the peer chooses one of them or none. */
  readonly alpn: readonly string[];
}

/**
 * TLS over a connected socket. Chain and name are always verified; there is no switch. No session is kept, so none is resumed
 * under another policy (SEC-27). Rejects with the library's error; its code says why.
 */
export function secured(socket: Socket, { identity, ca, cert, key, alpn }: TlsMaterial): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secure = connect({
      socket,
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      // A literal has no server name to indicate (RFC 6066).
      ...(identity.kind === "name" ? { servername: identity.text } : { host: identity.text }),
      checkServerIdentity: (_asked, certificate) => checkServerIdentity(identity.text, certificate),
      ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
      ...(ca === null ? {} : { ca }),
      ...(cert === null || key === null ? {} : { cert, key }),
    });
    const fail = (error: Error): void => {
      secure.destroy();
      reject(error);
    };
    const closed = (): void => fail(Object.assign(new Error("closed"), { code: "ECONNRESET" }));
    secure.on("error", () => undefined);
    secure.once("error", fail);
    secure.once("close", closed);
    secure.once("secureConnect", () => {
      secure.removeListener("error", fail);
      secure.removeListener("close", closed);
      if (secure.authorized) resolve(secure);
      else fail(Object.assign(new Error("unauthorised"), { code: "ERR_TLS_UNAUTHORIZED" }));
    });
  });
}
