import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, openRig, redisEndpoint, type Rig } from "../support/egress/rig.ts";
import { openTrap, type Trap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";

const CLIENTS: Readonly<
  Record<string, (rig: Rig, server: Trap, signal: AbortSignal) => Promise<{ readonly kind: string }>>
> = {
  http: (rig, server, signal) => rig.http.send(aCall({ address: server.address, timeout: seconds(5) }), signal),
  redis: (rig, _server, signal) =>
    rig.redis().run(["SET", "tenant:a", 1], { signal, timeout: seconds(5), point: null }),
};

/** Lets the event loop go on by so many turns; the finest step at which a caller can cut in. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    await (i % 2 === 0 ? Promise.resolve() : new Promise<void>((resolve) => setImmediate(resolve)));
  }
}

describe("[SEC-19] cut short at every moment, the word is exact", () => {
  test.each(Object.keys(CLIENTS))(
    "%s: not sent means that not a byte arrived, lost means that some did",
    async (client) => {
      const seen = new Set<string>();
      for (let at = 0; at < 60; at += 1) {
        await using server = await openTrap();
        await using rig = openRig({
          endpoints: [
            httpEndpoint({ ports: [server.port] }),
            redisEndpoint({ ports: [server.port], addresses: [server.address] }),
          ],
        });
        const end = new AbortController();
        const running = CLIENTS[client]?.(rig, server, end.signal);
        await turns(at);
        end.abort();
        const kind = (await running)?.kind ?? "";
        await until(
          () => server.open,
          (open) => open === 0,
        );
        seen.add(kind);
        expect([at, kind]).toEqual([at, server.bytes > 0 ? "lost" : "notSent"]);
      }
      expect([...seen].toSorted()).toEqual(["lost", "notSent"]);
    },
  );
});

test("after closing, a call is still answered, and leaves no connection", async () => {
  await using server = await openTrap({ serve: always(answer(200)) });
  await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })] });
  await rig.http.close();
  expect(await rig.http.send(aCall({ address: server.address }), new AbortController().signal)).toMatchObject({
    kind: "answer",
  });
  expect(
    await until(
      () => server.open,
      (open) => open === 0,
    ),
  ).toBe(0);
});
