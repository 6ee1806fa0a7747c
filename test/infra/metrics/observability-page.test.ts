import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { metricsSettings } from "../../../src/infra/config/metrics-settings.ts";
import { METRICS } from "../../../src/infra/metrics/metric-table.ts";

const PAGE = readFileSync(join(import.meta.dirname, "..", "..", "..", "docs", "observability.md"), "utf8");

test("docs/observability.md shows settings that are valid, metrics and exports that exist", async () => {
  const [, json = ""] = /```json\n([\s\S]*?)```/.exec(PAGE) ?? [];
  expect(metricsSettings.parse(JSON.parse(json))).toMatchObject({ enableTracing: true, samplerRatio: 0.1 });
  const metrics = [...PAGE.matchAll(/`(infra_[a-z_]+)/g)].map(([, name = ""]) => name);
  expect(metrics.length).toBeGreaterThanOrEqual(2);
  expect(metrics.filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
  const imports = [...PAGE.matchAll(/import \{ (\w+) \} from "…\/(src\/[\w/-]+\.ts)"/g)];
  expect(imports).toHaveLength(4);
  for (const [, name = "", file = ""] of imports) {
    const source = readFileSync(join(import.meta.dirname, "..", "..", "..", file), "utf8");
    expect(source).toMatch(new RegExp(`export (?:async )?function ${name}\\b`));
  }
});
