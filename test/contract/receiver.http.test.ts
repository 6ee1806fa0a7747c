import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { CASES } from "../../src/receiver/conformance.ts";
import type { ChildSettings } from "../support/receiver-process.ts";
import { conform, notPassed, processTarget, trialFolder } from "../support/receiver-target.ts";

const STORES: Readonly<Record<string, (folder: string) => ChildSettings["store"]>> = {
  SQLite: (folder) => ({ sqlite: join(folder, "receiver.db") }),
  Redis: (folder) => ({ redis: inject("env").REDIS_URL ?? "", prefix: `receiver:${folder}:` }),
};

describe.each(Object.keys(STORES))("the receiver library over %s", (name) => {
  test("[SEC-30] [SEC-31] [SEC-32] [S8] keeps every rule of the conformance suite, killed and restarted on the way", async () => {
    await using folder = await trialFolder();
    const store = STORES[name]?.(folder.path) ?? { sqlite: "" };
    await using target = await processTarget(
      { store, tokenFile: folder.tokenFile, applyTimeoutMs: 5000 },
      folder.token,
    );
    const results = await conform(target);
    expect(notPassed(results)).toEqual([]);
    expect(results).toHaveLength(CASES.length);
  });

  test("[S10] a second run on the same tenants begins above the fences of the first, and passes too", async () => {
    await using folder = await trialFolder();
    const store = STORES[name]?.(folder.path) ?? { sqlite: "" };
    await using target = await processTarget(
      { store, tokenFile: folder.tokenFile, applyTimeoutMs: 5000 },
      folder.token,
    );
    await conform(target);
    expect(notPassed(await conform({ ...target, run: "second" }))).toEqual([]);
  });
});
