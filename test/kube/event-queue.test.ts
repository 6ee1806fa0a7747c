import { describe, expect, test } from "vitest";

import type { Importance } from "../../src/kube/event.ts";
import { type EventQueue, openEventQueue, type Outgoing } from "../../src/kube/event-queue.ts";

const anEvent = (note: string, importance: Importance): Outgoing => ({
  event: {
    regarding: { apiVersion: "example.dev/v1", kind: "Widget", namespace: "ns", name: "acme", uid: "u" },
    type: "Normal",
    reason: "Started",
    note,
    sequence: 1,
    importance,
  },
  time: "",
  attempts: 0,
  isSending: false,
  next: null,
});

/** Pushes `t1`, `n2`, `d3`: terminal, normal, droppable; gives the names of what had to give way. */
function push(queue: EventQueue, ...names: readonly string[]): (string | null)[] {
  const importance: Readonly<Record<string, Importance>> = { t: "terminal", n: "normal", d: "droppable" };
  return names.map((name) => queue.push(anEvent(name, importance[name[0] ?? ""] ?? "normal"))?.event.note ?? null);
}

function drain(queue: EventQueue): string[] {
  const names: string[] = [];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) names.push(next.event.note);
  return names;
}

describe("a queue for four", () => {
  test("gives them in the order in which they came, whatever they are", () => {
    const queue = openEventQueue(4);
    expect(push(queue, "d1", "n2", "t3", "n4")).toEqual([null, null, null, null]);
    expect([queue.size, drain(queue), queue.size, queue.shift()]).toEqual([4, ["d1", "n2", "t3", "n4"], 0, undefined]);
  });

  test("takes droppable ones while it is less than half full", () => {
    const queue = openEventQueue(4);
    expect(push(queue, "d1", "d2", "d3", "n4", "d5")).toEqual([null, null, "d3", null, "d5"]);
    expect(drain(queue)).toEqual(["d1", "d2", "n4"]);
  });

  test("full, a normal one pushes the oldest droppable one out, from wherever it waits; without any it gives way itself", () => {
    const queue = openEventQueue(4);
    push(queue, "n1", "d2", "n3", "n4");
    expect(push(queue, "n5", "n6", "d7")).toEqual(["d2", "n6", "d7"]);
    expect(drain(queue)).toEqual(["n1", "n3", "n4", "n5"]);
  });

  test("what has left pushes nobody's place", () => {
    const queue = openEventQueue(4);
    push(queue, "d1", "d2");
    expect([queue.shift()?.event.note, push(queue, "n3", "n4", "n5", "n6", "n7")]).toEqual([
      "d1",
      [null, null, null, "d2", "n7"],
    ]);
    expect(drain(queue)).toEqual(["n3", "n4", "n5", "n6"]);
  });

  test("always finds room for terminal ones, and they give way to nobody", () => {
    const queue = openEventQueue(4);
    push(queue, "n1", "n2", "n3", "n4");
    expect(push(queue, "t5", "t6", "n7", "d8")).toEqual([null, null, "n7", "d8"]);
    expect(drain(queue)).toEqual(["n1", "n2", "n3", "n4", "t5", "t6"]);
  });
});
