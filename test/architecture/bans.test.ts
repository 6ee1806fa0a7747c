import { describe, expect, test } from "vitest";
import { sourcesIn } from "./source.ts";

const SOURCES = sourcesIn("src");

interface Ban {
  readonly what: string;
  readonly pattern: RegExp;
  /** Path prefixes where it is allowed, and why the product cannot do without it there. */
  readonly except: readonly string[];
}

/** docs/architecture.md, "Also checked". Clock, randomness, network and environment come in as parameters everywhere else. */
const BANS: readonly Ban[] = [
  {
    what: "the environment",
    pattern: /\bprocess\.env\b/,
    except: ["src/main.ts", "src/run.ts", "src/infra/boot/", "src/cli/"],
  },
  {
    what: "ending the process",
    pattern: /\bprocess\.exit\b/,
    except: ["src/main.ts", "src/run.ts", "src/infra/boot/", "src/cli/", "src/generate.ts"],
  },
  {
    what: "the console",
    pattern: /\bconsole\./,
    except: ["src/main.ts", "src/run.ts", "src/infra/boot/", "src/cli/", "src/generate.ts"],
  },
  { what: "the wall clock", pattern: /\bDate\.now\b|\bnew Date\(\s*\)/, except: ["src/kube/clock.ts"] },
  { what: "the monotonic clock", pattern: /\bperformance\.now\b|\bprocess\.hrtime\b/, except: ["src/kube/clock.ts"] },
  {
    what: "timers",
    pattern: /(?<![.\w])set(?:Timeout|Interval)\s*\((?!\)\s*:)|node:timers|\bAbortSignal\.timeout\b/,
    except: ["src/kube/clock.ts", "src/cli/"],
  },
  {
    what: "randomness",
    pattern: /\bMath\.random\b|\brandomUUID\b|\brandomBytes\b|\bgetRandomValues\b/,
    except: ["src/kube/clock.ts"],
  },
  { what: "sockets of its own", pattern: /\bfetch\s*\(|\bnew WebSocket\b|\bEventSource\b/, except: [] },
  {
    what: "[SEC-43] code from text",
    pattern: /(?<![.\w])eval\s*\(|\bnew Function\b|node:vm|\bimport\s*\(/, // A command port of Redis is called `eval`.
    // The two that are loaded where settings ask for them are named by constants.
    except: ["src/receiver/redis-store.ts", "src/infra/metrics/open-telemetry.ts"],
  },
  { what: "[SEC-43] child processes", pattern: /node:child_process/, except: ["src/cli/"] },
  {
    what: "enums and namespaces",
    pattern: /^\s*(?:export\s+)?(?:const\s+)?(?:enum|namespace)\s+\w+\s*\{/m,
    except: [],
  },
];

/** Where network modules of node may stand: servers listen, the socket factory connects. */
const NETWORK: readonly string[] = [
  "src/infra/egress/",
  "src/infra/health/",
  "src/infra/cache/resp-gate.ts",
  "src/receiver/",
  "src/cli/",
];

describe("what no file may touch but the one that is for it", () => {
  test.each(BANS.map((ban) => [ban.what, ban] as const))("%s", (_what, { pattern, except }) => {
    const found = SOURCES.filter(
      ({ path, code, text }) =>
        !except.some((prefix) => path.startsWith(prefix)) &&
        pattern.test(pattern.source.includes("node:") ? text : code),
    );
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  test("[SEC-18] net, tls, http and dns only in the socket factory and in listeners", () => {
    const modules = /from "node:(?:net|tls|http|https|http2|dgram|dns)(?:\/promises)?"/;
    const found = SOURCES.filter(
      ({ path, text }) => modules.test(withoutTypes(text)) && !NETWORK.some((prefix) => path.startsWith(prefix)),
    );
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  test("only act.ts writes a status", () => {
    const writers = SOURCES.filter(
      ({ path, code }) => path.startsWith("src/controllers/") && /\.replaceStatus\b/.test(code),
    );
    expect(writers.map(({ path }) => path)).toEqual(["src/controllers/act.ts"]);
  });

  test("nothing below kube/controller touches the queue, and domain awaits nothing", () => {
    const waiting = SOURCES.filter(
      ({ path, code }) => path.startsWith("src/domain/") && /\b(?:await|async|Promise)\b/.test(code),
    );
    expect(waiting.map(({ path }) => path)).toEqual([]);
  });

  test("each ban can fail", () => {
    expect(BANS.map(({ pattern, what }) => [what, pattern.test(SAMPLE)] as const).filter(([, hit]) => !hit)).toEqual(
      [],
    );
    expect(BANS).toHaveLength(11);
  });
});

const withoutTypes = (text: string): string =>
  text.replaceAll(/import type [^;]*;/g, "").replaceAll(/import \{\s*(?:type \w+,?\s*)+\} from [^;]*;/g, "");

const SAMPLE = `
process.env.X; process.exit(1); console.log(); Date.now(); performance.now(); setTimeout(f); Math.random(); fetch("x"); eval("x");
import x from "node:child_process";
enum A {}
`;
