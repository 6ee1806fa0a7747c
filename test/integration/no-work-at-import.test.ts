import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const run = promisify(execFile);

/** In a process of its own: what is open, what was printed, whether it ends by itself. */
const IMPORT_ALL = `
const before = process.getActiveResourcesInfo().filter((kind) => !/^(?:Pipe|TTY|FS)/.test(kind));
for (const file of JSON.parse(process.argv[1])) await import(file);
// What a package puts off to the next turn of the loop is over by then; a timer or a socket is not.
for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
const after = process.getActiveResourcesInfo().filter((kind) => !/^(?:Pipe|TTY|FS)/.test(kind));
console.log(JSON.stringify({ before, after, listeners: process.eventNames().map(String) }));
`;

test("[R118] importing a component opens nothing, starts no timer, prints nothing and listens to no signal", async () => {
  const files = globSync("src/infra/**/*.ts", { cwd: ROOT }).map((file) => join(ROOT, file));
  expect(files.length).toBeGreaterThan(60);
  const child = ["--input-type=module", "-e", IMPORT_ALL, JSON.stringify(files)];
  const { stdout, stderr } = await run(process.execPath, child, { timeout: 20_000 });
  const { before, after, listeners } = JSON.parse(stdout) as Record<string, readonly string[]>;
  expect({ after, stderr }).toEqual({ after: before, stderr: "" });
  expect(listeners?.filter((name) => name.startsWith("SIG"))).toEqual([]);
}, 30_000);
