import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLog, type OpenedLog } from "../../src/infra/clog/log.ts";
import { until } from "../support/egress/until.ts";
import { wallClock } from "../support/wall-clock.ts";

const open = (fd: number): OpenedLog => openLog({ level: "info", clock: wallClock, destination: { fd } });

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "turnout-log-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("every line reaches the file by the time the log is closed", () =>
  inFolder(async (folder) => {
    const file = join(folder, "log");
    const fd = openSync(file, "w");
    const log = open(fd);
    for (let i = 0; i < 500; i += 1) log.info({ i }, "line");
    await log.close();
    await log.close();
    closeSync(fd);
    const numbers = (await readFile(file, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { i: number }).i);
    expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(log.dropped()).toBe(0);
  }));

test("[disk/full] a destination that takes nothing costs lines, which are counted, and no throw", async () => {
  const fd = openSync("/dev/full", "w");
  const log = open(fd);
  log.error({}, "nobody will read this");
  expect(
    await until(
      () => log.dropped(),
      (count) => count > 0,
    ),
  ).toBeGreaterThan(0);
  log.error({}, "nor this");
  await log.close();
  closeSync(fd);
});

test("[disk/slow] a reader that stalls blocks nobody, not even the end: 1 MiB waits, the rest is dropped and counted", () =>
  inFolder(async (folder) => {
    const fifo = join(folder, "fifo");
    execFileSync("mkfifo", [fifo]);
    // Open for both directions, so that opening does not wait for the reader that comes late.
    const fd = openSync(fifo, "r+");
    const log = open(fd);
    for (let i = 0; i < 3000; i += 1) log.info({ text: "x".repeat(2000) }, "line");
    expect(log.dropped()).toBeGreaterThan(1000);
    expect(log.dropped()).toBeLessThan(3000);
    let turns = 0;
    setImmediate(() => (turns += 1));
    await until(
      () => turns,
      (count) => count === 1,
    );
    await log.close();
    const stalled = log.dropped();
    const reader = spawn("cat", [fifo], { stdio: ["ignore", "ignore", "ignore"] });
    await once(reader, "spawn");
    await log.close();
    closeSync(fd);
    expect(await once(reader, "exit")).toEqual([0, null]);
    expect(log.dropped()).toBe(stalled);
  }));
