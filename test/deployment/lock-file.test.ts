import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const SEC_53_MOST_DIRECT = 15;

interface Entry {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const read = (path: string): unknown => JSON.parse(readFileSync(join(ROOT, path), "utf8"));

describe.each(["package-lock.json", "deployment/local/kubectl/package-lock.json"])("%s", (path) => {
  const { packages } = read(path) as { packages: Readonly<Record<string, Entry>> };
  const entries = Object.entries(packages);

  test("[SEC-53] every package stands there with version and integrity, and names no host", () => {
    expect(entries.length).toBeGreaterThan(1);
    const wrong = entries.filter(
      ([at, { version, integrity, resolved }]) => at !== "" && !(version && integrity && !resolved),
    );
    expect(wrong.map(([at]) => at)).toEqual([]);
  });

  // npm ci refuses a lock file that leaves out what a package names, be it for another platform (npm ci in an empty clone).
  test("every package that one of them names stands there too, for other platforms as well", () => {
    const missing = entries.flatMap(([at, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !isThere(packages, at, name))
        .map((name) => `${at} needs ${name}`),
    );
    expect(missing).toEqual([]);
  });
});

/** Node's way up: the package's own node_modules, then that of each folder above. */
function isThere(packages: Readonly<Record<string, Entry>>, at: string, name: string): boolean {
  for (let folder = at; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
    if (Object.hasOwn(packages, folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`)) return true;
    if (folder === "") return false;
  }
}

describe("package.json", () => {
  const { dependencies, devDependencies, optionalDependencies, scripts } = read("package.json") as Record<
    string,
    Record<string, string>
  >;

  test("[SEC-53] names few direct dependencies, each in one exact version", () => {
    expect(Object.keys(dependencies ?? {}).length).toBeLessThanOrEqual(SEC_53_MOST_DIRECT);
    const versions = Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies });
    expect(versions.length).toBeGreaterThan(10);
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  // .npmrc has ignore-scripts, under which npm runs no "pre" and "post" scripts.
  test("every script installs the dependencies itself, and then looks for node again", () => {
    const others = Object.entries(scripts ?? {}).filter(
      ([, line]) => !line.startsWith("node deployment/local/prepare.mjs && hash -r && "),
    );
    expect(Object.keys(scripts ?? {}).length).toBeGreaterThan(10);
    expect(others).toEqual([]);
  });
});
