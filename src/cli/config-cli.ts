#!/usr/bin/env node
import { runConfigCli } from "./config/program.ts";
import { realSeams } from "./config/real-seams.ts";

// A reader that stops reading, such as `head`, ends the writing quietly.
process.stdout.on("error", () => process.exit(0));
process.exitCode = await runConfigCli(process.argv.slice(2), realSeams());
