#!/usr/bin/env node
// Loaded only where it can run: an older Node fails inside a library, and would end with the code that means "differences".
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`config-cli needs Node 22.19 or later, this is ${process.versions.node}\n`);
  process.exit(2);
}
const [{ runConfigCli }, { realSeams }] = await Promise.all([
  import("./config/program.ts"),
  import("./config/real-seams.ts"),
]);
// What cannot be written is told where it is written (real-seams).
process.stdout.on("error", () => undefined);
process.exitCode = await runConfigCli(process.argv.slice(2), realSeams());
