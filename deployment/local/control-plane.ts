import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { hexDigest } from "../../src/lib/digest.ts";
import { type Millis, minutes, seconds } from "../../src/lib/time.ts";
import { cached, cacheFolder, freeSpace } from "./cache.ts";
import { isExecutable, onPath, run } from "./command.ts";
import type { Machine } from "./machine.ts";
import { isDiskFull, PROBLEM } from "./problem.ts";
import { isAtLeast } from "./version.ts";

/** Folder of go.mod and go.sum, which pin every source that is built. */
const MODULE = join(import.meta.dirname, "control-plane");

const BINARIES = {
  etcd: { package: "go.etcd.io/etcd/server/v3", expected: minutes(1) },
  "kube-apiserver": { package: "k8s.io/kubernetes/cmd/kube-apiserver", expected: minutes(4) },
  "kube-controller-manager": { package: "k8s.io/kubernetes/cmd/kube-controller-manager", expected: minutes(1) },
} as const satisfies Record<string, { readonly package: string; readonly expected: Millis }>;
export type ControlPlaneBinary = keyof typeof BINARIES;
const NAMES = Object.keys(BINARIES) as ControlPlaneBinary[];

/** Path of each server: from KUBEBUILDER_ASSETS, from the cache, or built into it. */
export async function controlPlaneBinaries(machine: Machine): Promise<Readonly<Record<ControlPlaneBinary, string>>> {
  const found: Partial<Record<ControlPlaneBinary, string>> = {};
  for (const name of NAMES) found[name] = await controlPlaneBinary(name, machine);
  return found as Record<ControlPlaneBinary, string>;
}

/** Path of one of them: etcd is the configuration centre's server as well. */
export async function controlPlaneBinary(name: ControlPlaneBinary, machine: Machine): Promise<string> {
  const pins = await readPins();
  return (await fromAssets(name, pins, machine)) ?? (await fromCache(name, pins, machine));
}

export interface Pins {
  readonly goMod: string;
  readonly goSum: string;
  /** `v1.36.2` */
  readonly kubernetes: string;
  /** `v3.6.14` */
  readonly etcd: string;
  /** Oldest Go that builds it: `1.26`. */
  readonly go: string;
}

export async function readPins(): Promise<Pins> {
  const goMod = await readFile(join(MODULE, "go.mod"), "utf8");
  const goSum = await readFile(join(MODULE, "go.sum"), "utf8");
  const pin = (pattern: RegExp): string => {
    const value = pattern.exec(goMod)?.[1];
    if (value === undefined) throw new Error(`${MODULE}/go.mod has no line that matches ${pattern}`);
    return value;
  };
  return {
    goMod,
    goSum,
    kubernetes: pin(/^\s*k8s\.io\/kubernetes (v\S+)/m),
    etcd: pin(/^\s*go\.etcd\.io\/etcd\/server\/v3 (v\S+)/m),
    go: pin(/^go (\d+\.\d+)/m),
  };
}

async function fromAssets(name: ControlPlaneBinary, pins: Pins, machine: Machine): Promise<string | null> {
  const folder = machine.variables.KUBEBUILDER_ASSETS;
  if (!folder) return null;
  const file = join(folder, name);
  if (!(await isExecutable(file))) return null;
  if (name === "etcd") return file;
  const { output } = await run({ file, args: ["--version"], timeout: seconds(20), env: {} }, machine);
  const minor = (version: string): string => version.split(".").slice(0, 2).join(".");
  const version = /v\d+\.\d+\.\d+/.exec(output)?.[0] ?? "of unknown version";
  if (minor(version) === minor(pins.kubernetes)) return file;
  machine.print(`KUBEBUILDER_ASSETS: ${name} is ${version}, not ${minor(pins.kubernetes)}; it is left out`);
  return null;
}

/** Flags that make the same sources give the same bytes, and the version that the servers report. */
function buildFlags({ kubernetes }: Pins): readonly string[] {
  const [major = "", minor = ""] = kubernetes.slice(1).split(".");
  const stamps = { gitVersion: kubernetes, gitMajor: major, gitMinor: minor, gitTreeState: "clean" };
  const stamped = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((at) =>
    Object.entries(stamps).map(([name, value]) => `-X ${at}.${name}=${value}`),
  );
  return ["-trimpath", "-buildvcs=false", "-pgo=off", "-ldflags", ["-s", "-w", ...stamped].join(" ")];
}

