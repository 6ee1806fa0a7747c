import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkSet } from "../../../src/infra/config/check-tree.ts";
import {
  COMPONENT_NAMES,
  componentOf,
  componentsOf,
  hasComponent,
  lies,
} from "../../../src/infra/config/components.ts";
import { checkLayers } from "../../../src/infra/config/check-layers.ts";
import { defaultsOf, type FieldDoc, fieldsOf } from "../../../src/infra/config/field-docs.ts";
import { readJson } from "../../../src/infra/config/json-text.ts";
import { ENVIRONMENTS, GLOBAL, SERVICES } from "../../../src/infra/config/services.ts";
import { templateOf } from "../../../src/infra/config/template.ts";
import { formatFileProblem, readTree } from "../../../src/infra/config/tree.ts";
import { fromFile } from "../../../src/cli/config/centre-set.ts";
import { aFolder } from "../../support/config-rig.ts";

/** Problems of a tree with these files, without the folder's own name. */
async function problemsOf(files: Readonly<Record<string, string | Uint8Array>>): Promise<readonly string[]> {
  await using folder = await aFolder();
  for (const [file, text] of Object.entries(files)) await folder.put(file, text);
  const { files: read, problems } = await readTree(folder.path);
  return [...problems, ...checkSet(read.map(fromFile), "file")].map((one) =>
    formatFileProblem(one).replace(`${folder.path}/`, ""),
  );
}
const CACHE = "dev/im-repo/cache.json";

describe("[R99] [F32] the shipped tree", () => {
  test("every file of it is valid", async () => {
    const { files, problems } = await readTree("config");
    expect([...problems, ...checkSet(files.map(fromFile), "file")].map(formatFileProblem)).toEqual([]);
    expect(files.length).toBeGreaterThan(60);
  });

  test("every environment has every component of every service, by itself or from the global layer", async () => {
    const { files } = await readTree("config");
    const has = (env: string, layer: string, component: string): boolean =>
      files.some(({ key }) => key.env === env && key.layer === layer && key.component === component);
    const missing = ENVIRONMENTS.flatMap((env) =>
      SERVICES.flatMap((service) =>
        componentsOf(service)
          .filter(
            (component) =>
              !has(env, service, component) ||
              (component !== "db" && hasComponent(GLOBAL, component) && !has(env, GLOBAL, component)),
          )
          .map((component) => `${env}/${service}/${component}`),
      ),
    );
    expect(missing).toEqual([]);
  });

  test("no two services of an environment listen on one port", async () => {
    const { files } = await readTree("config");
    for (const env of ENVIRONMENTS) {
      const ports = files.flatMap(({ key, document: { value } }) => {
        if (key.env !== env || typeof value !== "object" || value === null) return [];
        const { listenAddr, servicePort, listen } = value as {
          listenAddr?: string;
          servicePort?: number;
          listen?: { port: number };
        };
        return [listenAddr?.split(":").at(-1), servicePort, listen?.port].flatMap((port) =>
          port === undefined ? [] : [String(port)],
        );
      });
      expect(ports.length).toBeGreaterThan(8);
      expect(new Set(ports).size).toBe(ports.length);
    }
  });
});

