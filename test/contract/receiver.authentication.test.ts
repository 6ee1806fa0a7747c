import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request as httpRequest } from "node:http";
import { createServer as createTlsServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { bearerFromFile } from "../../src/receiver/bearer-from-file.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import { mtlsIdentity } from "../../src/receiver/mtls-identity.ts";
import { createReceiver } from "../../src/receiver/receiver.ts";
import { type Authority, type Identity, openAuthority } from "../support/egress/certificate.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { conform, freshRun, trialFolder } from "../support/receiver-target.ts";
import { sendTo } from "../../src/cli/conformance-send.ts";
import { wallClock } from "../support/wall-clock.ts";

const OLD = "old0123456789abcdef0123456789abcdef";
const NEW = "new0123456789abcdef0123456789abcdef";

const asking = (...authorization: readonly string[]): IncomingMessage =>
  ({ headersDistinct: authorization.length === 0 ? {} : { authorization } }) as unknown as IncomingMessage;

async function tokenFile(text: string) {
  const folder = await trialFolder();
  const path = join(folder.path, "tokens");
  const write = (next: string): Promise<void> => writeFile(path, next);
  await write(text);
  return { path, write, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe("[SEC-30] [SEC-60] a bearer token from a file", () => {
  test.each([
    ["the token", [`Bearer ${OLD}`], true],
    ["the token under another spelling of the scheme", [`bearer  ${OLD}`], true],
    ["no header", [], false],
    ["another token", [`Bearer ${NEW}`], false],
    ["the beginning of it", [`Bearer ${OLD.slice(0, -1)}`], false],
    ["more than it", [`Bearer ${OLD}0`], false],
    ["nothing", ["Bearer "], false],
    ["another scheme", [`Basic ${OLD}`], false],
    ["the token behind another word", [`x Bearer ${OLD}`], false],
    ["two headers, one of them right", [`Bearer ${OLD}`, `Bearer ${NEW}`], false],
  ])("%s: %o is %s", async (_what, headers, may) => {
    await using file = await tokenFile(`${OLD}\n`);
    const authenticate = await bearerFromFile(file.path, new ManualClock());
    expect(await authenticate(asking(...headers))).toBe(may);
  });

  test("[SEC-29] is read again within 60 s: the new one passes, the old one does not", async () => {
    await using file = await tokenFile(OLD);
    const clock = new ManualClock();
    const authenticate = await bearerFromFile(file.path, clock);
    await file.write(NEW);
    await clock.advance(seconds(60));
    expect(await authenticate(asking(`Bearer ${NEW}`))).toBe(true);
    expect(await authenticate(asking(`Bearer ${OLD}`))).toBe(false);
  });

  test("during a rotation both stand in the file, and both pass", async () => {
    await using file = await tokenFile(`  ${OLD}\r\n\n${NEW}\n`);
    const authenticate = await bearerFromFile(file.path, new ManualClock());
    for (const token of [OLD, NEW]) expect(await authenticate(asking(`Bearer ${token}`))).toBe(true);
  });

  test("a file that has gone admits nobody, and is looked for until it is back", async () => {
    await using file = await tokenFile(OLD);
    const clock = new ManualClock();
    const authenticate = await bearerFromFile(file.path, clock);
    await rm(file.path);
    await clock.advance(seconds(60));
    await expect(authenticate(asking(`Bearer ${OLD}`))).rejects.toThrow(/ENOENT/);
    await file.write(OLD);
    expect(await authenticate(asking(`Bearer ${OLD}`))).toBe(true);
  });

  test.each([
    ["nothing", "", /holds 0 tokens/],
    ["five tokens", Array.from({ length: 5 }, (_, i) => OLD + String(i)).join("\n"), /holds 5 tokens/],
    ["31 hex digits", "0123456789abcdef0123456789abcde", /less than 128 bits/],
    ["21 characters", "abcdefghijklmnopqrstu", /less than 128 bits/],
    ["38 decimal digits", "1".repeat(38), /less than 128 bits/],
    ["more than 64 KiB", "x".repeat(65_537), /64 KiB/],
  ])("a file with %s is refused when the service starts", async (_what, text, message) => {
    await using file = await tokenFile(text);
    await expect(bearerFromFile(file.path, new ManualClock())).rejects.toThrow(message);
  });

  test.each([
    ["hex", "0123456789abcdef0123456789abcdef"],
    ["base64", "abcdefghijklmnopqrstuv"],
    ["decimal", "1".repeat(39)],
  ])("128 bits of %s are enough", async (_what, text) => {
    await using file = await tokenFile(text);
    const authenticate = await bearerFromFile(file.path, new ManualClock());
    expect(await authenticate(asking(`Bearer ${text}`))).toBe(true);
  });

  test("what is no regular file is refused, and does not hold the process", async () => {
    await using folder = await trialFolder();
    const directory = join(folder.path, "directory");
    const pipe = join(folder.path, "pipe");
    await mkdir(directory);
    execFileSync("mkfifo", [pipe]);
    await expect(bearerFromFile(directory, new ManualClock())).rejects.toThrow(/no regular file/);
    await expect(bearerFromFile(pipe, new ManualClock())).rejects.toThrow(/no regular file/);
    await expect(bearerFromFile(join(folder.path, "nowhere"), new ManualClock())).rejects.toThrow(/ENOENT/);
  });
});

describe("[SEC-30] mutual TLS", () => {
  async function statusFor(client: Identity | null, authority: Authority): Promise<number | string> {
    const { cert, key } = authority.issue({ ips: ["127.0.0.1"] });
    const receiver = createReceiver({
      store: openMemoryStore(),
      forgetsFences: true,
      clock: wallClock,
      authenticate: mtlsIdentity(["operator.turnout-system.svc"], wallClock),
      apply: async () => undefined,
    });
    // Left to the receiver on purpose: a server that forgets rejectUnauthorized lets nobody in either.
    const server = createTlsServer(
      { cert, key, ca: authority.cert, requestCert: true, rejectUnauthorized: false },
      receiver,
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const options = {
        host: "127.0.0.1",
        port,
        path: "/turnout/v1/tenants/prod/acme",
        ca: authority.cert,
        agent: false,
      };
      const outgoing = request({ ...options, ...client }).end();
      const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
      incoming.resume();
      return incoming.statusCode ?? 0;
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  const authority = openAuthority();
  const known = { names: ["operator.turnout-system.svc"] };
  test.each([
    ["the operator's certificate", () => authority.issue(known), 404],
    ["no certificate", () => null, 401],
    ["another service's certificate", () => authority.issue({ names: ["other.turnout-system.svc"] }), 401],
    ["an expired one", () => authority.issue({ ...known, until: new Date(Date.now() - 1000) }), 401],
    ["the same name from another authority", () => openAuthority("elsewhere").issue(known), 401],
  ])("%s", async (_what, client, status) => {
    expect(await statusFor(client(), authority)).toBe(status);
  });
});

test("[SEC-30] without authentication, the other rules hold on loopback", async () => {
  const receiver = createReceiver({
    store: openMemoryStore(),
    forgetsFences: true,
    clock: wallClock,
    allowUnauthenticated: true,
    apply: async () => undefined,
  });
  const server = createServer(receiver);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const target = {
    ...freshRun(),
    authenticates: false,
    send: (request: Parameters<typeof sendTo>[1]) => sendTo({ origin, token: null }, request),
  };
  const results = await conform(target);
  expect(results.filter(({ outcome }) => outcome === "failed")).toEqual([]);
  expect(results.filter(({ outcome }) => outcome === "notTried").map(({ id }) => id)).toEqual([
    "restart-fence",
    "restart-in-force",
    "restart-new-claim",
    "failed-fence",
    "failed-again",
    "failed-between",
    "nobody",
    "wrong-credential",
    "before-the-body",
  ]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test("[SEC-30] without authentication, a socket that is not a loopback address answers nobody", async () => {
  await using folder = await trialFolder();
  const receiver = createReceiver({
    store: openMemoryStore(),
    forgetsFences: true,
    clock: wallClock,
    allowUnauthenticated: true,
    apply: async () => undefined,
  });
  const socketPath = join(folder.path, "socket");
  const server = createServer(receiver);
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const outgoing = httpRequest({ socketPath, path: "/turnout/v1/tenants/prod/acme", agent: false }).end();
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  incoming.resume();
  expect(incoming.statusCode).toBe(401);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
