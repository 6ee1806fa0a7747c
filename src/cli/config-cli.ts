#!/usr/bin/env node
import "./config/node-version.ts";
import { runConfigCli } from "./config/program.ts";
import { realSeams } from "./config/real-seams.ts";

// What cannot be written is told where it is written (real-seams).
process.stdout.on("error", () => undefined);
process.exitCode = await runConfigCli(process.argv.slice(2), realSeams());
