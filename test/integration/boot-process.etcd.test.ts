import { expect, inject, test } from "vitest";
import { until } from "../support/egress/until.ts";
import { startKitChild as start } from "../support/kit-process.ts";
import { type KitRig, openKitRig } from "../support/kit-rig.ts";

const { COORD_ENDPOINTS = "", REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const [first = ""] = COORD_ENDPOINTS.split(",");
const open = (): Promise<KitRig> => openKitRig({ etcd: first, redis: REDIS_ADDRESS, password: REDIS_PASSWORD });

test("[R132][R151] SIGTERM closes everything, and the process ends by itself: nothing was left open", async () => {
  await using rig = await open();
  await using service = await start(rig);
  const lines = await service.says(/^started in /);
  expect(lines.filter((line) => line.endsWith(" is open"))).toHaveLength(8);
  service.send("SIGTERM");
  expect(await service.ended).toEqual([0, null]);
  const closes = service.said().filter(({ message }) => String(message).endsWith(" is closed"));
  expect(closes.map(({ step }) => step)).toEqual(["web", "db", "cache", "metrics", "clog", "config", "coord", "log"]);
  expect(service.said()[0]).toMatchObject({ service: "im-repo", version: "1.2.3", module: "boot" });
});

test("[R132] a second signal ends it at once, while something does not close", async () => {
  await using rig = await open();
  await using service = await start(rig, { KIT_HANGS: "1" });
  await service.says(/^started in /);
  service.send("SIGTERM");
  // Two that are pending at once are one: the second is sent until it shows.
  let code: number | null = null;
  void service.ended.then(([ended]) => (code = ended));
  await until(
    () => {
      service.send("SIGTERM");
      return code;
    },
    (ended) => ended !== null,
  );
  expect(code).toBe(130);
});

test("[R132] what does not close within its time is named and does not keep the process", async () => {
  await using rig = await open();
  await using service = await start(rig, { KIT_HANGS: "1" });
  await service.says(/^started in /);
  service.send("SIGTERM");
  expect(await service.ended).toEqual([1, null]);
  expect(service.said().map(({ message }) => message)).toEqual(
    expect.arrayContaining(["web did not close within 5s", "coord is closed"]),
  );
});

test("[R131] a required component that fails ends the process with 1 and says which, why and what to do", async () => {
  await using rig = await open();
  rig.redis.refuse();
  await using service = await start(rig);
  expect(await service.ended).toEqual([1, null]);
  expect(service.said().map(({ message }) => String(message))).toContainEqual(
    expect.stringMatching(/^cannot start: cache: .*; see addr, password and Redis$/),
  );
});