const BUILD_ENV = { CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly", GOWORK: "off" };

/** Another one for every change of version, source or flag: what was built of other things is never taken for this. */
export function cacheKey(name: ControlPlaneBinary, pins: Pins): string {
  const digest = hexDigest(pins.goMod, pins.goSum, BINARIES[name].package, ...buildFlags(pins), process.arch);
  return `${name}-${digest.slice(0, 16)}`;
}

async function fromCache(name: ControlPlaneBinary, pins: Pins, machine: Machine): Promise<string> {
  const flags = buildFlags(pins);
  const what = BINARIES[name];
  const title = `${name} ${name === "etcd" ? pins.etcd : pins.kubernetes}`;
  const entry = { key: cacheKey(name, pins), title, how: "build", expected: what.expected } as const;
  const folder = await cached(
    entry,
    async (into) => {
      const compiler = await findCompiler(pins, machine);
      const logFile = join(cacheFolder(machine.variables), `${name}-build.log`);
      const command = compiler(["build", ...flags, "-o"], { into, name, package: what.package });
      const { code, output } = await run({ ...command, timeout: minutes(60), logFile }, machine);
      if (code === 0) return;
      if (isDiskFull(output))
        throw PROBLEM.diskFull({ path: "the build of the control plane", free: await freeSpace(into) });
      throw PROBLEM.buildFailed({
        what: title,
        tail: output.trimEnd().split("\n").slice(-12).join("\n"),
        log: logFile,
      });
    },
    machine,
  );
  return join(folder, name);
}

interface BuildTarget {
  readonly into: string;
  readonly name: string;
  readonly package: string;
}
interface BuildCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}
/** `go` arguments up to `-o`, and where the result goes → the command that does it. */
type Compiler = (args: readonly string[], target: BuildTarget) => BuildCommand;

async function findCompiler(pins: Pins, machine: Machine): Promise<Compiler> {
  const go = (await onPath("go", machine)) ?? ((await isExecutable(USUAL_GO)) ? USUAL_GO : null);
  const version = go === null ? null : await goVersion(go, machine);
  if (go !== null && version !== null && isAtLeast(version, pins.go)) return withGo(go);
  for (const engine of ["docker", "podman"]) {
    const file = await onPath(engine, machine);
    if (file === null) continue;
    const { code } = await run({ file, args: ["info"], timeout: seconds(20) }, machine);
    if (code === 0) return withContainer(file, { image: `golang:${pins.go}`, modules: cacheFolder(machine.variables) });
  }
  throw PROBLEM.noControlPlane({ go: version === null ? null : `Go ${version}`, wanted: pins.go });
}

/** Where the Go project's own archive is unpacked. */
const USUAL_GO = "/usr/local/go/bin/go";

async function goVersion(file: string, machine: Machine): Promise<string | null> {
  const { stdout } = await run(
    { file, args: ["version"], timeout: seconds(20), env: { GOTOOLCHAIN: "local" } },
    machine,
  );
  return /go(\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1] ?? null;
}

function withGo(go: string): Compiler {
  return (args, target) => ({
    file: go,
    args: [...args, join(target.into, target.name), target.package],
    cwd: MODULE,
    env: BUILD_ENV,
  });
}

/** The same build in a container: no server ever runs there, so that the environment is one and the same everywhere. */
export function withContainer(engine: string, { image, modules }: { image: string; modules: string }): Compiler {
  const variables = Object.entries({ ...BUILD_ENV, HOME: "/tmp", GOPATH: "/modules/go", GOCACHE: "/modules/go-build" });
  return (args, target) => ({
    file: engine,
    args: [
      ["run", "--rm", "--user", `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`, "--workdir", "/source"],
      ["--volume", `${MODULE}:/source:ro`, "--volume", `${target.into}:/out`, "--volume", `${modules}:/modules`],
      variables.flatMap(([name, value]) => ["--env", `${name}=${value}`]),
      ["--env", "GOPROXY", image, "go", ...args, `/out/${target.name}`, target.package],
    ].flat(),
    cwd: MODULE,
    env: {},
  });
}
