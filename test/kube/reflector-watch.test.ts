import { describe, expect, test } from "vitest";

import { NoAnswer } from "../../src/kube/errors.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { statusAnswer } from "../support/fake-kube-transport.ts";
import { added, aWidget, bookmark, modified } from "../support/kube-objects.ts";
import { NOW, synced } from "./reflector-rig.ts";

describe("a watch that ends", () => {
  test("in order is taken up from where it was, bookmarks included, without a new list", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().send(modified(aWidget("a", 101)), bookmark(150));
    await rig.clock.advance(minutes(1));
    rig.watch().end();
    await rig.clock.advance(NOW);
    expect(rig.asked().at(-1)).toBe("watch=true&allowWatchBookmarks=true&timeoutSeconds=600&resourceVersion=150");
    rig.watch().send(added(aWidget("b", 151)));
    await rig.clock.advance(NOW);
    expect([rig.held(), rig.reflector.counts.failures]).toEqual([["a@101", "b@151"], 0]);
  });

  test("by a cut is taken up from where it was", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().cut();
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("resourceVersion=100");
    expect([rig.reflector.counts.failures, rig.warnings]).toEqual([
      1,
      ["the watch ended (ECONNRESET); it is begun again"],
    ]);
  });

  test("is begun again for ever, at most 30 s apart, and quickly again after it held for a while", async () => {
    const rig = await synced();
    rig.kube.onStream(...Array.from({ length: 40 }, () => new NoAnswer("Refused", "ECONNREFUSED")));
    const at: number[] = [];
    rig.watch().cut();
    for (let tries = rig.kube.requests.length; at.length < 9;) {
      await rig.clock.advance(seconds(1));
      if (rig.kube.requests.length > tries) at.push(rig.clock.monotonic() / 1000);
      tries = rig.kube.requests.length;
    }
    expect(at.map((time, i) => time - (at[i - 1] ?? 0))).toEqual([1, 2, 4, 8, 16, 30, 30, 30, 30]);
    expect(rig.reflector.age()).toBeGreaterThan(seconds(150));
  });

  test("that the server ends at once, in order, again and again, is not begun again in a hot loop", async () => {
    const rig = await synced();
    for (let second = 0; second < 60; second += 1) {
      rig.watch().end();
      await rig.clock.advance(seconds(1));
    }
    expect(rig.kube.requests.length).toBeLessThan(10);
  });

  test("[kube-apiserver/busy] asked to wait by Retry-After it waits so long, but never beyond its own limit", async () => {
    const rig = await synced();
    rig.kube.onStream({ ...statusAnswer(429, "TooManyRequests"), headers: { "retry-after": "20" } });
    rig.watch().cut();
    await rig.clock.advance(seconds(2));
    const asked = rig.kube.requests.length;
    await rig.clock.advance(seconds(17));
    expect(rig.kube.requests).toHaveLength(asked);
    await rig.clock.advance(seconds(3));
    expect(rig.kube.requests).toHaveLength(asked + 1);
  });

  test("[kube-apiserver/silent] by silence of 90 s is dropped and taken up; bytes of any kind count as life", async () => {
    const rig = await synced();
    await rig.clock.advance(seconds(80));
    rig.watch().send(bookmark(120));
    await rig.clock.advance(seconds(80));
    expect([rig.reflector.age(), rig.kube.streams.length]).toEqual([seconds(80), 1]);
    const silent = rig.watch();
    await rig.clock.advance(seconds(10));
    expect([silent.isOpen, rig.warnings]).toEqual([false, ["the watch ended (no byte for 90 s); it is begun again"]]);
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("resourceVersion=120");
  });
});

describe("other errors inside the stream", () => {
  test("take the watch up from where it was", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().send(modified(aWidget("a", 101)), {
      type: "ERROR",
      object: { kind: "Status", code: 500, reason: "InternalError" },
    });
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("resourceVersion=101");
  });
});
