import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type Clog, openClog } from "../../src/infra/clog/open-clog.ts";
import { RotatingFile } from "../../src/infra/clog/rotating-file.ts";
import { type ClogSettings, clogSettings } from "../../src/infra/config/clog-settings.ts";
import type { Clock } from "../../src/lib/seams.ts";
import { instantOf, minutes } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { NOON } from "../support/manual-clock.ts";
import { wallClock } from "../support/wall-clock.ts";

const MIB = 1024 * 1024;

interface Folder extends AsyncDisposable {
  readonly path: string;
  readonly file: string;
  /** Every number that was logged, in the order of the files. */
  numbers(): Promise<readonly number[]>;
  backups(): Promise<readonly string[]>;
}

async function aFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "turnout-rotate-"));
  const backups = async (): Promise<readonly string[]> =>
    (await readdir(path)).filter((name) => name.startsWith("app-")).sort();
  const text = async (name: string): Promise<string> => {
    const bytes = await readFile(join(path, name));
    return (name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString();
  };
  return {
    path,
    file: join(path, "app.log"),
    backups,
    numbers: async () => {
      const whole = (await Promise.all([...(await backups()), "app.log"].map(text))).join("");
      return whole
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as { i: number }).i);
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

const open = (filename: string, raw: Readonly<Record<string, unknown>>, errors: string[] = []): Promise<Clog> =>
  openClog(settingsOf(filename, raw), {
    service: "s",
    environment: "test",
    version: "1",
    clock: wallClock,
    stdout: { write: () => undefined },
    stderr: { write: (line) => void errors.push(line) },
  });
const settingsOf = (filename: string, raw: Readonly<Record<string, unknown>>): ClogSettings =>
  clogSettings.parse({ output: "file", filename, maxSize: "1MiB", maxBackups: 100, ...raw });

/** About 1.3 KiB each; fewer than 800 fit the buffer. */
function burst(clog: Clog, from: number, count: number): void {
  for (let i = from; i < from + count; i += 1) clog.info({ i, text: "x".repeat(1200) }, "line");
}

/** In portions that fit the buffer, each once the one before it stands in the file. */
async function say(clog: Clog, file: string, [from, count]: readonly [number, number]): Promise<void> {
  for (let at = from; at < from + count; at += 500) {
    const portion = Math.min(500, from + count - at);
    burst(clog, at, portion);
    const last = `"i":${at + portion - 1},`;
    await until(
      () =>
        readFile(file, "utf8").then(
          (text) => text.includes(last),
          () => false,
        ),
      (written) => written,
    );
  }
}

describe("[R107] rotation", () => {
  test.each([false, true])("loses no line and cuts none, compress %s", async (compress) => {
    await using folder = await aFolder();
    const clog = await open(folder.file, { compress });
    await say(clog, folder.file, [0, 4000]);
    await clog.close();
    expect(clog.dropped()).toBe(0);
    expect(await folder.numbers()).toEqual(Array.from({ length: 4000 }, (_, i) => i));
    const backups = await folder.backups();
    expect(backups.length).toBeGreaterThanOrEqual(4);
    expect(backups.every((name) => name.endsWith(compress ? ".log.gz" : ".log"))).toBe(true);
    for (const name of [...backups, "app.log"]) {
      const { size, mode } = await lstat(join(folder.path, name));
      expect(size).toBeLessThanOrEqual(MIB);
      expect(mode & 0o777).toBe(0o600);
    }
  });

  test("a file that was there is appended to, and counts", async () => {
    await using folder = await aFolder();
    for (const from of [0, 700]) {
      const clog = await open(folder.file, {});
      await say(clog, folder.file, [from, 700]);
      await clog.close();
    }
    expect(await folder.numbers()).toEqual(Array.from({ length: 1400 }, (_, i) => i));
    expect(await folder.backups()).toHaveLength(1);
  });

  test("keeps maxBackups files, the newest ones", async () => {
    await using folder = await aFolder();
    const clog = await open(folder.file, { maxBackups: 2, compress: true });
    await say(clog, folder.file, [0, 5000]);
    await clog.close();
    expect(await folder.backups()).toHaveLength(2);
    const numbers = await folder.numbers();
    expect(numbers.at(-1)).toBe(4999);
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 5000 - numbers.length + i));
  });

  test("[disk/full] where the file cannot be renamed it grows on, loses nothing, and says so once per try", async () => {
    await using folder = await aFolder();
    const inner = join(folder.path, "inner");
    await mkdir(inner);
    const errors: string[] = [];
    const clog = await open(join(inner, "app.log"), {}, errors);
    // Root may write anywhere, so the folder itself has to go.
    await say(clog, join(inner, "app.log"), [0, 400]);
    await rm(inner, { recursive: true });
    burst(clog, 400, 700);
    await until(
      () => errors.length,
      (count) => count > 0,
    );
    expect(clog.check()).toMatchObject({ status: "degraded", message: "log files cannot be rotated or tidied" });
    await clog.close();
    expect(clog.dropped()).toBe(0);
    expect(errors.map((line) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({
        level: "warn",
        module: "clog",
        message: "the log file cannot be rotated and grows on",
      }),
    ]);
  });
});

describe("what stands beside the file", () => {
  const rules = (filename: string) => ({ filename, maxSize: 100, maxBackups: 10, maxAge: minutes(60), compress: true });
  const at = (minute: number): Clock => ({ ...wallClock, now: () => instantOf(NOON + minute * 60_000) });
  const deps = (minute: number) => ({
    clock: at(minute),
    complain: (what: string, error: unknown) => {
      throw new Error(what, { cause: error });
    },
  });

  test("what is older than maxAge goes; what a crash left half compressed is done again; others' files stay", async () => {
    await using folder = await aFolder();
    const put = (name: string, text: string): Promise<void> => writeFile(join(folder.path, name), text);
    await put("app-2026-06-01T10-59-00.000Z-000.log", "old");
    await put("app-2026-06-01T10-58-00.000Z-000.log.gz", "old");
    await put("app-2026-06-01T11-30-00.000Z-000.log", "crashed");
    await put("app-2026-06-01T11-30-00.000Z-000.log.gz.part", "cra");
    await put("app-backup.log", "mine");
    await put("app-2026-06-01T10-00-00.000Z-000.txt", "mine");
    const file = await RotatingFile.open(rules(folder.file), deps(0));
    await file.close();
    expect(await folder.backups()).toEqual([
      "app-2026-06-01T10-00-00.000Z-000.txt",
      "app-2026-06-01T11-30-00.000Z-000.log.gz",
      "app-backup.log",
    ]);
    expect(gunzipSync(await readFile(join(folder.path, "app-2026-06-01T11-30-00.000Z-000.log.gz"))).toString()).toBe(
      "crashed",
    );
  });

  test("several rotations within a millisecond get names of their own, in order", async () => {
    await using folder = await aFolder();
    const file = await RotatingFile.open({ ...rules(folder.file), compress: false }, deps(0));
    for (const letter of "abcd") await file.write(Buffer.from(`${letter.repeat(80)}\n`), 0);
    await file.close();
    const found = await Promise.all((await folder.backups()).map((name) => readFile(join(folder.path, name), "utf8")));
    expect(found.map((text) => text[0])).toEqual(["a", "b", "c"]);
  });

  test("[SEC-49] a link in the file's place is not followed", async () => {
    await using folder = await aFolder();
    await writeFile(join(folder.path, "target"), "");
    await symlink(join(folder.path, "target"), folder.file);
    await expect(RotatingFile.open(rules(folder.file), deps(0))).rejects.toMatchObject({ code: "ELOOP" });
  });
});
