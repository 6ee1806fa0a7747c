import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock } from "../lib/seams.ts";
import type { Authenticate } from "./authenticate.ts";

/**
 * Takes callers whose client certificate was verified by the server (`requestCert: true`, `rejectUnauthorized: true`, `ca` of
 * the callers) and names one of `names` exactly: a URI such as `spiffe://…` as a URI name, anything else as a DNS name. The
 * subject's common name and wildcards count for nothing. Validity is looked at with every request: a connection may outlive
 * its certificate.
 */
export function mtlsIdentity(names: readonly string[], clock: Clock): Authenticate {
  const accepted = new Set(names.map((name) => (name.includes("://") ? `URI:${name}` : `DNS:${name}`)));
  return ({ socket }) => {
    const certificate = verifiedCertificate(socket);
    if (certificate === null) return false;
    const now = clock.now();
    if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo)) return false;
    // Node puts names with a comma or a quote in quotes, so that none can pass for two.
    return (certificate.subjectAltName ?? "").split(", ").some((name) => accepted.has(name));
  };
}

function verifiedCertificate(socket: Socket): X509Certificate | null {
  if (!("authorized" in socket) || socket.authorized !== true) return null;
  if (!("getPeerX509Certificate" in socket) || typeof socket.getPeerX509Certificate !== "function") return null;
  const certificate: unknown = socket.getPeerX509Certificate();
  return certificate instanceof X509Certificate ? certificate : null;
}
