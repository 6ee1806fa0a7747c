import { createServer as createTlsServer } from "node:tls";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { secured } from "../../src/infra/egress/tls.ts";
import type { Dial } from "../../src/infra/coord/etcd-gateway.ts";
import { addressesOf, coordAt, plainDial } from "../support/coord-rig.ts";
import { openAuthority } from "../support/egress/certificate.ts";
import { openTcpProxy } from "../support/tcp-proxy.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
const [host = "", port = ""] = ADDRESS.split(":");
const NOBODY = "127.0.0.1:1";

let runs = 0;
const aKey = (): string => `/centre/${process.pid}/${(runs += 1)}`;

describe("[R125] the centre", () => {
  test("a list larger than a page is of one revision, whatever is written meanwhile", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const folder = `${aKey()}/`;
    const names = Array.from({ length: 100 }, (_, i) => `${folder}${String(i).padStart(3, "0")}`);
    await coord.centre.commit({ expect: {}, put: names.map((key) => ({ key, value: "1" })), delete: [] });
    const listing = coord.centre.list(folder);
    const meanwhile = names.slice(50).map((key) => coord.centre.put(key, "2"));
    const { items, revision } = await listing;
    await Promise.all(meanwhile);
    expect(items.map(({ key }) => key)).toEqual(names);
    expect(items.filter((item) => item.revision > revision)).toEqual([]);
  });

  test("a folder's end is not its neighbour's beginning", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const folder = aKey();
    for (const key of [`${folder}/a`, `${folder}0/b`, `${folder}.c/d`]) await coord.centre.put(key, "1");
    expect((await coord.centre.list(`${folder}/`)).items.map(({ key }) => key)).toEqual([`${folder}/a`]);
  });

  test("compare-and-set: fifty at once, one wins; the others are told what stands", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const key = aKey();
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => coord.centre.compareAndSet(key, 0, `v${i}`)));
    const won = all.flatMap((answer, i) => (answer.ok ? [i] : []));
    expect(won).toHaveLength(1);
    const told = all.flatMap((answer) => (answer.ok ? [] : [answer.found[key]?.value]));
    expect(new Set(told)).toEqual(new Set([`v${won[0] ?? ""}`]));
  });

  test("a key at an earlier revision; compacted away it says so", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const key = aKey();
    const first = await coord.centre.put(key, "1");
    const second = await coord.centre.put(key, "2");
    expect((await coord.centre.getAt(key, first))?.value).toBe("1");
    await fetch(`http://${ADDRESS}/v3/kv/compaction`, {
      method: "POST",
      body: JSON.stringify({ revision: String(second) }),
    });
    await expect(coord.centre.getAt(key, first)).rejects.toMatchObject({ code: "Compacted", type: "NOT_FOUND" });
  });

  test("bytes that are no UTF-8 are marked, never passed on as a value", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const key = aKey();
    const body = { key: Buffer.from(key).toString("base64"), value: Buffer.of(0xff, 0x61).toString("base64") };
    await fetch(`http://${ADDRESS}/v3/kv/put`, { method: "POST", body: JSON.stringify(body) });
    expect(await coord.centre.get(key)).toMatchObject({ damaged: true, value: "\uFFFDa" });
    await coord.centre.put(key, "\uFFFDa");
    expect(await coord.centre.get(key)).not.toHaveProperty("damaged");
  });

  test.each(["", "a", "/", "/a/", "//a", "/a//b", "/a\0b", `/${"a".repeat(1024)}`, "/\uD800"])(
    "[R103] %j is no key",
    async (key) => {
      await using coord = coordAt({ endpoints: [ADDRESS] });
      await expect(coord.centre.get(key)).rejects.toMatchObject({ code: "BadKey", type: "VALIDATION" });
    },
  );

  test("a value larger than etcd takes, and more operations than a transaction holds, are refused by name", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const key = aKey();
    await expect(coord.centre.put(key, "x".repeat(2_000_000))).rejects.toMatchObject({ code: "TooLarge" });
    const put = Array.from({ length: 129 }, (_, i) => ({ key: `${key}/${i}`, value: "" }));
    await expect(coord.centre.commit({ expect: {}, put, delete: [] })).rejects.toMatchObject({
      code: "TooManyOperations",
    });
    expect(await coord.centre.get(key)).toBeNull();
  });
});

