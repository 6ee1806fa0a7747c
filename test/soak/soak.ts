#!/usr/bin/env node
// Which of the long runs: the kit alone with --kit, else the operator at its work.
await import(process.argv.includes("--kit") ? "./kit.ts" : "./switches.ts");
