import { describe, expect, test } from "vitest";
import { type Import, type SourceFile, sourcesIn } from "./source.ts";

/** The rooms of src/. Files directly in src/ are the composition roots: they may import everything. */
const FOLDERS = [
  "lib",
  "domain",
  "api",
  "kube",
  "stages",
  "infra",
  "receiver",
  "client",
  "controllers",
  "cli",
] as const;
type Folder = (typeof FOLDERS)[number];

/** `all`: anything of it; `types`: type-only imports; a list: these files, `types` of the others. */
type Right = "all" | "types" | readonly string[];

/** Who may import whom (docs/architecture.md). What is not here is forbidden. */
const TABLE: Readonly<Record<Folder, Readonly<Partial<Record<Folder, Right>>>>> = {
  lib: {},
  domain: { lib: "all" },
  api: { lib: "all", domain: "all" },
  kube: { lib: "all" },
  infra: { lib: "all" },
  stages: { lib: "all", domain: ["templates.ts"], api: "types", infra: "types" },
  receiver: { lib: "all", infra: "types" },
  client: { lib: "all", domain: "all", api: "all", kube: "all", stages: ["registry.ts"] },
  controllers: {
    lib: "all",
    domain: "all",
    api: "all",
    kube: "all",
    stages: ["stage.ts", "registry.ts"],
    infra: "types",
  },
  cli: {
    lib: "all",
    domain: "all",
    api: "all",
    kube: "all",
    stages: ["registry.ts"],
    infra: "all",
    client: "all",
    receiver: "all",
  },
};
/** Components of the kit see each other's types only, and only of these; `boot` puts all together. */
const SEEN_BY_COMPONENTS = ["clog", "metrics", "config", "coord", "egress", "health"] as const;

/** Clients of vendors stay inside the one place that knows them. */
const VENDORS: Readonly<Record<string, readonly string[]>> = {
  undici: ["src/kube/", "src/infra/egress/", "src/infra/coord/", "src/infra/metrics/otlp-sender.ts"],
  "@grpc/grpc-js": ["src/infra/coord/", "src/infra/metrics/"],
  "@opentelemetry/api": ["src/infra/metrics/"],
  "@opentelemetry/sdk-trace": ["src/infra/metrics/"],
  "@opentelemetry/sdk-metrics": ["src/infra/metrics/"],
  "@opentelemetry/otlp-transformer": ["src/infra/metrics/"],
  ioredis: ["src/infra/cache/"],
  kysely: ["src/infra/db/"],
  mysql2: ["src/infra/db/"],
  "@platformatic/kafka": ["src/infra/mq/"],
  pino: ["src/infra/clog/"],
  "prom-client": ["src/infra/metrics/"],
  "@kubernetes/client-node": ["src/kube/connection.ts"],
  zod: ["src/api/", "src/stages/", "src/infra/config/", "src/receiver/"],
  yaml: ["src/generate.ts", "src/cli/"],
  commander: ["src/cli/"],
};

const SOURCES = sourcesIn("src");
const folderOf = (path: string): Folder | null => FOLDERS.find((folder) => path.startsWith(`src/${folder}/`)) ?? null;
const componentOf = (path: string): string => path.split("/")[2] ?? "";

function verdict(from: SourceFile, to: Import): string | null {
  const [own, other] = [folderOf(from.path), folderOf(to.path)];
  if (own === null) return null;
  if (other === null) return `${from.path} imports ${to.path}: nothing imports a composition root`;
  if (own === "infra" && other === "infra") return betweenComponents(from, to);
  if (own === "stages" && other === "stages") return betweenKinds(from, to);
  if (own === other) return null;
  const right = TABLE[own][other];
  if (right === "all") return null;
  if (right === undefined) return `${from.path} imports ${to.path}: ${own} may not see ${other}`;
  const file = to.path.slice(`src/${other}/`.length);
  if (to.typeOnly || (Array.isArray(right) && right.includes(file))) return null;
  return `${from.path} imports ${to.path}: of ${other}, ${own} may see types only`;
}

function betweenComponents(from: SourceFile, to: Import): string | null {
  const [own, other] = [componentOf(from.path), componentOf(to.path)];
  if (own === other || own === "boot") return null;
  const seen: readonly string[] = SEEN_BY_COMPONENTS;
  if (to.typeOnly && seen.includes(other)) return null;
  return `${from.path} imports ${to.path}: a component sees only types of ${seen.join(", ")}`;
}

/** A kind sees the contract and files of its own name; the registry sees the kinds. */
function betweenKinds(from: SourceFile, to: Import): string | null {
  if (from.path === "src/stages/registry.ts" || to.path === "src/stages/stage.ts" || to.typeOnly) return null;
  const kind = (from.path.split("/").at(-1) ?? "").replace(/(-.*)?\.ts$/, "");
  const file = to.path.split("/").at(-1) ?? "";
  return file.startsWith(kind) ? null : `${from.path} imports ${to.path}: kinds do not know each other`;
}

describe("the layout is the architecture", () => {
  test("there are sources to look at", () => {
    expect(SOURCES.length).toBeGreaterThan(80);
    expect(SOURCES.flatMap(({ imports }) => imports).length).toBeGreaterThan(200);
  });

  test("every import stands in the import table", () => {
    const wrong = SOURCES.flatMap((file) => file.imports.flatMap((to) => verdict(file, to) ?? []));
    expect(wrong).toEqual([]);
  });

  test("no import cycle, type-only imports included", () => {
    expect(cyclesIn(SOURCES)).toEqual([]);
  });

  test("vendor clients are imported only where they are known", () => {
    const wrong = SOURCES.flatMap(({ path, packages }) =>
      packages.flatMap((name) => {
        const allowed = VENDORS[name];
        if (name.startsWith("node:")) return [];
        if (allowed === undefined) return [`${path} imports ${name}, which no room owns`];
        return allowed.some((prefix) => path.startsWith(prefix))
          ? []
          : [`${path} imports ${name}, which belongs to ${allowed.join(", ")}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test("domain uses no package and no node built-in; lib only node's digests", () => {
    const used = SOURCES.filter(({ path }) => path.startsWith("src/domain/") || path.startsWith("src/lib/")).flatMap(
      ({ path, packages }) => packages.map((name) => `${path} ${name}`),
    );
    expect(used).toEqual(["src/lib/digest.ts node:crypto"]);
  });

  test("a folder's import table names only folders that exist", () => {
    const missing = FOLDERS.filter((folder) => !SOURCES.some(({ path }) => path.startsWith(`src/${folder}/`)));
    expect(missing).toEqual(["client"]);
  });
});

/** Each cycle once, as the files of it. */
function cyclesIn(files: readonly SourceFile[]): readonly string[] {
  const next = new Map(files.map(({ path, imports }) => [path, imports.map((to) => to.path)]));
  const state = new Map<string, "open" | "done">();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
      return;
    }
    state.set(path, "open");
    for (const to of next.get(path) ?? []) visit(to, [...trail, path]);
    state.set(path, "done");
  };
  for (const { path } of files) visit(path, []);
  return cycles;
}