describe("[R100] [R103] bad files, each with file, line, column, value and what is allowed", () => {
  test.each<readonly [title: string, file: string, text: string | Uint8Array, says: string]>([
    ["a wrong type", CACHE, '{\n  "db": "one"\n}', `${CACHE}:2:3: cache.db: "one" is not a whole number from 0 to 15`],
    [
      "an unknown key",
      CACHE,
      '{"polSize": 1}',
      `${CACHE}:1:2: cache.polSize: is not a setting; did you mean poolSize?`,
    ],
    [
      "a duration without unit",
      CACHE,
      '{"readTimeout": "5"}',
      `${CACHE}:1:2: cache.readTimeout: "5" is not a duration in range (allowed: a duration such as 5s or 10m, from 1ms to 1m)`,
    ],
    [
      "a duration out of range",
      CACHE,
      '{"readTimeout": "2m"}',
      `${CACHE}:1:2: cache.readTimeout: "2m" is not a duration in range (allowed: a duration such as 5s or 10m, from 1ms to 1m)`,
    ],
    [
      "a size without unit",
      "dev/im-task/mq.json",
      '{"producer": {"batchSize": "16"}}',
      'dev/im-task/mq.json:1:15: mq.producer.batchSize: "16" is not a size in range (allowed: a size such as 16KiB or 1MiB, from 0B to 16MiB)',
    ],
    ["a number out of range", CACHE, '{"db": 16}', `${CACHE}:1:2: cache.db: 16 is not a whole number from 0 to 15`],
    [
      "a value of no list",
      "dev/im-repo/clog.json",
      '{"level": "loud"}',
      'dev/im-repo/clog.json:1:2: clog.level: "loud" is not allowed here (allowed: debug, info, warn, error)',
    ],
    [
      "two fields that do not fit",
      CACHE,
      '{"poolSize": 2, "minIdleConns": 3}',
      `${CACHE}:1:17: cache.minIdleConns: 3 is more than poolSize (allowed: at most poolSize)`,
    ],
    [
      "offsets that are committed too early",
      "dev/im-task/mq.json",
      '{"consumer": {"autoCommit": true}}',
      "dev/im-task/mq.json:1:15: mq.consumer.autoCommit: true is not allowed here: offsets are committed after a record was handled, never before",
    ],
    [
      "a typed secret",
      CACHE,
      '{"password": "hunter2-hunter2"}',
      `${CACHE}:1:2: cache.password: (hidden) is not a secret reference: { "env": "TURNOUT_SECRET_…" } or { "file": "/path" }`,
    ],
    [
      "[SEC-39] a secret out of another variable",
      CACHE,
      '{"password": {"env": "PATH"}}',
      `${CACHE}:1:2: cache.password: (hidden) is not a secret reference`,
    ],
    [
      "__proto__",
      CACHE,
      '{"__proto__": {"db": 1}}',
      `${CACHE}:1:2: key __proto__ is forbidden (allowed: JSON, comments included)`,
    ],
    [
      "a key twice",
      CACHE,
      '{"db": 1, "db": 2}',
      `${CACHE}:1:11: key "db" stands twice (allowed: JSON, comments included)`,
    ],
    [
      "invalid UTF-8",
      CACHE,
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      `${CACHE}:1:3: is not UTF-8 (allowed: JSON, comments included)`,
    ],
    [
      "2 MB",
      CACHE,
      `{"keyPrefix": "${"x".repeat(2_000_000)}"}`,
      `${CACHE}: has 2000017 bytes (allowed: a file of at most 1048576 bytes)`,
    ],
    ["no JSON", CACHE, "db: 1", `${CACHE}:1:1: expected a value (allowed: JSON, comments included)`],
    [
      "another ending",
      "dev/im-repo/cache.yaml",
      "db: 1",
      "dev/im-repo/cache.yaml: does not belong here: files of the tree end with .json",
    ],
    [
      "a folder too deep",
      "dev/im-repo/cache/main.json",
      "{}",
      'dev/im-repo/cache/main.json: does not belong here: "dev/im-repo/cache/main" has not the form {env}/{service}/{component}',
    ],
    [
      "a file too high",
      "dev/cache.json",
      "{}",
      'dev/cache.json: does not belong here: "dev/cache" has not the form {env}/{service}/{component}',
    ],
    [
      "an unknown environment",
      "stage/im-repo/cache.json",
      "{}",
      'stage/im-repo/cache.json: does not belong here: "stage" is no environment (allowed: dev, test, prod)',
    ],
    [
      "a component of another service",
      "dev/im-logic/db.json",
      "{}",
      "dev/im-logic/db.json: does not belong here: im-logic has no db; it has clog, coord, metrics, mq",
    ],
  ])("%s", async (_title, file, text, says) => {
    const found = await problemsOf({ [file]: text });
    expect(found.filter((one) => one.startsWith(says))).toHaveLength(1);
    expect(found.join()).not.toContain("hunter2");
  });

  test("a wrong field of the global layer is told once, where it stands, whichever services it spoils", async () => {
    const found = await problemsOf({
      "dev/global/clog.json": '{\n  "level": "loud"\n}',
      ...Object.fromEntries(
        SERVICES.filter((one) => hasComponent(one, "clog")).map((service) => [`dev/${service}/clog.json`, "{}"]),
      ),
    });
    expect(found).toEqual([
      'dev/global/clog.json:2:3: clog.level: "loud" is not allowed here (allowed: debug, info, warn, error)',
    ]);
  });

  test("what only both layers together make wrong is told at the service", async () => {
    const found = await problemsOf({
      "dev/global/cache.json": '{ "poolSize": 3, "minIdleConns": 2 }',
      [CACHE]: '{ "minIdleConns": 9 }',
      "dev/im-task/cache.json": "{}",
    });
    expect(found).toEqual([`${CACHE}:1:3: cache.minIdleConns: 9 is more than poolSize (allowed: at most poolSize)`]);
  });

  test("[SEC-45] an endpoint beyond the operator's ceiling is told at the endpoint", async () => {
    const ceiling = { cidrs: ["10.0.0.0/8"], ports: [80] };
    const endpoint = {
      name: "a",
      protocol: "http",
      tls: "None",
      fencing: "None",
      allowedNamespaces: ["x"],
      cidrs: ["0.0.0.0/0"],
      ports: [80],
    };
    const found = await problemsOf({
      "dev/turnout/operator.json": JSON.stringify({ ceiling }),
      "dev/turnout/endpoints.json": JSON.stringify([endpoint]),
    });
    expect(found.join()).toMatch(
      /endpoints\.json:1:\d+: endpoints\[0\]\.cidrs\[0\]: "0\.0\.0\.0\/0" lies beyond the operator's ceiling/,
    );
  });

  test("an empty folder, a missing one and one that is no folder are told", async () => {
    await using folder = await aFolder();
    await mkdir(join(folder.path, "empty"));
    const said = async (path: string): Promise<string> =>
      (await readTree(join(folder.path, path))).problems.map((one) => one.message).join();
    expect([await said("empty"), await said("none")]).toEqual(["holds no file", "cannot be read"]);
  });

  test("names that begin with a dot are left alone, links to files are followed as mounts make them", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/..data/cache.json", '{"db": 4}');
    await symlink("..data/cache.json", join(folder.path, CACHE));
    await folder.put("dev/.gitkeep", "");
    const { files, problems } = await readTree(folder.path);
    expect([files.map(({ document }) => JSON.stringify(document.value)), problems]).toEqual([['{"db":4}'], []]);
  });

  test("a part of the tree is read like the whole", async () => {
    await using folder = await aFolder();
    await folder.put(CACHE, '{"db": 4}');
    for (const part of ["", "dev", "dev/im-repo", CACHE]) {
      const { files, root, problems } = await readTree(join(folder.path, part));
      expect([root, files.length, problems]).toEqual([folder.path, 1, []]);
    }
  });
});