describe("[R133] when etcd is not there", () => {
  test("[etcd/down] the next address answers", async () => {
    await using coord = coordAt({ endpoints: [NOBODY, ADDRESS] });
    const key = aKey();
    await coord.centre.put(key, "1");
    expect((await coord.centre.get(key))?.value).toBe("1");
  });

  test("[etcd/down] nobody answers: named, counted, retryable", async () => {
    const metrics = openMetrics();
    await using coord = coordAt({ endpoints: [NOBODY], metrics });
    await expect(coord.centre.get("/a")).rejects.toMatchObject({
      type: "CONNECTION",
      code: "ConnectFailed",
      retryable: true,
    });
    expect(await metrics.text()).toContain('infra_errors_total{component="coord",type="CONNECTION"} 1');
    expect(await coord.check(new AbortController().signal)).toMatchObject({ status: "unhealthy" });
  });

  test("[R135] asked for its health, it asks once: a probe does not wait for retries", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    proxy.refuse();
    await using coord = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`] });
    expect(await coord.check(new AbortController().signal)).toMatchObject({ status: "unhealthy" });
    expect(proxy.accepted).toBe(1);
  });

  test("[etcd/lost] a write whose answer is lost is not sent again, and says that it may have been done", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    await using coord = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`], timeout: millisOf(700) });
    await using direct = coordAt({ endpoints: [ADDRESS] });
    const key = aKey();
    await coord.centre.put(key, "1");
    proxy.swallow("toClient");
    await expect(coord.centre.put(key, "2")).rejects.toMatchObject({ code: "AnswerLost", retryable: false });
    proxy.clear();
    expect(await direct.centre.get(key)).toMatchObject({ value: "2", version: 2 });
  });

  test("[etcd/lost] a read whose answer is lost is asked again", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    await using coord = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`] });
    await using direct = coordAt({ endpoints: [ADDRESS] });
    const key = aKey();
    await direct.centre.put(key, "1");
    proxy.cutAfter(40, "toClient");
    const asked = coord.centre.get(key);
    await expect.poll(() => proxy.accepted, { interval: 5 }).toBeGreaterThan(1);
    proxy.clear();
    expect((await asked)?.value).toBe("1");
  });

  test("[etcd/silent] a call ends within its bound", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    await using coord = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`], timeout: millisOf(400) });
    proxy.hold("toServer", "toClient");
    await expect(coord.centre.get("/a")).rejects.toMatchObject({
      type: expect.stringMatching(/TIMEOUT|CONNECTION/) as string,
    });
  });

  test("closed, every call says so, and nothing of it is left open", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    const coord = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`] });
    const stop = new AbortController();
    const watching = (async (): Promise<void> => {
      for await (const set of coord.centre.watch("/nothing/", { signal: stop.signal })) expect(set).toBeDefined();
    })();
    await coord.centre.get("/a");
    stop.abort();
    await watching;
    await coord.close();
    await coord.close();
    await expect(coord.centre.get("/a")).rejects.toMatchObject({ code: "Closed" });
    await expect.poll(() => proxy.open).toBe(0);
  });
});

describe("log-in and TLS", () => {
  let own: Environment;
  let address: string;
  const admin = async (path: string, body: unknown, token = ""): Promise<Record<string, string>> => {
    const headers = token === "" ? {} : { authorization: token };
    const response = await fetch(`http://${address}/v3/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    return (await response.json()) as Record<string, string>;
  };
  const base64 = (text: string): string => Buffer.from(text).toString("base64");

  beforeAll(async () => {
    own = await openEnvironment({ with: ["etcd"], controlPlane: false, print: () => undefined });
    [address = ""] = addressesOf(own.env["COORD_ENDPOINTS"] ?? "");
    await admin("auth/user/add", { name: "root", password: "root-secret" });
    await admin("auth/user/grant", { user: "root", role: "root" });
    await admin("auth/user/add", { name: "reader", password: "reader-secret" });
    await admin("auth/role/add", { name: "reads" });
    const perm = { permType: "READ", key: base64("/config/"), range_end: base64("/config0") };
    await admin("auth/role/grant", { name: "reads", perm });
    await admin("auth/user/grant", { user: "reader", role: "reads" });
    await admin("auth/enable", {});
  });
  afterAll(() => own.close());
  const as = (username: string, password: string) => ({
    endpoints: [address],
    credentials: async () => ({ username, password }),
  });

  test("[etcd/denied] a wrong password is a fault of the settings, and says so", async () => {
    await using coord = coordAt(as("reader", "wrong"));
    const refused = { type: "CONFIG", code: "AuthRefused", retryable: false };
    await expect(coord.centre.get("/config/a")).rejects.toMatchObject(refused);
  });

  test("[etcd/denied] what the user may not do is named with the key; what it may, works", async () => {
    await using coord = coordAt(as("reader", "reader-secret"));
    expect(await coord.centre.get("/config/never-written")).toBeNull();
    const denied = coord.centre.put("/config/a", "1");
    await expect(denied).rejects.toMatchObject({ type: "CONFIG", code: "PermissionDenied" });
    await expect(coord.centre.get("/other/a")).rejects.toMatchObject({ code: "PermissionDenied" });
  });

  test("[etcd/denied] a watch that the user may not have waits and says why", async () => {
    await using coord = coordAt(as("reader", "reader-secret"));
    const stop = new AbortController();
    const causes: string[] = [];
    for await (const set of coord.centre.watch("/other/", {
      signal: stop.signal,
      onLink: (link) => {
        if (!link.up) causes.push(link.cause);
        stop.abort();
      },
    }))
      expect(set).toBeUndefined();
    expect(causes).toEqual([expect.stringContaining("the user may not do this")]);
  });

  test("[etcd/denied] a token that etcd forgot is asked for anew; a watch goes on without a gap", async () => {
    await using coord = coordAt(as("root", "root-secret"));
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async (): Promise<void> => {
      for await (const { changes } of coord.centre.watch("/config/", { signal: stop.signal }))
        for (const change of changes) seen.push(change.kind === "put" ? change.value : "-");
    })();
    await coord.centre.put("/config/a", "1");
    await expect.poll(() => seen).toEqual(["1"]);
    const server = own.server("etcd-centre");
    await server.stop("SIGTERM");
    await server.start();
    await expect
      .poll(
        () =>
          coord.centre.put("/config/a", "2").then(
            () => "done",
            (error: Error) => error.message,
          ),
        { timeout: 10_000 },
      )
      .toBe("done");
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe("2");
    stop.abort();
    await watching;
    expect(seen).toEqual(["1", "2"]);
  });

  test("[etcd/denied] a certificate that the CA did not sign is a fault of the settings; the right CA works", async () => {
    const [ours, theirs] = [openAuthority(), openAuthority("another")];
    const server = createTlsServer({ ...ours.issue({ ips: ["127.0.0.1"] }) }, (client) => {
      const etcd = connect({ host, port: Number(port) });
      client.pipe(etcd).pipe(client);
      for (const socket of [client, etcd]) socket.on("error", () => undefined);
      client.on("close", () => etcd.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const tlsDial =
      (ca: string): Dial =>
      async (to, signal) => {
        const opened = await plainDial(to, signal);
        if (!opened.ok) return opened;
        const identity = { kind: "ip", text: "127.0.0.1" } as never;
        try {
          return { ok: true, socket: await secured(opened.socket, { identity, ca, cert: null, key: null, alpn: [] }) };
        } catch {
          return { ok: false, fault: { code: "TlsFailed", message: "" } as never };
        }
      };
    const endpoints = [`127.0.0.1:${(server.address() as AddressInfo).port}`];
    {
      await using wrong = coordAt({ endpoints, dial: tlsDial(theirs.cert), timeout: seconds(2) });
      await expect(wrong.centre.get("/a")).rejects.toMatchObject({ type: "CONFIG", code: "TlsFailed" });
      await using right = coordAt({ endpoints, dial: tlsDial(ours.cert) });
      expect(await right.centre.get(aKey())).toBeNull();
    }
    await new Promise((resolve) => server.close(resolve));
  });
});
