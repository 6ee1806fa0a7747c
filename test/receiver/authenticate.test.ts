import { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { instantOf, type Instant } from "../../src/lib/time.ts";
import { onLoopbackOnly } from "../../src/receiver/authenticate.ts";
import { mtlsIdentity } from "../../src/receiver/mtls-identity.ts";
import { ManualClock } from "../support/manual-clock.ts";

const requestOver = (socket: object): IncomingMessage => ({ socket }) as IncomingMessage;

describe("[SEC-30] without authentication", () => {
  test.each([
    ["127.0.0.1", true],
    ["127.8.9.10", true],
    ["::1", true],
    ["::ffff:127.0.0.1", true],
    ["10.0.3.7", false],
    ["0.0.0.0", false],
    ["::", false],
    ["::ffff:10.0.3.7", false],
    ["fe80::1", false],
    ["127.evil.example", false],
    [undefined, false],
  ])("a socket at %s may speak: %s", async (localAddress, may) => {
    expect(await onLoopbackOnly(requestOver({ localAddress }))).toBe(may);
  });
});

/**
 * URI:spiffe://cluster.local/ns/turnout-system/sa/turnout, DNS:turnout.turnout-system.svc, DNS:*.wild.example; common name
 * `turnout`; valid from 2026-11-21 to 2126-10-28. Its key was thrown away.
 */
const CERTIFICATE = new X509Certificate(`-----BEGIN CERTIFICATE-----
MIIB6jCCAY+gAwIBAgIUBn7Pv+nbkM2kzBOzaNfhQ/W+NwowCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHdHVybm91dDAgFw0yNjExMjExMTIxMzZaGA8yMTI2MTAyODEx
MjEzNlowEjEQMA4GA1UEAwwHdHVybm91dDBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABFbW1SwzXiUWraCViUd0uVxYwJO7M/EkzJm69a5yRqX04G3b7zc0HrF7xDKJ
G0roRRNV1mNbYF9wZyaruQ5u+CyjgcAwgb0wHQYDVR0OBBYEFO10MclMAvZmMqGd
98UigIEpT3b+MB8GA1UdIwQYMBaAFO10MclMAvZmMqGd98UigIEpT3b+MA8GA1Ud
EwEB/wQFMAMBAf8wagYDVR0RBGMwYYYzc3BpZmZlOi8vY2x1c3Rlci5sb2NhbC9u
cy90dXJub3V0LXN5c3RlbS9zYS90dXJub3V0ghp0dXJub3V0LnR1cm5vdXQtc3lz
dGVtLnN2Y4IOKi53aWxkLmV4YW1wbGUwCgYIKoZIzj0EAwIDSQAwRgIhALInOEEZ
As9cVdx9azGtSVDvuCct/6YSmurjrYuyfjomAiEArkIu5tKtDnXkdbhqMhc35nZm
Lt38WuSAL9G7M/rhcTA=
-----END CERTIFICATE-----`);

const during = instantOf(Date.UTC(2030, 0, 1));

describe("[SEC-30] a client certificate", () => {
  const admits = async (names: readonly string[], socket: object = {}, now: Instant = during) =>
    mtlsIdentity(
      names,
      new ManualClock(now),
    )(requestOver({ authorized: true, getPeerX509Certificate: () => CERTIFICATE, ...socket }));

  test.each([
    ["its URI", "spiffe://cluster.local/ns/turnout-system/sa/turnout", true],
    ["its DNS name", "turnout.turnout-system.svc", true],
    ["the beginning of its URI", "spiffe://cluster.local/ns/turnout-system", false],
    ["its common name", "turnout", false],
    ["a name under its wildcard", "a.wild.example", false],
    ["the URI without its scheme", "cluster.local/ns/turnout-system/sa/turnout", false],
    ["nothing", "", false],
  ])("is known by %s: %s, %s", async (_what, name, may) => {
    expect(await admits([name])).toBe(may);
  });

  test("is known by any of several names", async () => {
    expect(await admits(["other.svc", "turnout.turnout-system.svc"])).toBe(true);
  });

  const known = ["turnout.turnout-system.svc"];
  test.each([
    ["that the server did not verify", { authorized: false }],
    ["over a socket without TLS", { authorized: undefined }],
    ["that is none", { getPeerX509Certificate: () => undefined }],
  ])("%s is refused", async (_what, socket) => {
    expect(await admits(known, socket)).toBe(false);
  });

  test("is refused once it has expired, also on a connection that is older, and before it is valid", async () => {
    expect(await admits(known, {}, instantOf(Date.UTC(2127, 0, 1)))).toBe(false);
    expect(await admits(known, {}, instantOf(Date.UTC(2026, 0, 1)))).toBe(false);
  });
});
