import { randomBytes } from "node:crypto";
import { afterAll, beforeAll } from "vitest";
import type { Outcome } from "../../src/domain/task.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import {
  type HttpStage,
  openHttpStage,
  openReceiver,
  putInto,
  type Receivers,
  servedBy,
} from "../support/stage-rig-http.ts";
import { BLUE, GREEN } from "../support/stage-rig-plan.ts";

export interface BothReceivers {
  readonly token: string;
  readonly blue: Receivers;
  readonly green: Receivers;
  /** Both on blue 41, and a stage that announces to both. */
  onBoth(config?: JsonObject): Promise<HttpStage>;
  served(it: HttpStage): Promise<readonly string[]>;
}

/** The demo's service as blue and as green, with one token: up before the first test of the file, gone after its last. */
export function bothReceivers(): BothReceivers {
  const token = randomBytes(24).toString("hex");
  let blue: Receivers;
  let green: Receivers;
  beforeAll(async () => {
    [blue, green] = await Promise.all([openReceiver("blue", token), openReceiver("green", token)]);
  });
  afterAll(async () => {
    await blue[Symbol.asyncDispose]();
    await green[Symbol.asyncDispose]();
  });
  return {
    token,
    get blue() {
      return blue;
    },
    get green() {
      return green;
    },
    onBoth: async (config = {}) => {
      const it = await openHttpStage({ config, ports: [blue.process.port, green.process.port], token });
      for (const receiver of [blue, green])
        await putInto(receiver, it.tenant, { seq: 1, opId: "placed", unit: BLUE, version: 41 });
      return it;
    },
    served: ({ tenant }) => Promise.all([servedBy(blue, tenant), servedBy(green, tenant)]),
  };
}

export const GREEN_42 = JSON.stringify({ deployUnit: GREEN.deployUnit, version: 42 });
export const BLUE_41 = JSON.stringify({ deployUnit: BLUE.deployUnit, version: 41 });

export const reachOf = (outcome: Outcome): unknown => ("reach" in outcome ? outcome.reach : undefined);
export const verdicts = async ({ process }: Receivers, tenant: string): Promise<readonly unknown[]> =>
  (await process.effects()).filter((line) => line["tenant"] === tenant).map((line) => line["verdict"]);
