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

/** Which packages a kit loads whose settings send nothing to a collector, and which one whose settings do. */
const LOADED = `
import { registerHooks } from "node:module";
const loaded = new Set();
registerHooks({
  resolve: (name, context, next) => {
    if (name.startsWith("@opentelemetry/")) loaded.add(name);
    return next(name, context);
  },
});
const [root] = JSON.parse(process.argv[1]);
await import(root + "/src/infra/boot/open-kit.ts");
await import(root + "/src/operator.ts");
const { openTelemetry } = await import(root + "/src/infra/metrics/open-telemetry.ts");
const { metricsSettings } = await import(root + "/src/infra/config/metrics-settings.ts");
await openTelemetry(metricsSettings.parse({}), {});
const before = [...loaded];
await openTelemetry(metricsSettings.parse({ enableTracing: true, otlpEndpoint: "127.0.0.1:1" }), {
  about: {},
  clock: { now: () => 0, monotonic: () => 0 },
});
console.log(JSON.stringify({ before, after: loaded.has("@opentelemetry/sdk-trace") }));
`;

test("[R109] OpenTelemetry is loaded only where the settings send something to a collector", async () => {
  const child = ["--input-type=module", "-e", LOADED, JSON.stringify([ROOT])];
  const { stdout } = await run(process.execPath, child, { timeout: 20_000 });
  // The registry of series (prom-client) brings the interfaces along; they do nothing.
  expect(JSON.parse(stdout)).toEqual({ before: ["@opentelemetry/api"], after: true });
}, 30_000);

test("[R118] importing a component opens nothing, starts no timer, prints nothing and listens to no signal", async () => {
  const files = globSync("src/infra/**/*.ts", { cwd: ROOT }).map((file) => join(ROOT, file));
  expect(files.length).toBeGreaterThan(60);
  const child = ["--input-type=module", "-e", IMPORT_ALL, JSON.stringify(files)];
  const { stdout, stderr } = await run(process.execPath, child, { timeout: 20_000 });
  const { before, after, listeners } = JSON.parse(stdout) as Record<string, readonly string[]>;
  expect({ after, stderr }).toEqual({ after: before, stderr: "" });
  expect(listeners?.filter((name) => name.startsWith("SIG"))).toEqual([]);
}, 30_000);