describe("[R100] [R104] schemas as people read them", () => {
  const leaves = (fields: readonly FieldDoc[]): readonly FieldDoc[] =>
    fields.flatMap((field) => (field.inner.length > 0 ? leaves(field.inner) : [field]));

  test.each(COMPONENT_NAMES.filter((name) => name !== "endpoints"))(
    "%s: every field says what it is and what it takes",
    (name) => {
      const fields = leaves(fieldsOf(componentOf(name).schema));
      expect(fields.length).toBeGreaterThan(4);
      expect(fields.filter(({ about }) => !/^[A-Za-z].*\.$/.test(about)).map(({ path }) => path)).toEqual([]);
      expect(
        fields
          .filter(({ takes }) => takes === "" || /undefined|JSON$|null/.test(takes))
          .map(({ path, takes }) => `${path}: ${takes}`),
      ).toEqual([]);
    },
  );

  test.each(COMPONENT_NAMES)("%s: what is called reloadable or files-only exists", (name) => {
    const { schema, reloadable, filesOnly } = componentOf(name);
    const paths = name === "endpoints" ? [""] : leaves(fieldsOf(schema)).map(({ path }) => path);
    expect([...reloadable, ...filesOnly].filter((known) => !paths.some((path) => lies(path, known)))).toEqual([]);
  });

  test.each(COMPONENT_NAMES)("%s: the template is valid as it is, and says what the defaults say", (name) => {
    const read = readJson(templateOf(name));
    const value = read.ok ? read.document.value : read.reason;
    expect(checkLayers(name, { "file service": value })).toMatchObject({ ok: true });
    const defaults = defaultsOf(componentOf(name).schema);
    const required = name === "operator" ? { ceiling: { cidrs: [], ports: [], secretRoots: [], patchKinds: [] } } : {};
    expect(JSON.parse(JSON.stringify(value))).toEqual(
      Array.isArray(defaults) ? [] : { ...(defaults as object), ...required },
    );
  });

  test.each(COMPONENT_NAMES.filter((name) => name !== "operator" && name !== "endpoints"))(
    "%s: all defaults together are what nothing at all gives",
    (name) => {
      const { schema } = componentOf(name);
      expect(schema.parse(defaultsOf(schema))).toEqual(schema.parse({}));
    },
  );

  test("the template shows what a service has", () => {
    expect(templateOf("cache", { db: 9, local: { enabled: true } })).toMatch(/"db": 9,[^]*"enabled": true,/);
  });
});
