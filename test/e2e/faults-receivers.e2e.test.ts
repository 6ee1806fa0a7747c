import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { seconds } from "../../src/lib/time.ts";
import { control, create } from "../support/fault-walk.ts";
import { type Asked, type Fault, type HttpProxy, type Match, openHttpProxy } from "../support/http-proxy.ts";
import {
  BOMB,
  cutBody,
  DEEP,
  endlessBody,
  instead,
  late,
  loseAnswer,
  loseRequest,
  NOT_UTF8,
  PAGE,
  POISONED,
  redirect,
  slow,
  twice,
} from "../support/http-proxy-faults.ts";
import { type LegacyReceiver, openLegacyReceiver } from "../support/legacy-receiver.ts";
import { effectsAt } from "../support/stand-read.ts";
import { aSwitch, CHECK, openTestStand, type Space, type TestStand } from "../support/stand.ts";

// The real operator, the real receiver, and between them whatever may happen to one exchange.

/** Ends of the switch, after it may have been told to retry once what was wrong is mended. */
type End = "by itself" | readonly [failure: string];

const busy = (status: number, wait: string): Fault => instead({ status, headers: { "retry-after": wait }, body: "{}" });
const ROWS: readonly (readonly [what: string, fault: Fault, times: number, end: End])[] = [
  ["[http/lost] carried out, the answer is lost", loseAnswer, 1, "by itself"],
  ["[http/lost] lost on the way there", loseRequest, 2, "by itself"],
  ["[http/lost] the answer ends in its middle", cutBody, 1, "by itself"],
  ["[http/late] delivered twice", twice, 1, "by itself"],
  ["[http/silent] answered after the attempt gave up", slow(2500), 1, "by itself"],
  ["[http/busy] 503, twice", busy(503, "1"), 2, "by itself"],
  ["[http/busy] 429, and when to come back", busy(429, "1"), 1, "by itself"],
  ["[http/denied] 403", instead({ status: 403, body: "{}" }), 1, ["Unauthorized"]],
  ["[http/hostile] a redirect", redirect("http://127.0.0.1:1/"), 1, ["Redirected"]],
  ["[http/hostile] a page of HTML", PAGE, 1, ["NotJson"]],
  ["[http/hostile] bytes that are no UTF-8", NOT_UTF8, 1, ["NotJson"]],
  ["[http/hostile] 20,000 levels deep", DEEP, 1, ["NotJson"]],
  ["[http/hostile] a poisoned key", POISONED, 1, ["NotJson"]],
  ["[http/hostile] a bomb", BOMB, 1, ["NotJson"]],
  ["[http/hostile] an answer that never ends", endlessBody, 1, ["AnswerTooLarge"]],
];
const TELL = { name: "tell", http: { endpoint: "proxied" } };

let stand: TestStand;
let proxy: HttpProxy;
let legacy: LegacyReceiver;
let before: HttpProxy;
beforeAll(async () => {
  legacy = await openLegacyReceiver();
  before = await openHttpProxy({ origin: `http://127.0.0.1:${legacy.port}` });
  const old = { name: "old", protocol: "http", fencing: "None", addresses: [before.address], ports: [before.port] };
  stand = await openTestStand(inject("env"), { spaces: 2, operator: SHORT, endpoints: [old] });
  proxy = await openHttpProxy({ origin: `http://127.0.0.1:${stand.green.port}` });
  const settings = JSON.parse(await readFile(stand.settings, "utf8")) as Settings;
  const gateway = settings.endpoints.find(({ name }) => name === "im-gateway");
  const proxied = { ...gateway, name: "proxied", addresses: [proxy.address], ports: [proxy.port] };
  const { ceiling } = settings.operator;
  const operator = { ...settings.operator, ceiling: { ...ceiling, ports: [...ceiling.ports, proxy.port] } };
  await writeFile(stand.settings, JSON.stringify({ operator, endpoints: [...settings.endpoints, proxied] }));
  await stand.operator();
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await before[Symbol.asyncDispose]();
  await legacy[Symbol.asyncDispose]();
});

/** A claim that nobody settles lives for attemptTimeout + 5 s. */
const SHORT = { defaults: { attemptTimeout: "2s", instanceTimeout: "1s" } };
interface Settings {
  readonly operator: { readonly ceiling: { readonly ports: readonly number[] } };
  readonly endpoints: readonly Readonly<Record<string, unknown>>[];
}

const puts =
  (tenant: string): Match =>
  ({ method, headers }: Asked) =>
    method === "PUT" && headers["turnout-tenant"] === tenant;

describe.concurrent("an exchange with a receiver that checks fences", () => {
  test.for(ROWS.map((row, i) => [...row, `tenant-${i}`] as const))(
    "[S26] %s: in force once in the end, whatever was told",
    async ([, fault, times, end, name], { expect }) => {
      const tenant = `${stand.namespace}/${name}`;
      const rule = proxy.meet(puts(tenant), fault, times);
      await create(stand, aSwitch(stand, { name, tenantId: name, stages: [TELL, CHECK] }));
      if (end !== "by itself") {
        const failed = await stand.phase(name, "Failed");
        expect(at(failed, "/status/failure/code")).toBe(end[0]);
        await control(stand, name, { retry: 1 });
      }
      await stand.over(name, "Completed");
      expect(rule.met).toBe(times);
      expect(await stand.green.state(tenant)).toMatchObject({ deployUnit: { name: "green" }, version: 42 });
      const applied = (await effectsAt([stand.green], tenant)).filter(({ verdict }) => verdict === "applied");
      expect(applied).toHaveLength(1);
    },
  );

  test("[http/late] [S8] held on the way and delivered after its undo, it is fenced off", async ({ expect }) => {
    const tenant = `${stand.namespace}/late`;
    const held = late();
    proxy.meet(puts(tenant), held.fault, 1);
    await create(stand, aSwitch(stand, { name: "late", tenantId: "late", stages: [TELL] }));
    await held.caught;
    await control(stand, "late", { rollback: true });
    await stand.over("late", "RolledBack");
    expect((await held.deliver()).status).toBe(412);
    expect(await stand.green.state(tenant)).toMatchObject({ deployUnit: { name: "blue" }, version: 41 });
  });
});

describe("an exchange with a receiver that checks none", () => {
  test("[http/late] [S8] with fencing: None the undo waits until what was sent must have arrived, and is the last to take force", async ({
    expect,
  }) => {
    const body = { tenant: "${tenantId}", unit: "${target.deployUnit.name}", version: "${plan.version}" };
    const probe = { path: "/state/${tenantId}", opIdPointer: "/opId" };
    const stage = { name: "old", http: { endpoint: "old", method: "POST", path: "/apply", body, probe } };
    const held = late();
    before.meet(({ method }) => method === "POST", held.fault, 1);
    const name = "unfenced";
    await create(stand, aSwitch(stand, { name, tenantId: name, stages: [stage] }));
    await held.caught;
    await control(stand, name, { rollback: true });
    await stand.waits(name, "Quiescing");
    expect(legacy.applied).toEqual([]);
    await held.deliver();
    await over(stand, name);
    expect(legacy.applied).toEqual(["unfenced green 42", "unfenced blue 41"]);
  });
});
const over = (space: Space, name: string): Promise<unknown> => space.over(name, "RolledBack", seconds(50));
