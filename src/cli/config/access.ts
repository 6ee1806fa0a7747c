import { X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { parseAddress } from "../../lib/address.ts";
import { type Millis, parseDuration } from "../../lib/time.ts";
import { CliFailure, EXIT } from "./failure.ts";

/** How the centre is reached, as the flags say. */
export interface Access {
  /** `host:port`, at least one. */
  readonly endpoints: readonly string[];
  /** Null: in the clear, as `http://` asked for. */
  readonly tls: { readonly ca: string | null } | null;
  readonly credentials: { readonly username: string; readonly password: string } | null;
  readonly timeout: Millis;
}

export interface AccessFlags {
  readonly endpoints?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly timeout: string;
}

const LARGEST_PASSWORD = 64 * 1024;
const usage = (message: string): CliFailure => new CliFailure(EXIT.usage, message);

export async function accessOf(flags: AccessFlags, env: Readonly<Record<string, string | undefined>>): Promise<Access> {
  const text = flags.endpoints ?? env["COORD_ENDPOINTS"] ?? "";
  if (text === "") {
    throw usage("no configuration centre is named; give --endpoints https://HOST:PORT,… or set COORD_ENDPOINTS");
  }
  const parts = text.split(",").map(endpointOf);
  const clear = parts.filter((part) => part.clear).length;
  if (clear > 0 && clear < parts.length) throw usage("--endpoints: either all with http:// or all with https://");
  if ((flags.username === undefined) !== (flags.passwordFile === undefined)) {
    throw usage("--username and --password-file go together");
  }
  if (clear > 0 && flags.caFile !== undefined) {
    throw usage("--ca-file is for https://, and --endpoints says http://; leave one of them out");
  }
  return {
    endpoints: parts.map(({ address }) => address),
    tls: clear > 0 ? null : { ca: flags.caFile === undefined ? null : await readAuthority(flags.caFile) },
    credentials:
      flags.username === undefined || flags.passwordFile === undefined
        ? null
        : { username: flags.username, password: (await readText(flags.passwordFile, "--password-file")).trim() },
    timeout: timeoutOf(flags.timeout),
  };
}

/** Junk would be taken for no authority at all, and only the handshake would fail. */
async function readAuthority(path: string): Promise<string> {
  const pem = await readText(path, "--ca-file");
  try {
    return new X509Certificate(pem).raw.length > 0 ? pem : "";
  } catch {
    throw usage(`--ca-file: ${path} holds no certificate (PEM: -----BEGIN CERTIFICATE-----)`);
  }
}

/** Without a scheme it is TLS: the clear is written down by whoever wants it. */
function endpointOf(text: string): { readonly address: string; readonly clear: boolean } {
  const [, scheme = "https", address = ""] = /^(?:(https?):\/\/)?([^/]+)\/?$/.exec(text.trim()) ?? [];
  if (parseAddress(address) === null) {
    throw usage(`--endpoints: ${JSON.stringify(text.slice(0, 80))} is not http://HOST:PORT or https://HOST:PORT`);
  }
  return { address, clear: scheme === "http" };
}

export function timeoutOf(text: string): Millis {
  const timeout = parseDuration(text);
  if (timeout === null || timeout < 100 || timeout > 600_000) {
    throw usage(`--timeout: ${JSON.stringify(text.slice(0, 40))} is not a duration such as 10s, from 100ms to 10m`);
  }
  return timeout;
}

async function readText(path: string, flag: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  if (found === null || !found.isFile()) throw usage(`${flag}: there is no file ${path}`);
  if (found.size > LARGEST_PASSWORD) throw usage(`${flag}: ${path} has more than 64 KiB`);
  return await readFile(path, "utf8");
}
