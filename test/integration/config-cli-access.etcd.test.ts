import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import { runConfigCli } from "../../src/cli/config/program.ts";
import { realSeams } from "../../src/cli/config/real-seams.ts";
import { aFolder } from "../support/config-rig.ts";
import { addressesOf } from "../support/coord-rig.ts";
import { openAuthority } from "../support/egress/certificate.ts";

let etcd: Environment;
let address = "";
let folder: Awaited<ReturnType<typeof aFolder>>;
beforeAll(async () => {
  folder = await aFolder();
  await folder.put("password", "reader-secret\n");
  etcd = await openEnvironment({ with: ["etcd"], controlPlane: false, print: () => undefined });
  [address = ""] = addressesOf(etcd.env["COORD_ENDPOINTS"] ?? "");
});
afterAll(async () => {
  await etcd.close();
  await folder[Symbol.asyncDispose]();
});

const seams = realSeams();
/** The command line as a process has it, with its words instead of a terminal. */
async function list(...args: readonly string[]): Promise<{ readonly code: number; readonly talk: string }> {
  const talk: string[] = [];
  const ask = { ...seams, env: {}, out: () => undefined, talk: (text: string) => void talk.push(text) };
  return { code: await runConfigCli([...args, "--timeout", "1s", "list"], ask), talk: talk.join("") };
}

/** Listens until the test ends. */
async function listening(server: Server): Promise<AsyncDisposable & { readonly at: string }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    at: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

describe("a centre that cannot be reached is told with the cause and the flag that mends it", () => {
  test("an address without a scheme means https; an etcd in the clear speaks none", async () => {
    const says = "it speaks no TLS, or breaks it off; no scheme means https, for the clear write http://HOST:PORT";
    for (const endpoint of [address, `https://${address}`]) {
      expect(await list("--endpoints", endpoint)).toEqual({ code: 3, talk: `${address}: ${says}\n` });
    }
  });

  test("another authority, another name, a certificate that has expired", async () => {
    const ours = openAuthority("ours");
    const [ca, other] = [
      await folder.put("ca.pem", ours.cert),
      await folder.put("other.pem", openAuthority("other").cert),
    ];
    const rows = [
      [{ ips: ["127.0.0.1"] }, other, "is of no authority that is trusted here; name the right one with --ca-file"],
      [{ names: ["elsewhere"] }, ca, "is for another name; write one that it carries in --endpoints"],
      [{ ips: ["127.0.0.1"], until: new Date(0) }, ca, "has expired or is not valid yet"],
    ] as const;
    for (const [about, trusted, says] of rows) {
      const { cert, key } = ours.issue(about);
      await using server = await listening(createTlsServer({ cert, key }));
      const { code, talk } = await list("--endpoints", `https://${server.at}`, "--ca-file", trusted);
      expect([code, talk]).toEqual([3, expect.stringContaining(`its certificate ${says}`) as string]);
    }
  });

  test("a CA file that holds none is refused before anything is asked", async () => {
    const junk = await folder.put("junk.pem", "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n");
    expect(await list("--endpoints", `https://${address}`, "--ca-file", junk)).toEqual({
      code: 2,
      talk: `--ca-file: ${junk} holds no certificate (PEM: -----BEGIN CERTIFICATE-----)\n`,
    });
  });

  test("who takes the connection and never answers is no wrong address", async () => {
    const open = new Set<{ destroy(): void }>();
    await using server = await listening(createServer((socket) => void open.add(socket)));
    const { code, talk } = await list("--endpoints", `http://${server.at}`);
    for (const socket of open) socket.destroy();
    expect([code, talk]).toEqual([
      5,
      `coord: ${server.at}: connected, but no answer comes; see whether etcd is stuck or overloaded\n`,
    ]);
  });

  test("a user where etcd asks for none, none where it asks for one, and a wrong password", async () => {
    const at = ["--endpoints", `http://${address}`];
    const user = [...at, "--username", "root", "--password-file", join(folder.path, "password")];
    expect(await list(...user)).toEqual({
      code: 3,
      talk: `etcd: it asks for no user, authentication is off; leave --username and --password-file out\n`,
    });
    const admin = async (path: string, body: object): Promise<void> => {
      const answer = await fetch(`http://${address}/v3/auth/${path}`, { method: "POST", body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    };
    await admin("user/add", { name: "root", password: "another-secret" });
    await admin("user/grant", { user: "root", role: "root" });
    await admin("enable", {});
    expect(await list(...at)).toEqual({
      code: 3,
      talk: "etcd: it asks for a user; give --username and --password-file\n",
    });
    expect(await list(...user)).toMatchObject({
      code: 3,
      talk: expect.stringContaining("user name or password is wrong; correct --username and --password-file") as string,
    });
  });
});
