import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { COMPONENT_NAMES, componentsOf } from "../../../src/infra/config/components.ts";
import {
  type ConfigKey,
  fileOfKey,
  formatKey,
  formatTenantKey,
  keyOfFile,
  parseKey,
  tenantsPrefix,
} from "../../../src/infra/config/config-key.ts";
import { ENVIRONMENTS, LAYERS } from "../../../src/infra/config/services.ts";
import { anyText } from "../../support/any-text.ts";

const ALL: readonly ConfigKey[] = ENVIRONMENTS.flatMap((env) =>
  LAYERS.flatMap((layer) => componentsOf(layer).map((component) => ({ env, layer, component }))),
);
const reasonOf = (text: string): string => {
  const parsed = parseKey(text);
  return parsed.kind === "none" ? parsed.reason : parsed.kind;
};

describe("[R97] [F30] keys and files", () => {
  test("each key has one file and each file one key, both ways", () => {
    expect(ALL.length).toBeGreaterThan(60);
    for (const key of ALL) {
      expect(parseKey(formatKey(key))).toEqual({ kind: "config", key });
      expect(keyOfFile(fileOfKey(key))).toEqual({ kind: "config", key });
      expect(formatKey(key)).toBe(`/config/${fileOfKey(key).replace(/\.json$/, "")}`);
    }
    expect(new Set(ALL.map(formatKey)).size).toBe(ALL.length);
    expect(new Set(ALL.map(fileOfKey)).size).toBe(ALL.length);
  });

  test("every component has a place in the tree", () => {
    expect([...new Set(ALL.map(({ component }) => component))].toSorted()).toEqual([...COMPONENT_NAMES].toSorted());
  });

  test.each([
    ["/config/dev/im-repo", "has not the form {env}/{service}/{component}"],
    ["/config/dev/im-repo/cache/extra", "has not the form {env}/{service}/{component}"],
    ["/config/config/dev/im-repo/cache", "has not the form {env}/{service}/{component}"],
    ["config/dev/im-repo/cache", "begins with /config/"],
    ["/config/stage/im-repo/cache", '"stage" is no environment (allowed: dev, test, prod)'],
    ["/config/prd/im-repo/cache", '"prd" is no environment; did you mean prod? (allowed: dev, test, prod)'],
    ["/config/dev/im-rep/cache", '"im-rep" is no service; did you mean im-repo?'],
    [
      "/config/dev/im-repo/cash",
      '"cash" is no component; did you mean cache? (allowed: clog, coord, metrics, cache, db, mq)',
    ],
    ["/config/dev/im-logic/db", "im-logic has no db; it has clog, coord, metrics, mq"],
    ["/config/dev/global/operator", "global has no operator"],
    ["/config/dev/im-repo/tenants/ns", "has not the form"],
    ["/config/dev/global/tenants/ns/t", 'tenants stand below a service, not below "global"'],
    ["/config/dev/im-repo/tenants/N_S/t", '"N_S" is not a namespace'],
    ["/config/dev/im-repo/tenants/ns/a%2fb", '"a%2fb" is not a tenant\'s id'],
  ])("%s is refused", (text, reason) => {
    expect(reasonOf(text)).toContain(reason);
  });

  test("a tenant's key stands below its service and is read back", () => {
    const key = { env: "dev", service: "im-gateway", namespace: "prod", tenantId: "Acme_1" } as const;
    expect(formatTenantKey(key)).toBe("/config/dev/im-gateway/tenants/prod/Acme_1");
    expect(parseKey(formatTenantKey(key))).toEqual({ kind: "tenant", key });
    expect(formatTenantKey(key).startsWith(tenantsPrefix("dev", "im-gateway"))).toBe(true);
  });

  test("[SEC-46] whatever the text, a key that is accepted is written exactly as it was read", () => {
    const segment = fc.oneof(
      fc.constantFrom("dev", "im-repo", "cache", "tenants", "..", "", "%2e", "Cache"),
      anyText(8),
    );
    const texts = fc.oneof(
      anyText(40),
      fc.array(segment, { maxLength: 6 }).map((parts) => `/config/${parts.join("/")}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const parsed = parseKey(text);
        const file = keyOfFile(text);
        const again =
          parsed.kind === "config"
            ? formatKey(parsed.key)
            : parsed.kind === "tenant"
              ? formatTenantKey(parsed.key)
              : text;
        expect([again, file.kind === "config" ? fileOfKey(file.key) : text]).toEqual([text, text]);
      }),
      { numRuns: 2000 },
    );
  });
});
