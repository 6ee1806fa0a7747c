#!/usr/bin/env node
import { chmod, stat } from "node:fs/promises";
import { join } from "node:path";

import { build, type Metafile } from "esbuild";

const ROOT = join(import.meta.dirname, "..");

/** Bundle → its entry. */
const BUNDLES: Readonly<Record<string, string>> = {
  "dist/turnout.mjs": "src/main.ts",
  "dist/test-operator.mjs": "test/support/operator.ts",
  "dist/config-cli.mjs": "src/cli/config-cli.ts",
};

/** Bundles that are shipped hold nothing of these: no test hook can reach production. */
const NOT_SHIPPED = ["test/", "deployment/"];

async function bundle(output: string, entry: string): Promise<void> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile: output,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22.19",
    sourcemap: "linked",
    legalComments: "linked",
    metafile: true,
    logLevel: "warning",
    // CommonJS packages inside an ES module ask for it.
    banner: {
      js: `import { createRequire as createRequireOfBundle } from "node:module"; const require = createRequireOfBundle(import.meta.url);`,
    },
  });
  refuseForeign(metafile, { output, entry });
  await chmod(join(ROOT, output), 0o755);
  console.log(`${output}: ${((await stat(join(ROOT, output))).size / 1e6).toFixed(1)} MB`);
}

function refuseForeign({ inputs }: Metafile, { output, entry }: { output: string; entry: string }): void {
  if (!entry.startsWith("src/")) return;
  const foreign = Object.keys(inputs).filter((input) => NOT_SHIPPED.some((folder) => input.startsWith(folder)));
  if (foreign.length > 0)
    throw new Error(`${output} must not hold ${foreign.join(", ")}: correct the imports of ${entry}`);
}

for (const [output, entry] of Object.entries(BUNDLES)) await bundle(output, entry);
