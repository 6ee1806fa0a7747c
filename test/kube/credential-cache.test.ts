import { expect, test } from "vitest";

import type { Credentials, KubeConnection } from "../../src/kube/connection.ts";
import { type CredentialCache, openCredentialCache } from "../../src/kube/credential-cache.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { ManualClock } from "../support/manual-clock.ts";

const NO_TLS = { ca: null, cert: null, key: null, servername: null };
const tokenOf = async (cache: CredentialCache): Promise<string | undefined> =>
  (await cache.current()).headers.authorization;

interface Rig {
  readonly clock: ManualClock;
  readonly cache: CredentialCache;
  /** Whether each read demanded that nothing remembered is used. */
  readonly reads: boolean[];
  /** What the file holds; null: it cannot be read. */
  token: string | null;
}

function open(): Rig {
  const clock = new ManualClock();
  const rig: { token: string | null; reads: boolean[] } = { token: "one", reads: [] };
  const connection: KubeConnection = {
    origin: "https://api",
    basePath: "",
    user: "test",
    async read(fresh): Promise<Credentials> {
      rig.reads.push(fresh);
      if (rig.token === null) throw new Error("ENOENT");
      return { headers: { authorization: rig.token }, tls: NO_TLS };
    },
  };
  return Object.assign(rig, { clock, cache: openCredentialCache(connection, clock) });
}

test("[SEC-29] a token is used for 60 s at most, then read again", async () => {
  const rig = open();
  expect(await tokenOf(rig.cache)).toBe("one");
  rig.token = "two";
  await rig.clock.advance(millisOf(59_999));
  expect(await tokenOf(rig.cache)).toBe("one");
  await rig.clock.advance(millisOf(1));
  expect(await tokenOf(rig.cache)).toBe("two");
  expect(rig.reads).toEqual([false, false]);
});

test("requests at one moment share one read", async () => {
  const rig = open();
  await Promise.all(Array.from({ length: 50 }, () => rig.cache.current()));
  expect(rig.reads).toHaveLength(1);
});

test("[kube-apiserver/denied] after a 401 the next request reads anew, at once, and nothing remembered is used", async () => {
  const rig = open();
  const used = await rig.cache.current();
  await rig.clock.advance(seconds(10));
  rig.token = "two";
  rig.cache.rejected(used);
  expect(await tokenOf(rig.cache)).toBe("two");
  expect(rig.reads).toEqual([false, true]);
});

test("while 401 goes on it is read once a second, however many requests are refused", async () => {
  const rig = open();
  for (let i = 0; i < 300; i += 1) {
    rig.cache.rejected(await rig.cache.current());
    await rig.clock.advance(millisOf(10));
  }
  expect(rig.reads).toHaveLength(3);
});

test("a 401 to credentials that were replaced meanwhile says nothing about the new ones", async () => {
  const rig = open();
  const old = await rig.cache.current();
  await rig.clock.advance(seconds(61));
  await rig.cache.current();
  rig.cache.rejected(old);
  await rig.clock.advance(seconds(2));
  await rig.cache.current();
  expect(rig.reads).toHaveLength(2);
});

test("a file that cannot be read leaves the last good token in use, and is tried again after a second", async () => {
  const rig = open();
  await rig.cache.current();
  rig.token = null;
  await rig.clock.advance(seconds(60));
  expect([await tokenOf(rig.cache), await tokenOf(rig.cache)]).toEqual(["one", "one"]);
  rig.token = "two";
  await rig.clock.advance(seconds(1));
  expect([await tokenOf(rig.cache), rig.reads.length]).toEqual(["two", 3]);
});

test("a plugin that hangs is waited for 10 s; then what is held is used, or the request is refused", async () => {
  const clock = new ManualClock();
  let hangs = true;
  const hanging: KubeConnection = {
    origin: "https://api",
    basePath: "",
    user: "test",
    read: () =>
      hangs ? new Promise(() => undefined) : Promise.resolve({ headers: { authorization: "one" }, tls: NO_TLS }),
  };
  const cache = openCredentialCache(hanging, clock);
  await Promise.all([
    expect(cache.current()).rejects.toMatchObject({ kind: "Refused", reason: "CredentialsUnreadable" }),
    clock.advance(seconds(10)),
  ]);
  hangs = false;
  expect([await tokenOf(cache), clock.sleeping]).toEqual(["one", 0]);
  hangs = true;
  await clock.advance(seconds(60));
  const used = tokenOf(cache);
  await clock.advance(seconds(10));
  expect(await used).toBe("one");
});

test("without any token nothing can be sent: refused, by its code, and tried again", async () => {
  const rig = open();
  rig.token = null;
  await expect(rig.cache.current()).rejects.toMatchObject({ kind: "Refused", reason: "CredentialsUnreadable" });
  rig.token = "one";
  expect(await tokenOf(rig.cache)).toBe("one");
});
