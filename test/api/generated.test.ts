import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { COMPONENT_NAMES } from "../../src/infra/config/components.ts";
import { generated } from "../../src/generate.ts";
import { REQUIRED_POLICIES } from "../../src/api/admission.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const FILES = [...generated()].map(([path, text]) => ({ path, text }));

describe("what is made from schemas, tables and registry", () => {
  test("no file is lost", () => {
    expect(FILES.map(({ path }) => path).toSorted()).toEqual([
      "admission/turnout-names.yaml",
      "admission/turnout-releases.yaml",
      "crds/switchtasks.yaml",
      "crds/tenantstates.yaml",
      "docs/config-reference.md",
      ...COMPONENT_NAMES.map((name) => `docs/config-templates/${name}.jsonc`).toSorted(),
      "docs/errors.md",
      "docs/stage-fields.md",
      "docs/state-machine.md",
    ]);
  });

  test.each(FILES)("$path is what its source says", ({ path, text }) => {
    expect(readFileSync(join(ROOT, path), "utf8")).toBe(text);
  });

  test("[SEC-14] every policy that vouches for names is there and denies", () => {
    for (const name of REQUIRED_POLICIES) {
      const { text = "" } = FILES.find(({ path }) => path === `admission/${name}.yaml`) ?? {};
      expect(text).toContain("validationActions:\n    - Deny");
      expect(text).toContain("failurePolicy: Fail");
    }
  });
});
