import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { structural } from "../../src/api/crd.ts";
import { stageReference } from "../../src/api/stage-reference.ts";
import { STAGES } from "../../src/stages/registry.ts";

const text = stageReference(STAGES);
const section = (kind: string): string => text.split("\n## ").find((part) => part.startsWith(`${kind}\n`)) ?? "";

type Node = Readonly<Record<string, unknown>>;
const pathsOf = (node: Node, prefix = ""): readonly string[] =>
  Object.entries((node["properties"] ?? {}) as Readonly<Record<string, Node>>).flatMap(([name, field]) => [
    `${prefix}${name}`,
    ...pathsOf(field, `${prefix}${name}.`),
  ]);

describe("docs/stage-fields.md", () => {
  test.each(Object.entries(STAGES))("names every field of %s, with a sentence", (kind, { config }) => {
    const rows = section(kind)
      .split("\n")
      .filter((line) => /^\| \W*`/.test(line));
    const paths = pathsOf(structural(config));
    expect(paths.length).toBeGreaterThan(0);
    expect(rows.map((row) => /`([^`]+)`/.exec(row)?.[1])).toEqual(paths);
    expect(rows.filter((row) => /\|\s*\|$/.test(row))).toEqual([]);
  });

  test("says what is obligatory, what a duration is, and what goes together", () => {
    expect(section("redis")).toContain("| **`key`** | text, at most 512 characters |");
    expect(section("redis")).toContain("| `ttl` | duration |");
    expect(section("redis")).toContain("`publish needs either channel or stream`");
    expect(section("verify")).toContain("| `rounds` | 1 to 1000 |");
    expect(section("http")).toContain("`${stages.NAME.outputs.instances}`");
  });
});

describe("docs/stages.md", () => {
  const guide = readFileSync(join(import.meta.dirname, "..", "..", "docs", "stages.md"), "utf8");
  test("has a chapter on each kind", () => {
    const chapters = [...guide.matchAll(/^## ([a-z]+)$/gm)].map(([, name]) => name);
    expect(chapters).toEqual(["redis", "http", "verify", "wait", "approval"]);
    expect(new Set(chapters)).toEqual(new Set(Object.keys(STAGES)));
  });
});
