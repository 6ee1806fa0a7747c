import { describe, expect, test } from "vitest";
import { openGuard } from "../../src/infra/egress/connect.ts";
import { configuredServerPolicy, policyOf } from "../../src/infra/egress/policy.ts";
import { systemResolve } from "../../src/infra/egress/resolve.ts";
import { parseIp } from "../../src/lib/ip.ts";
import type { Resolve } from "../../src/lib/seams.ts";
import { seconds } from "../../src/lib/time.ts";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig } from "../support/egress/rig.ts";
import { countSockets, openTrap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";

const LOOP = ["127.0.0.0/8"];
const address = (port: number): string => `gateway.test:${port}`;

/** Answers one list after the other, the last one for ever; counts how often it was asked. */
function resolver(...answers: readonly (readonly string[])[]): {
  readonly resolve: Resolve;
  readonly asked: () => number;
} {
  let asked = 0;
  const resolve: Resolve = () => Promise.resolve(answers[Math.min(asked++, answers.length - 1)] ?? []);
  return { resolve, asked: () => asked };
}

describe("[SEC-19] guard 2: names are resolved at every connect, and all answers must pass", () => {
  test("an answer that turns bad between two connects is refused, and the good one was not remembered", async () => {
    await using server = await openTrap({ serve: (socket) => void socket.on("data", () => socket.end(answer(200))) });
    await using trap = await openTrap({ host: "127.0.0.2", port: server.port });
    const { resolve, asked } = resolver(["127.0.0.1"], ["127.0.0.2"]);
    await using rig = openRig({
      endpoints: [httpEndpoint({ cidrs: ["127.0.0.1/32"], ports: [server.port] })],
      resolve,
    });
    expect(await rig.http.send(aCall({ address: address(server.port) }), never)).toMatchObject({ kind: "answer" });
    await until(
      () => server.open,
      (open) => open === 0,
    );
    expect(await rig.http.send(aCall({ address: address(server.port) }), never)).toMatchObject({
      fault: { code: "EgressDenied" },
    });
    expect({ asked: asked(), trapped: trap.connections }).toEqual({ asked: 2, trapped: 0 });
  });

  test("one answer per connect: what was judged is what is dialled", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using trap = await openTrap({ host: "127.0.0.2", port: server.port });
    const { resolve, asked } = resolver(["127.0.0.1"], ["127.0.0.2"]);
    await using rig = openRig({ endpoints: [httpEndpoint({ cidrs: LOOP, ports: [server.port] })], resolve });
    expect(await rig.http.send(aCall({ address: address(server.port) }), never)).toMatchObject({ kind: "answer" });
    expect({ asked: asked(), trapped: trap.connections, connected: rig.connected.map(({ ip }) => ip) }).toEqual({
      asked: 1,
      trapped: 0,
      connected: ["127.0.0.1"],
    });
  });

  test("an idle connection stays where it was checked, whatever the name says meanwhile", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using trap = await openTrap({ host: "127.0.0.2", port: server.port });
    const { resolve } = resolver(["127.0.0.1"], ["127.0.0.2"]);
    await using rig = openRig({ endpoints: [httpEndpoint({ cidrs: LOOP, ports: [server.port] })], resolve });
    for (let i = 0; i < 3; i += 1) await rig.http.send(aCall({ address: address(server.port) }), never);
    expect({ good: server.connections, trapped: trap.connections }).toEqual({ good: 1, trapped: 0 });
  });

  test("[SEC-26] an unresolvable name is a DNS failure, whichever way the resolver fails", async () => {
    const failing: Resolve[] = [
      () => Promise.resolve([]),
      () => Promise.reject(new Error("ENOTFOUND gateway.test 10.0.0.1")),
    ];
    for (const resolve of failing) {
      await using rig = openRig({ endpoints: [httpEndpoint()], resolve });
      const result = await rig.http.send(aCall({ address: address(80) }), never);
      expect(result).toMatchObject({ kind: "notSent", fault: { code: "DnsFailed" } });
      expect(JSON.stringify([result, rig.lines])).not.toContain("10.0.0.1");
    }
  });

  test("[SEC-41] a resolver that never answers costs 5 s and nothing else", async () => {
    const clock = new ManualClock();
    await using rig = openRig({ endpoints: [httpEndpoint()], resolve: () => new Promise(() => undefined), clock });
    const sending = rig.http.send(aCall({ address: address(80), timeout: seconds(60) }), never);
    await clock.advance(seconds(5));
    expect(await sending).toMatchObject({ kind: "notSent", fault: { code: "ConnectTimeout" } });
    expect(clock.sleeping).toBe(0);
  });

  test("[SEC-41] at most 8 look-ups run at once", async () => {
    let running = 0;
    let most = 0;
    const ends: (() => void)[] = [];
    const resolve: Resolve = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise<void>((end) => ends.push(end));
      running -= 1;
      return [];
    };
    await using rig = openRig({ endpoints: [httpEndpoint()], resolve, sockets: 64 });
    const all = Promise.all(
      Array.from({ length: 20 }, (_, i) => rig.http.send(aCall({ address: `g${i}.test:80` }), never)),
    );
    await until(
      () => running,
      (now) => now === 8,
    );
    const drain = until(
      () => {
        for (const end of ends.splice(0)) end();
        return running + ends.length;
      },
      () => ends.length === 0 && running === 0,
    );
    expect((await all).every(({ kind }) => kind === "notSent")).toBe(true);
    await drain;
    expect(most).toBe(8);
  });

  test("the system's resolver gives every address of localhost", async () => {
    const answers = await systemResolve("localhost", never);
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.every((text) => ["127.0.0.1", "::1"].includes(text))).toBe(true);
  });
});

