import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EXIT } from "../../src/cli/config/failure.ts";
import { cliOver } from "../support/config-cli-rig.ts";
import { aFolder } from "../support/config-rig.ts";
import { MemoryCentre } from "../support/memory-centre.ts";

const GUIDE = await readFile("docs/config.md", "utf8");
const COMMANDS = [...GUIDE.matchAll(/^config-cli (.*)$/gm)].map(([, line = ""]) => line.replace(/ +# .*$/, ""));

/** Words of a line as a shell has them, single quotes included. */
const wordsOf = (line: string): readonly string[] =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain = ""]) => quoted ?? plain);

test("every command of the guide does what it says, one after the other", async () => {
  await using folder = await aFolder();
  const centre = new MemoryCentre();
  const cli = cliOver(centre);
  const failed: string[] = [];
  for (const line of COMMANDS) {
    const revision = String(centre.revision - 1);
    const words = wordsOf(line).map((word) =>
      word === "REVISION" ? revision : word === "exported" ? join(folder.path, word) : word,
    );
    const { code, talk } = await cli.run(...words);
    if (code !== 0) failed.push(`${line}: ${code} ${talk}`);
  }
  expect(COMMANDS.length).toBeGreaterThanOrEqual(17);
  expect(failed).toEqual([]);
});

test("the guide's exit codes are those of the program", () => {
  const rows = [...GUIDE.matchAll(/^\| (\d) \| /gm)].map(([, code]) => Number(code));
  expect(rows).toEqual(Object.values(EXIT));
});

test("every command that there is stands in the guide", async () => {
  const { out } = await cliOver(new MemoryCentre()).run("--help");
  const names = [...out.matchAll(/^ {2}([a-z]+) .*(?:\[|<)/gm)]
    .map(([, name = ""]) => name)
    .filter((name) => name !== "help");
  expect(names.length).toBeGreaterThan(14);
  expect(names.filter((name) => !new RegExp(`config-cli ${name}\\b`).test(GUIDE))).toEqual([]);
});
