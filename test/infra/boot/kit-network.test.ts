import { describe, expect, test } from "vitest";
import { environmentOf } from "../../../src/infra/boot/kit-config.ts";
import { coordOf } from "../../../src/infra/boot/kit-coord.ts";
import { type Network, openNetwork } from "../../../src/infra/boot/kit-network.ts";
import { noLog, openLog } from "../../../src/infra/clog/log.ts";
import { coordSettings } from "../../../src/infra/config/coord-settings.ts";
import { noMetrics, openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { ManualClock, seededRng } from "../../support/manual-clock.ts";

const clock = new ManualClock();
const network = (env: Readonly<Record<string, string>> = {}): Network =>
  openNetwork({
    resolve: () => Promise.resolve([]),
    clock,
    env,
    secretRoots: [],
    metrics: noMetrics,
    log: noLog,
  });
const at = { address: "10.0.0.7:6380", alpn: [] } as const;

describe("[R131] APP_ENV", () => {
  test.each([
    [undefined, "dev"],
    ["", "dev"],
    ["test", "test"],
    ["prod", "prod"],
  ] as const)("%s is %s", (named, env) => expect(environmentOf(named)).toBe(env));

  test("another is refused with what is allowed", () => {
    expect(() => environmentOf("production")).toThrow(
      'APP_ENV: "production" is no environment (allowed: dev, test, prod)',
    );
  });
});

describe("secrets", () => {
  test("are read where they are referred to; one that is missing is named, with the component", async () => {
    const ways = network({ TURNOUT_SECRET_A: "hunter2" });
    expect(await ways.secret("cache", { env: "TURNOUT_SECRET_A" })).toBe("hunter2");
    await expect(ways.secret("cache", { env: "TURNOUT_SECRET_B" })).rejects.toMatchObject({
      component: "cache",
      type: "CONFIG",
      message: "cache: the secret TURNOUT_SECRET_B cannot be read (not set); correct the reference or set it",
    });
    await expect(ways.secret("db", { file: "/etc/passwd" })).rejects.toThrow(
      /^db: the secret \/etc\/passwd cannot be read/,
    );
  });
});

describe("[SEC-47] TLS", () => {
  test("None is in the clear; else the certificate must carry the address, or the name that the settings say", async () => {
    const ways = network({ TURNOUT_SECRET_CA: "PEM" });
    expect(await ways.tls("cache", "None", at)).toBeNull();
    expect(await ways.tls("cache", {}, at)).toMatchObject({
      identity: { kind: "ip", text: "10.0.0.7" },
      ca: null,
      key: null,
    });
    expect(await ways.tls("cache", { serverName: "redis.prod", ca: { env: "TURNOUT_SECRET_CA" } }, at)).toMatchObject({
      identity: { kind: "name", text: "redis.prod" },
      ca: "PEM",
    });
  });

  test("a certificate that cannot be read opens no connection", async () => {
    await expect(network().tls("cache", { ca: { env: "TURNOUT_SECRET_CA" } }, at)).rejects.toMatchObject({
      type: "CONFIG",
    });
  });
});

describe("[R108] COORD_ENDPOINTS", () => {
  const open = (named: string): unknown =>
    coordOf(coordSettings.parse({}), named, {
      network: network(),
      clock,
      rng: seededRng(),
      log: noLog,
      metrics: noMetrics,
    });

  test.each(["", "http://127.0.0.1:2379", "https://a.b:1,https://c.d:2", "127.0.0.1:2379"])("%j is taken", (named) => {
    expect(open(named)).toHaveProperty("centre");
  });

  test.each(["nonsense", "http://a.b:1,https://c.d:2", "ftp://a.b:1", "http://a.b", "http://a.b:1/path", ","])(
    "%j is refused",
    (named) => {
      expect(() => open(named)).toThrow(/^COORD_ENDPOINTS: .* is not http:\/\/HOST:PORT,… or https:\/\/HOST:PORT,…$/);
    },
  );
});

describe("[R108] coord's own switches", () => {
  /** One call, which the guard refuses at once. */
  async function failing(about: Readonly<Record<string, unknown>>) {
    const metrics = openMetrics();
    const lines: string[] = [];
    const log = openLog({ level: "info", clock, destination: { write: (line) => void lines.push(line) } });
    const settings = coordSettings.parse({
      endpoints: ["169.254.169.254:1"],
      tls: "None",
      retry: { maxRetries: 0 },
      ...about,
    });
    const coord = coordOf(settings, "", { network: network(), clock, rng: seededRng(), log, metrics });
    await expect(coord.centre.get("/a")).rejects.toThrow("coord: ");
    await coord.close();
    return { text: await metrics.text(), said: lines.join("") };
  }

  test("enableMetrics: failures are counted, or are not", async () => {
    expect((await failing({})).text).toContain('infra_errors_total{component="coord"');
    expect((await failing({ enableMetrics: false })).text).not.toContain('infra_errors_total{component="coord"');
  });

  test("enableTracing in a process that makes no traces is said to have no effect", async () => {
    expect((await failing({ enableTracing: true })).said).toContain("enableTracing has no effect");
    expect((await failing({})).said).not.toContain("enableTracing");
  });
});
