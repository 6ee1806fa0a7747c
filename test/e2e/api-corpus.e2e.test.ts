import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { openKubectl } from "../../deployment/demo/kubectl.ts";
import { applyManifests } from "../../deployment/local/apply.ts";
import { type Machine, openMachine } from "../../deployment/local/machine.ts";
import { type ApiPeople, openApiPeople, plain } from "../support/api-person.ts";
import { refusal } from "../support/person.ts";

// Every file of the corpus breaks one rule, which its first line names; its second line is what the API server says to it.

const ROOT = join(import.meta.dirname, "..", "..");
const CORPUS = join(ROOT, "test", "corpus", "manifests");

interface Bad {
  readonly file: string;
  readonly rule: string;
  readonly says: string;
}

const BAD: readonly Bad[] = readdirSync(CORPUS).map((file) => {
  const [rule = "", says = ""] = readFileSync(join(CORPUS, file), "utf8").split("\n");
  return { file, rule: rule.slice("# ".length), says: says.slice("# says: ".length) };
});

let people: ApiPeople;
let machine: Machine;
const told = new Map<string, string>();

beforeAll(async () => {
  const env = inject("env");
  await applyManifests(env, [join(ROOT, "crds"), join(ROOT, "admission")]);
  people = await openApiPeople(env["KUBECONFIG_ADMIN"] ?? "");
  machine = await openMachine({ print: () => {} });
  const global = ["--kubeconfig", env["KUBECONFIG_ADMIN"] ?? ""];
  const kubectl = openKubectl({ file: env["KUBECTL"] ?? "kubectl", global, env, machine });
  // One kubectl for all: it goes on to the next file after a refusal.
  const output = await refusal(kubectl.run("create", "-n", "default", "--dry-run=server", "-f", CORPUS));
  for (const line of output.split("\n")) {
    const refused = /error when creating "(?:[^"]*\/)?([^/"]+\.yaml)": (.*)$/.exec(line);
    const unknown = /from "(?:[^"]*\/)?([^/"]+\.yaml)": (.*)$/.exec(line);
    const found = refused ?? unknown;
    if (found !== null) told.set(found[1] ?? "", plain(found[2] ?? ""));
  }
});
afterAll(async () => {
  await people[Symbol.asyncDispose]();
  await machine[Symbol.asyncDispose]();
});

describe("a bad manifest is refused at once, with words that say where and what", () => {
  test("no file is lost", () => expect(BAD).toHaveLength(99));
  test.each(BAD)("$rule ($file)", ({ file, says }) => expect(told.get(file)).toBe(says));
});

describe("[R1] the samples are accepted as they stand", () => {
  const SAMPLES = join(ROOT, "config", "samples");
  const files = readdirSync(SAMPLES, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".yaml"));
  test("there are some", () => expect(files.length).toBeGreaterThanOrEqual(6));
  test.each(files)("%s", async (file) => {
    const documents = parseAllDocuments(readFileSync(join(SAMPLES, file), "utf8")).map(
      (document) => document.toJS() as Readonly<Record<string, unknown>>,
    );
    expect(documents.length).toBeGreaterThan(0);
    for (const document of documents) {
      const object = { ...document, metadata: { ...(document["metadata"] as object), namespace: "default" } };
      const where = { kind: "switchtasks", namespace: "default" } as const;
      // Who asks for a switch says so in their own name.
      const { requestedBy } = document["spec"] as { readonly requestedBy?: string };
      const asker = requestedBy === undefined ? people.as() : people.as(requestedBy, ["system:masters"]);
      expect(await asker.create(where, object, { dryRun: true })).toMatchObject({ code: 201, message: "" });
    }
  });
});
