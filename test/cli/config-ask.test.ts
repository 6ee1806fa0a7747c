import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { askAt, readBounded } from "../../src/cli/config/ask.ts";

/** What a person's keys end with. */
async function answered(keys: string): Promise<unknown> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const asked = askAt({ input, output }, "write? ").catch((error: unknown) => error);
  input.write(keys);
  return await asked;
}

describe("a question at a terminal", () => {
  test("an answer is a line; Ctrl-D ends it with none", async () => {
    expect([await answered("yes\r"), await answered("\u0004")]).toEqual(["yes", null]);
  });

  test("Ctrl-C stops with one sentence and 130, not with a stack", async () => {
    expect(await answered("y\u0003")).toMatchObject({ exitCode: 130, message: "\nstopped; nothing was written" });
  });
});

test("no more is read of stdin than is needed to refuse it", async () => {
  let given = 0;
  function* forever(): Generator<Uint8Array> {
    for (;;) {
      given += 1;
      yield Buffer.alloc(1024);
    }
  }
  const read = await readBounded(forever() as unknown as AsyncIterable<Uint8Array>, 10_000);
  expect([read.byteLength, given]).toEqual([10_001, 10]);
});
