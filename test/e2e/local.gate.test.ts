import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { identify } from "../../deployment/local/process-identity.ts";
import { leftoversOf } from "../../deployment/testing/leftovers.ts";
import { ROOT, start, temporaryFolder, untilGone } from "./local-cli.ts";

describe(".ci/run", () => {
  const ROWS = [
    [
      "ends with the counts of npm test",
      "echo '12 passed, 0 failed'; echo 'npm notice a new version'",
      0,
      "12 passed, 0 failed",
    ],
    [
      "fails as npm test fails",
      "echo '11 passed, 1 failed'; echo 'npm error code 1' >&2; exit 1",
      1,
      "11 passed, 1 failed",
    ],
    ["fails where npm test fails, whatever it counted", "echo '12 passed, 0 failed'; exit 7", 7, "12 passed, 0 failed"],
    ["fails where npm test counts nothing", "echo 'nothing to do'", 1, "0 passed, 1 failed"],
  ] as const;
  test("no row is lost", () => expect(ROWS).toHaveLength(4));
  test.each(ROWS)("%s", async (_rule, npm, code, lastLine) => {
    await using folder = await temporaryFolder();
    const bin = join(folder.path, "bin");
    await mkdir(bin);
    await writeFile(join(bin, "npm"), `#!/bin/sh\n[ "$*" = test ] || exit 9\n${npm}\n`);
    await chmod(join(bin, "npm"), 0o755);
    const ran = await start(join(ROOT, ".ci", "run"), [], { PATH: `${bin}:/usr/bin:/bin` }).ended;
    expect([ran.code, ran.stdout.trimEnd().split("\n").at(-1)]).toEqual([code, lastLine]);
  });
});

describe("what a test run leaves behind", () => {
  test("is found by its mark, whoever its parent is, and nothing else is", async () => {
    const run = `run-of-test-${process.pid}`;
    expect(await leftoversOf(run)).toEqual([]);
    const left = spawn("sleep", ["1000"], {
      env: { PATH: process.env.PATH, TURNOUT_RUN: run },
      detached: true,
      stdio: "ignore",
    });
    const other = spawn("sleep", ["1000"], {
      env: { PATH: process.env.PATH, TURNOUT_RUN: `${run}0` },
      stdio: "ignore",
    });
    const known = [left, other].flatMap(({ pid }) => identify(pid ?? 0) ?? []);
    try {
      expect(await leftoversOf(run)).toEqual([{ process: known[0], commandLine: "sleep 1000" }]);
    } finally {
      for (const child of [left, other]) {
        child.kill("SIGKILL");
        await once(child, "exit");
      }
    }
    await untilGone(known);
    expect(await leftoversOf(run)).toEqual([]);
  });
});
