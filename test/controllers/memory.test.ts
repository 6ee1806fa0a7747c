import { expect, test } from "vitest";
import { createMemories, noteRead } from "../../src/controllers/memory.ts";
import { aWidget } from "../support/kube-objects.ts";

test.each([
  ["newer", 141, false],
  ["the same", 140, false],
  ["older: the API server lost history", 99, true],
] as const)("[S30] what is read again is %s", (_what, read, rewound) => {
  const memory = createMemories().of("ns/a", "uid-a");
  noteRead(memory, aWidget("a", 140), aWidget("a", read));
  expect(memory.rewound).toBe(rewound);
  noteRead(memory, aWidget("a", 140), aWidget("a", 140));
  expect(memory.rewound).toBe(rewound);
});
