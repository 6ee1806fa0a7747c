import { readFile } from "node:fs/promises";

import type { TestProject } from "vitest/node";

import { parseEnv } from "../../deployment/local/env-file.ts";
import { openEnvironment } from "../../deployment/local/environment.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** What stands in `DIR/env` of the local environment: KUBECONFIG, REDIS_URL, … */
    readonly env: Readonly<Record<string, string>>;
  }
}

/** One environment for all server tests of a run: the one that TURNOUT_ENV_FILE names, else one of its own. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.TURNOUT_ENV_FILE;
  if (given !== undefined) {
    project.provide("env", parseEnv(await readFile(given, "utf8")));
    return async () => {};
  }
  const environment = await openEnvironment({
    with: ["redis", "etcd", "mariadb", "kafka"],
    audit: true,
    print: (line) => console.error(line),
  });
  project.provide("env", environment.env);
  return () => environment.close();
}
