import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { startReceiver } from "../support/receiver-process.ts";
import { trialFolder } from "../support/receiver-target.ts";
import { openWrongReceiver } from "../support/wrong-receiver.ts";

const CLI = fileURLToPath(new URL("../../src/cli/conformance.ts", import.meta.url));

const conformance = (...args: readonly string[]) => answering("", ...args);

/** With a person who types this, then goes away. */
async function answering(typed: string, ...args: readonly string[]) {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.end(typed);
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { out, err, code: await exited };
}

describe("npm run conformance", () => {
  test("passes the library, as a table of at most 100 columns, and says what it did not try", async () => {
    await using folder = await trialFolder();
    const store = { sqlite: join(folder.path, "receiver.db") };
    await using child = await startReceiver({ store, tokenFile: folder.tokenFile, applyTimeoutMs: 5000 });
    const { out, err, code } = await conformance(child.origin, "--token-file", folder.tokenFile);
    expect(out).toMatch(/^ok +first-apply +a claim above everything seen is applied, and GET answers it$/m);
    expect(out).toMatch(/^not tried +restart-fence /m);
    expect(out).toMatch(/^30 passed, 0 failed, 6 not tried$/m);
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    expect([err, code]).toEqual(["", 0]);
    expect(out).not.toContain(folder.token);
  });

  test("fails a receiver that takes a lower fence, and ends with the command that shows it again", async () => {
    await using folder = await trialFolder();
    await using wrong = await openWrongReceiver(folder.token, "acceptsLowerFence");
    const { out, err, code } = await conformance(
      wrong.origin,
      "--token-file",
      folder.tokenFile,
      "--only",
      "lower-fence",
    );
    expect(out).toMatch(/^FAILED +lower-fence /m);
    expect(out).toMatch(/→ expected 412, got 200/);
    expect(err).toContain("--only lower-fence");
    expect(code).toBe(1);
  });

  test("asks for a restart where a rule is about memory, and needs somebody to answer", async () => {
    await using folder = await trialFolder();
    await using right = await openWrongReceiver(folder.token, null);
    const args = [right.origin, "--token-file", folder.tokenFile, "--only", "restart-fence", "--wait-for-restart"];
    const { out, err, code } = await answering("\n", ...args);
    expect(err).toContain("Kill the receiver now");
    expect(out).toMatch(/^1 passed, 0 failed, 0 not tried$/m);
    expect(code).toBe(0);
    const alone = await answering("", ...args);
    expect(alone.out).toMatch(/^FAILED +restart-fence /m);
    expect(alone.code).toBe(1);
  });

  test("fails where nothing answers", async () => {
    const { out, code } = await conformance("http://127.0.0.1:1", "--only", "first-apply");
    expect(out).toMatch(/→ no answer \(ECONNREFUSED\)/);
    expect(code).toBe(1);
  });

  test("fails where nothing was tried", async () => {
    const { code } = await conformance("http://127.0.0.1:1", "--only", "restart-fence");
    expect(code).toBe(1);
  });

  test.each([
    ["no URL", [], /one URL/],
    ["a URL with a path", ["http://127.0.0.1:1/x"], /one URL/],
    ["another scheme", ["redis://127.0.0.1:1"], /one URL/],
    ["an unknown case", ["http://127.0.0.1:1", "--only", "nothing"], /no case of that name; there are first-apply,/],
    ["an unknown option", ["http://127.0.0.1:1", "--token", "x"], /token/],
    ["a tenant without a namespace", ["http://127.0.0.1:1", "--tenant", "acme"], /NAMESPACE\/ID/],
    ["a token file that is not there", ["http://127.0.0.1:1", "--token-file", "/nowhere"], /cannot read/],
  ])("with %s says how it is used", async (_what, args, message) => {
    const { out, err, code } = await conformance(...args);
    expect(err).toMatch(message);
    expect(err).toContain("usage: npm run conformance -- URL");
    expect([out, code]).toEqual(["", 2]);
  });

  test("[SEC-49] a token that would break a header is refused without being shown", async () => {
    await using folder = await trialFolder();
    const file = join(folder.path, "broken");
    await writeFile(file, "secret\r\nx: y");
    const { out, err, code } = await conformance("http://127.0.0.1:1", "--token-file", file);
    expect(out + err).not.toContain("secret");
    expect(code).toBe(2);
  });
});
