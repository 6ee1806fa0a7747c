import { readdirSync, readFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT, sourcesIn } from "./source.ts";

const SOURCES = [...sourcesIn("src"), ...sourcesIn("deployment")];
const TESTS = sourcesIn("test");
const WRITTEN_BY_TOOLS = new Set(["deployment/local/control-plane/go.sum"]);

describe("the shape of files", () => {
  test("no file under src, test or deployment has more than 400 lines", () => {
    const files = ["src", "test", "deployment"].flatMap(filesIn).filter((path) => !WRITTEN_BY_TOOLS.has(path));
    expect(files.length).toBeGreaterThan(SOURCES.length + TESTS.length);
    const long = files.map((path) => ({ path, lines: linesOf(path) })).filter(({ lines }) => lines > 400);
    expect(long.map(({ path, lines }) => `${path} ${lines}`)).toEqual([]);
  });

  test("names are kebab-case and say what is inside: no utils, helpers, types, index", () => {
    const wrong = [...SOURCES, ...TESTS].filter(({ path }) => {
      const name = basename(path);
      return (
        !/^[a-z0-9]+(?:[-.][a-z0-9]+)*\.ts$/.test(name) ||
        /^(?:utils?|helpers?|types|index|common|misc)(?:\.d)?\.ts$/.test(name)
      );
    });
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test("no any, no unexplained suppression, no promise of later work", () => {
    const patterns = [
      /:\s*any\b|\bas any\b|<any>/,
      /@ts-(?:ignore|expect-error|nocheck)/,
      /oxlint-disable|eslint-disable|prettier-ignore/,
      /\b(?:TODO|FIXME|XXX)\b/,
    ];
    const wrong = SOURCES.filter(
      ({ text, code }) => patterns[0]?.test(code) === true || patterns.slice(1).some((pattern) => pattern.test(text)),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test("no test is skipped, focused or put off", () => {
    const wrong = TESTS.filter(
      ({ code, path }) =>
        !path.startsWith("test/architecture/") && /\b(?:test|it|describe)\.(?:skip|only|todo|fails)\b/.test(code),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test("no test mocks a module", () => {
    expect(
      TESTS.filter(
        ({ code, path }) => !path.startsWith("test/architecture/") && /\bvi\.(?:mock|doMock|hoisted)\b/.test(code),
      ).map(({ path }) => path),
    ).toEqual([]);
  });

  test("a folder opens with two lines: what lives here, what may not", () => {
    const top = foldersIn("src")
      .filter((name) => name !== "infra")
      .map((name) => `src/${name}`);
    const rooms = [...top, ...foldersIn("src/infra").map((name) => `src/infra/${name}`)];
    const silent = rooms.filter((room) => {
      const opening = new RegExp(`^(?:#!.*\\n)?// ${basename(room)}: .+\\n// .+`);
      return !SOURCES.some(({ path, text }) => path.startsWith(`${room}/`) && opening.test(text));
    });
    expect(rooms.length).toBeGreaterThan(10);
    expect(silent).toEqual([]);
  });
});

const foldersIn = (folder: string): readonly string[] =>
  readdirSync(join(ROOT, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .filter((name) => SOURCES.some(({ path }) => path.startsWith(`${folder}/${name}/`)));

const filesIn = (folder: string): readonly string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort();

const linesOf = (path: string): number => readFileSync(join(ROOT, path), "utf8").split("\n").length - 1;
