import { describe, expect, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { aSwitch, openTestStand } from "../support/stand.ts";

describe("one tenant, one switch", () => {
  test("[R79] normal: every stage settles, receivers and Redis hold what the status says", async () => {
    await using stand = await openTestStand(inject("env"));
    await stand.operator();
    await stand.create(aSwitch(stand));
    const task = await stand.phase("acme-green", "Completed");
    expect(at(task, "/status/progress")).toBe("3/3");
    expect(await stand.green.state(`${stand.namespace}/acme`)).toMatchObject({
      deployUnit: { name: "green" },
      version: 42,
    });
    expect(await stand.redis.hgetall(`${stand.namespace}:acme`)).toEqual({ unit: "green", version: "42" });
  });
});
