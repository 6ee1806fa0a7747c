// Runs first in every npm script, on a fresh clone too: built-ins of Node 20 only, no TypeScript. No "pre" scripts: npm leaves
// them out where .npmrc has ignore-scripts. After it the shell forgets where it found node (hash -r), for we may bring another.
// Installs the dependencies when package-lock.json asks for something else than what is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { alone } from "./alone.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const OLDEST_NODE = 20;
/** Oldest Node that runs the TypeScript files as they are (package.json, engines). */
const OLDEST_NODE_FOR_TYPESCRIPT = [22, 19];

const say = (line) => process.stderr.write(`${line}\n`);

function give(up) {
  say(up);
  process.exit(1);
}

/** What is installed, by npm's own record, is what the lock file names; optional packages may be of another platform. */
export function isInstalled(lock, record) {
  const wanted = Object.entries(lock.packages ?? {}).filter(([path]) => path !== "");
  const present = record.packages ?? {};
  const same = (a, b) => a?.version === b?.version && a?.integrity === b?.integrity;
  return (
    wanted.every(([path, entry]) => (path in present ? same(entry, present[path]) : isOptional(entry))) &&
    Object.keys(present).every((path) => path in lock.packages)
  );
}

const isOptional = (entry) => entry.optional === true || entry.devOptional === true;

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return {};
  }
}

const upToDate = () =>
  isInstalled(readJson(join(ROOT, "package-lock.json")), readJson(join(ROOT, "node_modules", ".package-lock.json")));

function install() {
  if (upToDate()) return;
  const why = existsSync(join(ROOT, "node_modules")) ? "package-lock.json changed" : "no node_modules yet";
  say(`turnout: installing dependencies (${why}; about 1 min, once per change of package-lock.json)`);
  const started = performance.now();
  // npm deletes node_modules first: it must not run on the node that lies in there.
  const path = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => !folder.endsWith(join("node_modules", ".bin")));
  const npm = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, PATH: path.join(delimiter) },
  });
  if (npm.error?.code === "ENOENT")
    give("turnout: npm is not on PATH. Install Node with npm, then run the command again.");
  if (npm.status !== 0) {
    give(
      "turnout: `npm ci` failed, see its message above. Usual causes: no way to the npm registry (try `npm ping`), " +
        "a full disk (try `df -h .`). Nothing half-installed is kept: run the command again once that is mended.",
    );
  }
  say(`turnout: dependencies installed in ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

function checkNode() {
  const own = spawnSync("node", ["--version"], { encoding: "utf8", env: withOwnNode() }).stdout ?? "";
  const [major = 0, minor = 0] = own.replace("v", "").split(".").map(Number);
  const [wantMajor, wantMinor] = OLDEST_NODE_FOR_TYPESCRIPT;
  if (major > wantMajor || (major === wantMajor && minor >= wantMinor)) return;
  give(
    `turnout: needs Node ${wantMajor}.${wantMinor} or newer; the npm package for this platform (${process.platform} ${process.arch}) ` +
      `does not bring one and PATH has ${own.trim() || "none"}. Install Node 24, then run the command again.`,
  );
}

function withOwnNode() {
  return { ...process.env, PATH: `${join(ROOT, "node_modules", ".bin")}${delimiter}${process.env.PATH ?? ""}` };
}

async function main() {
  if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE) {
    give(`turnout: Node ${process.versions.node} is too old to start with; install Node ${OLDEST_NODE} or newer.`);
  }
  if (process.platform !== "linux") say("turnout: only Linux is tried; on other systems use a Linux VM or container.");
  if (!upToDate()) {
    const name = `install-${createHash("sha256").update(ROOT).digest("hex").slice(0, 16)}`;
    await alone(name, {
      waits: () => say("turnout: another command is installing the dependencies; waiting for it"),
      work: async () => install(),
    });
  }
  checkNode();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
