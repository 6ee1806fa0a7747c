import { defineConfig } from "vitest/config";

const SERVERS = ["integration", "contract", "e2e", "sweep", "security"];

/** `unit` needs nothing but the code; `servers` runs against the local environment (test/support/environment.ts). */
export default defineConfig({
  test: {
    expect: { requireAssertions: true },
    sequence: { shuffle: true, seed: Number.parseInt(process.env.TURNOUT_TEST_SEED ?? "1", 16) % 2_147_483_647 },
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      reporter: ["text-summary", "json"],
    },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [...SERVERS, "planted", "bench", "soak", "model"].map((folder) => `test/${folder}/**`),
        },
      },
      { extends: true, test: { name: "model", include: ["test/model/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "servers",
          include: SERVERS.map((folder) => `test/${folder}/**/*.test.ts`),
          globalSetup: "test/support/environment.ts",
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
    ],
  },
});
