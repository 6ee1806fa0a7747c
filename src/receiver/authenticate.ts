import type { IncomingMessage } from "node:http";
import { isIPv4 } from "node:net";

/**
 * Whether this caller may switch tenants and ask about them. Called before anything else is looked at, the body above all;
 * it must not read the body. Throws where it cannot know: then the caller is told to come back, and nothing happens.
 */
export type Authenticate = (request: IncomingMessage) => boolean | Promise<boolean>;

/** For trials: only callers on this machine can reach such a socket at all (SEC-30). */
export const onLoopbackOnly: Authenticate = ({ socket }) => isLoopback(socket.localAddress ?? "");

function isLoopback(address: string): boolean {
  const plain = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
  return plain === "::1" || (isIPv4(plain) && plain.startsWith("127."));
}
