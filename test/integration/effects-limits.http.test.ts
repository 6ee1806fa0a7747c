import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { openEffects } from "../../src/effects.ts";
import { openLog } from "../../src/infra/clog/log.ts";
import { operatorSettings, type Settings } from "../../src/infra/config/settings.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { plainBoundary } from "../../src/lib/seams.ts";
import { millisOf } from "../../src/lib/time.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never } from "../support/egress/rig.ts";
import { openTrap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";

/** Holds every request until it is let go, and counts how many it holds. */
function holder() {
  const held: Socket[] = [];
  return {
    serve: (socket: Socket): void => void socket.on("data", () => void held.push(socket)),
    held: (): number => held.length,
    letGo: (count: number): void => {
      for (const socket of held.splice(0, count)) socket.write(answer(200));
    },
  };
}

test("[R120] limits.sockets of the operator are live: more let those who wait in at once, fewer end what idles", async () => {
  const busy = holder();
  await using server = await openTrap({ serve: busy.serve });
  const settingsWith = (sockets: number): Settings => ({
    operator: operatorSettings.parse({
      ceiling: { cidrs: ["127.0.0.0/8"], ports: [server.port] },
      limits: { sockets },
    }),
    endpoints: [httpEndpoint({ ports: [server.port] })],
  });
  const log = openLog({ level: "error", clock: systemClock, destination: { write: () => undefined } });
  const effects = openEffects(
    settingsWith(2),
    {
      clock: systemClock,
      rng: systemRng,
      boundary: plainBoundary,
      resolve: () => Promise.reject(new Error("no names here")),
      env: {},
      logTo: { write: () => undefined },
      loopDelay: () => millisOf(0),
    },
    { log, metrics: openMetrics(), own: { host: "127.0.0.1", port: 1 }, apiServer: "https://127.0.0.1:2" },
  );
  const burst = (): Promise<unknown> =>
    Promise.all(Array.from({ length: 8 }, () => effects.ports.http.send(aCall({ address: server.address }), never)));
  const first = burst();
  expect(await until(busy.held, (count) => count === 2)).toBe(2);
  effects.apply(settingsWith(5));
  // Nobody was answered meanwhile: the three came in by the change alone.
  expect(await until(busy.held, (count) => count === 5)).toBe(5);
  effects.apply(settingsWith(1));
  // What is open stays until it is answered; of those who wait, one after the other comes.
  busy.letGo(5);
  for (let left = 3; left > 0; left -= 1) {
    expect(await until(busy.held, (count) => count > 0)).toBe(1);
    await until(
      () => server.open,
      (open) => open === 1,
    );
    busy.letGo(1);
  }
  await first;
  effects.apply(settingsWith(3));
  const second = burst();
  expect(await until(busy.held, (count) => count === 3)).toBe(3);
  for (let left = 8; left > 0; left -= Math.min(left, 3)) {
    await until(busy.held, (count) => count === Math.min(left, 3));
    busy.letGo(3);
  }
  await second;
  await until(
    () => server.open,
    (open) => open === 3,
  );
  effects.apply(settingsWith(1));
  await until(
    () => server.open,
    (open) => open === 1,
  );
  await effects.close();
  await until(
    () => server.open,
    (open) => open === 0,
  );
});
