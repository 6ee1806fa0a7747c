import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { coordAt } from "../support/coord-rig.ts";

// What stands where etcd should stand, and answers what etcd would not.

type Answer = (response: ServerResponse) => void;
const NEVER = new AbortController().signal;

const json =
  (body: unknown, status = 200): Answer =>
  (response) =>
    void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
const raw =
  (body: string | Buffer, status = 200): Answer =>
  (response) =>
    void response.writeHead(status).end(body);
const refused = (code: number, message: string): Answer =>
  json({ code, message, details: [] }, code === 14 ? 503 : 400);

interface Impostor extends AsyncDisposable {
  readonly address: string;
  readonly asked: readonly string[];
}

/** Answers one after the other; the last one for ever. */
async function openImpostor(...answers: readonly Answer[]): Promise<Impostor> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    request.resume();
    asked.push(request.url ?? "");
    answers[Math.min(asked.length, answers.length) - 1]?.(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const FOUND = json({
  header: { revision: "5" },
  kvs: [{ key: "L2E=", value: "MQ==", mod_revision: "4", version: "1" }],
});

describe("[etcd/busy] no leader", () => {
  test("a read is asked again until there is one", async () => {
    await using etcd = await openImpostor(refused(14, "etcdserver: no leader"), FOUND);
    await using coord = coordAt({ endpoints: [etcd.address] });
    expect(await coord.centre.get("/a")).toMatchObject({ value: "1", revision: 4 });
    expect(etcd.asked).toHaveLength(2);
  });

  test("a write that etcd did not take is sent again", async () => {
    await using etcd = await openImpostor(refused(14, "etcdserver: no leader"), json({ header: { revision: "7" } }));
    await using coord = coordAt({ endpoints: [etcd.address] });
    expect(await coord.centre.put("/a", "1")).toBe(7);
  });

  test.each([
    "etcdserver: request timed out, possibly due to previous leader failure",
    "etcdserver: request timed out",
  ])("[S26] a write of which etcd says %j may have been done, and is not sent again", async (message) => {
    await using etcd = await openImpostor(refused(14, message));
    await using coord = coordAt({ endpoints: [etcd.address] });
    await expect(coord.centre.put("/a", "1")).rejects.toMatchObject({ code: "AnswerLost", retryable: false });
    expect(etcd.asked).toHaveLength(1);
  });
});

describe("[etcd/hostile] an answer that is none of etcd's is an error, whatever it is", () => {
  test.each<readonly [what: string, answer: Answer]>([
    ["a page of HTML", raw("<html>")],
    ["a redirect", (response) => void response.writeHead(307, { location: "http://127.0.0.1:1/" }).end()],
    ["nothing", raw("")],
    ["a revision that no number holds", json({ header: { revision: "99999999999999999999" }, kvs: [] })],
    ["__proto__ as a key", raw('{"header":{"revision":"1"},"__proto__":{"kvs":[]}}')],
    ["nesting without end", raw(`{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`)],
    ["more than 64 MiB", raw(Buffer.alloc(65 * 1024 * 1024, " "))],
  ])("%s", async (_what, answer) => {
    await using etcd = await openImpostor(answer);
    await using coord = coordAt({ endpoints: [etcd.address], timeout: seconds(20), retries: 0 });
    await expect(coord.centre.list("/a/")).rejects.toMatchObject({ component: "coord", code: "BadAnswer" });
  });

  test("a watch that is told rubbish says so, and goes on when it is etcd again", async () => {
    const created = { result: { header: { revision: "5" }, created: true } };
    const put = { kv: { key: "L2EvYg==", value: "MQ==", mod_revision: "6", version: "1" } };
    const told = { result: { header: { revision: "6" }, events: [put] } };
    await using etcd = await openImpostor(
      json({ header: { revision: "5" }, kvs: [] }),
      raw(`${JSON.stringify(created)}\n{"result":`),
      raw(`${JSON.stringify(created)}\n${JSON.stringify(told)}\n`),
    );
    await using coord = coordAt({ endpoints: [etcd.address] });
    const stop = new AbortController();
    const links: boolean[] = [];
    for await (const set of coord.centre.watch("/a/", { signal: stop.signal, onLink: ({ up }) => links.push(up) })) {
      expect(set.changes).toEqual([{ kind: "put", key: "/a/b", value: "1", revision: 6, version: 1 }]);
      stop.abort();
    }
    expect(links).toEqual([true, false, true]);
  });

  test("a lease without a number is none", async () => {
    await using etcd = await openImpostor(json({ header: { revision: "1" }, ID: "../../x", TTL: "5" }));
    await using coord = coordAt({ endpoints: [etcd.address] });
    await expect(coord.tryAcquire("a", seconds(5), NEVER)).rejects.toMatchObject({ code: "BadAnswer" });
  });
});

describe("what is more than anybody meant to hold", () => {
  test("a folder of too many keys is refused by its own name, and said how to ask instead", async () => {
    const kvs = Array.from({ length: 20_001 }, (_, i) => ({ key: btoa(`/a/${i}`), mod_revision: "4", version: "1" }));
    await using etcd = await openImpostor(json({ header: { revision: "5" }, more: true, kvs }));
    await using coord = coordAt({ endpoints: [etcd.address] });
    await expect(coord.centre.list("/a/")).rejects.toMatchObject({
      type: "VALIDATION",
      code: "TooManyKeys",
      message: expect.stringContaining("/a/ (at most 20000): more keys lie below it than are listed at once"),
    });
  });

  test("a group whose numbers are all taken is said so, after each was tried once", async () => {
    const granted = json({ ID: "7587", TTL: "3600" });
    await using etcd = await openImpostor(granted, json({ header: { revision: "5" } }));
    await using coord = coordAt({ endpoints: [etcd.address] });
    await expect(coord.instanceId("workers", seconds(10), NEVER)).rejects.toMatchObject({
      type: "UNAVAILABLE",
      code: "IdsExhausted",
      message: expect.stringContaining("/instances/workers/ (1024 of them): every instance number is taken"),
    });
    expect(etcd.asked.filter((path) => path === "/v3/kv/txn")).toHaveLength(1024);
  });
});

test("[R120] other bounds hold from the next call on", async () => {
  await using etcd = await openImpostor(refused(14, "etcdserver: no leader"));
  await using coord = coordAt({ endpoints: [etcd.address], retries: 1 });
  await expect(coord.centre.get("/a")).rejects.toMatchObject({ code: "Unavailable" });
  expect(etcd.asked).toHaveLength(2);
  coord.limit({ timeout: seconds(5), retry: { maxRetries: 4, initial: millisOf(1), factor: 1, max: millisOf(1) } });
  await expect(coord.centre.get("/a")).rejects.toMatchObject({ code: "Unavailable" });
  expect(etcd.asked).toHaveLength(7);
});
