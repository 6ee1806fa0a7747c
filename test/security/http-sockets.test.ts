import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import type { HttpResult } from "../../src/infra/egress/http.ts";
import { LARGEST_ANSWER } from "../../src/infra/egress/http-answer.ts";
import { millisOf } from "../../src/lib/time.ts";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig } from "../support/egress/rig.ts";
import { countSockets, openTrap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";
import { rigFor } from "./hostile-server.ts";

describe("[SEC-19] guard 6: one connection, one caller", () => {
  test("the answer to a cancelled exchange reaches nobody", async () => {
    const held: Socket[] = [];
    await using server = await openTrap({
      serve: (socket, nth) =>
        void socket.on("data", () => (nth === 1 ? held.push(socket) : socket.write(answer(200, '{"for":"second"}')))),
    });
    await using rig = rigFor(server);
    const first = await rig.http.send(aCall({ address: server.address, timeout: millisOf(100) }), never);
    expect(first).toMatchObject({ kind: "lost" });
    held[0]?.write(answer(200, '{"for":"first"}'));
    const second = await rig.http.send(aCall({ address: server.address }), never);
    expect(second).toMatchObject({ kind: "answer", json: { value: { for: "second" } } });
    expect(server.connections).toBe(2);
  });

  test("a second answer to one request reaches nobody", async () => {
    await using server = await openTrap({
      serve: (socket, nth) =>
        void socket.on("data", () => {
          const whole = answer(200, `{"connection":${nth}}`);
          socket.write(nth === 1 ? Buffer.concat([whole, answer(200, '{"smuggled":true}')]) : whole);
        }),
    });
    await using rig = rigFor(server);
    const results = [];
    for (let i = 0; i < 3; i += 1) results.push(await rig.http.send(aCall({ address: server.address }), never));
    expect(JSON.stringify(results)).not.toContain("smuggled");
  });

  test("a connection is used again only after a whole answer", async () => {
    await using server = await openTrap({ serve: always(answer(200, '{"a":1}')) });
    await using rig = rigFor(server);
    for (let i = 0; i < 5; i += 1) await rig.http.send(aCall({ address: server.address }), never);
    expect(server.connections).toBe(1);
    await using large = await openTrap({ serve: always(answer(200, "x".repeat(LARGEST_ANSWER + 1))) });
    await using other = rigFor(large);
    for (let i = 0; i < 3; i += 1) await other.http.send(aCall({ address: large.address }), never);
    expect(large.connections).toBe(3);
  });

  test("a connection that the server closed while it idled is not used", async () => {
    await using server = await openTrap({ serve: (socket) => void socket.on("data", () => socket.end(answer(200))) });
    await using rig = rigFor(server);
    for (let i = 0; i < 3; i += 1) {
      expect(await rig.http.send(aCall({ address: server.address }), never)).toMatchObject({ kind: "answer" });
      await until(
        () => server.open,
        (open) => open === 0,
      );
    }
    expect(server.connections).toBe(3);
  });
});

describe("[SEC-40] sockets are counted per namespace", () => {
  function busyServer(): { serve: (socket: Socket) => void; most: () => number; release: () => void } {
    let now = 0;
    let most = 0;
    let waiting: Socket[] = [];
    let open = false;
    const reply = (socket: Socket): void => {
      now -= 1;
      socket.write(answer(200));
    };
    return {
      serve: (socket) =>
        void socket.on("data", () => {
          now += 1;
          most = Math.max(most, now);
          if (open) setImmediate(() => reply(socket));
          else waiting.push(socket);
        }),
      most: () => most,
      release: () => {
        open = true;
        for (const socket of waiting) reply(socket);
        waiting = [];
      },
    };
  }

  test("four at once to one address, the others wait their turn and are all served", async () => {
    const busy = busyServer();
    await using server = await openTrap({ serve: busy.serve });
    await using rig = rigFor(server);
    const all = Promise.all(Array.from({ length: 40 }, () => rig.http.send(aCall({ address: server.address }), never)));
    await until(busy.most, (most) => most === 4);
    busy.release();
    expect((await all).every(({ kind }) => kind === "answer")).toBe(true);
    expect({ most: busy.most(), connections: server.connections }).toEqual({ most: 4, connections: 4 });
  });

  test("a namespace that holds all of its sockets leaves another one its own", async () => {
    const busy = busyServer();
    await using server = await openTrap({ serve: busy.serve });
    await using rig = openRig({
      endpoints: [httpEndpoint({ ports: [server.port], allowedNamespaces: ["prod", "dev"] })],
    });
    const hog = Promise.all(Array.from({ length: 20 }, () => rig.http.send(aCall({ address: server.address }), never)));
    await until(busy.most, (most) => most === 4);
    const other = rig.http.send(aCall({ address: server.address, namespace: "dev" }), never);
    expect(await until(busy.most, (most) => most === 5)).toBe(5);
    busy.release();
    expect(await other).toMatchObject({ kind: "answer" });
    await hog;
  });

  test("who waits in vain was sent nothing", async () => {
    await using server = await openTrap();
    await using rig = rigFor(server);
    const calls = Array.from({ length: 6 }, () =>
      rig.http.send(aCall({ address: server.address, timeout: millisOf(300) }), never),
    );
    const kinds = (await Promise.all(calls)).map(({ kind }) => kind);
    expect(kinds.toSorted()).toEqual(["lost", "lost", "lost", "lost", "notSent", "notSent"]);
    expect(server.connections).toBe(4);
  });

  test("idle connections of one endpoint give way to another endpoint of the same address", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = openRig({
      endpoints: [httpEndpoint({ ports: [server.port] }), httpEndpoint({ name: "legacy", ports: [server.port] })],
    });
    const all = (endpoint: string): Promise<HttpResult[]> =>
      Promise.all(Array.from({ length: 8 }, () => rig.http.send(aCall({ address: server.address, endpoint }), never)));
    for (const endpoint of ["gateway", "legacy", "gateway"]) {
      expect((await all(endpoint)).every(({ kind }) => kind === "answer")).toBe(true);
      expect(server.open).toBeLessThanOrEqual(4);
    }
  });

  test("all addresses together stay below the namespace's bound", async () => {
    const busy = busyServer();
    await using one = await openTrap({ serve: busy.serve });
    await using two = await openTrap({ serve: busy.serve });
    await using rig = openRig({ endpoints: [httpEndpoint({ ports: [one.port, two.port] })], perNamespace: 5 });
    const all = Promise.all(
      [one, two].flatMap(({ address }) => Array.from({ length: 4 }, () => rig.http.send(aCall({ address }), never))),
    );
    await until(busy.most, (most) => most === 5);
    busy.release();
    expect((await all).every(({ kind }) => kind === "answer")).toBe(true);
    expect(busy.most()).toBe(5);
  });

  test("closing leaves no connection", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    const rig = rigFor(server);
    await Promise.all(Array.from({ length: 3 }, () => rig.http.send(aCall({ address: server.address }), never)));
    using sockets = countSockets();
    await rig[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
    expect(sockets.count).toBe(0);
  });
});