test("[SEC-41] looking up, connecting and the handshake share one deadline of 5 s", async () => {
  const clock = new ManualClock();
  await using server = await openTrap();
  await using rig = openRig({
    endpoints: [httpEndpoint({ ports: [server.port], tls: {} })],
    resolve: async () => {
      await clock.sleep(seconds(4));
      return ["127.0.0.1"];
    },
    clock,
  });
  const sending = rig.http.send(aCall({ address: address(server.port), timeout: seconds(60) }), never);
  await clock.advance(seconds(4));
  await until(
    () => server.bytes,
    (bytes) => bytes > 0,
  );
  await clock.advance(seconds(1));
  expect(await sending).toMatchObject({ kind: "notSent", fault: { code: "ConnectTimeout" } });
  expect(clock.monotonic()).toBe(seconds(5));
});

describe("[SEC-4] the API server's own policy", () => {
  const guardOn = (reserved: readonly number[]): ReturnType<typeof openGuard> =>
    openGuard({
      resolve: () => Promise.resolve(["127.0.0.1"]),
      clock: new ManualClock(),
      sockets: { perAddress: 4, perNamespace: 64 },
      reserved: () => reserved.map((port) => ({ ip: parseIp("127.0.0.1") ?? { family: 4, bits: 0n }, port })),
    });

  test("reaches the configured port, although endpoints may not, and no other port", async () => {
    await using server = await openTrap();
    await using other = await openTrap();
    const guard = guardOn([server.port]);
    const policy = configuredServerPolicy("kubernetes", server.port);
    const connection = await guard.connect({ policy, namespace: "", address: server.address, tls: null }, never);
    expect(connection.ok).toBe(true);
    if (connection.ok) connection.socket.destroy();
    using sockets = countSockets();
    expect(await guard.connect({ policy, namespace: "", address: other.address, tls: null }, never)).toMatchObject({
      ok: false,
    });
    expect(
      await guard.connect({ policy, namespace: "", address: `169.254.169.254:${server.port}`, tls: null }, never),
    ).toMatchObject({
      ok: false,
    });
    expect(sockets.count).toBe(0);
  });
});

test("a connection that comes after its asker has gone is closed", async () => {
  await using server = await openTrap();
  const end = new AbortController();
  const policy = policyOf(httpEndpoint({ ports: [server.port] }), { cidrs: LOOP, ports: [server.port] });
  const guard = openGuard({
    resolve: () => Promise.resolve([]),
    clock: new ManualClock(),
    sockets: { perAddress: 4, perNamespace: 64 },
    reserved: () => [],
  });
  const connecting = guard.connect({ policy, namespace: "prod", address: server.address, tls: null }, end.signal);
  end.abort();
  expect(await connecting).toMatchObject({ ok: false, fault: { code: "ConnectTimeout" } });
  expect(
    await until(
      () => server.open,
      (open) => open === 0,
    ),
  ).toBe(0);
});
