import { describe, expect, test } from "vitest";

import { parseListeners } from "../../deployment/local/listeners.ts";
import { until } from "../../deployment/local/poll.ts";
import { isDiskFull, PROBLEM } from "../../deployment/local/problem.ts";
import { seconds } from "../../src/lib/time.ts";
import { ManualClock } from "../support/manual-clock.ts";

describe("listening sockets as /proc/net/tcp has them", () => {
  const HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const row = (local: string, state: string) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n`;
  const ROWS = [
    ["0100007F:1F90", "127.0.0.1", 8080],
    ["00000000:18EB", "0.0.0.0", 6379],
    ["00000000000000000000000001000000:0050", "::1", 80],
    ["00000000000000000000000000000000:01BB", "::", 443],
    ["0000000000000000FFFF00000100007F:0051", "127.0.0.1", 81],
  ] as const;
  test("no row is lost", () => expect(ROWS).toHaveLength(5));
  test.each(ROWS)("%s is %s port %i", (local, address, port) => {
    expect(parseListeners(HEADER + row(local, "0A"))).toEqual([{ address, port, inode: "4711" }]);
  });
  test("connections are not listeners", () => expect(parseListeners(HEADER + row("0100007F:1F90", "01"))).toEqual([]));
});

describe("waiting", () => {
  test("ends with the first answer that is neither false nor null", async () => {
    const clock = new ManualClock();
    const answers = [false, null, "there"];
    const waiting = until(() => answers.shift() ?? null, { clock, timeout: seconds(1), what: "it" });
    await clock.advance(seconds(1));
    expect(await waiting).toBe("there");
    expect(clock.sleeping).toBe(0);
  });
  test("takes an error for not yet, and tells it when the time is over", async () => {
    const clock = new ManualClock();
    const waiting = until(() => Promise.reject(new Error("refused")), { clock, timeout: seconds(2), what: "redis" });
    const told = "waited 2s for redis; last seen: refused";
    await Promise.all([expect(waiting).rejects.toThrow(told), clock.advance(seconds(3))]);
  });
  test("ends at once when it is given up", async () => {
    const clock = new ManualClock();
    const giveUp = new AbortController();
    const waiting = until(() => false, { clock, timeout: seconds(60), what: "it", signal: giveUp.signal });
    const givenUp = clock.advance(seconds(1)).then(() => giveUp.abort(new Error("enough")));
    await Promise.all([expect(waiting).rejects.toThrow("enough"), givenUp]);
  });
});

describe("what a tired person reads", () => {
  const TEXTS = {
    "Go is missing": PROBLEM.noControlPlane({ go: null, wanted: "1.26" }),
    "Go is too old": PROBLEM.noControlPlane({ go: "Go 1.22.1", wanted: "1.26" }),
    "the disk is full": PROBLEM.diskFull({ path: "/var/cache", free: "0.1 GB" }),
    "a port is taken": PROBLEM.portTaken({
      server: "redis",
      address: "127.0.0.1:23456",
      holder: "nginx (process 812)",
    }),
    "the folder is in use": PROBLEM.inUse({ path: "/srv/turnout", pid: 4711 }),
    "the folder is not ours": PROBLEM.notOurs("/home/me"),
    "the module proxy cannot be reached": PROBLEM.buildFailed({
      what: "etcd v3.6.14",
      tail: "dial tcp: i/o timeout",
      log: "/c/etcd-build.log",
    }),
    "Redis cannot be fetched": PROBLEM.noPackage({
      command: "redis-server",
      debian: "redis-server",
      variable: "TURNOUT_LOCAL_REDIS_URL",
      why: "this system has no apt-get",
    }),
  };
  test("says what, where, which value, what to do", () => {
    const shown = Object.entries(TEXTS).map(([when, { message }]) => `# ${when}\n${message}\n`);
    expect(shown.join("\n")).toMatchSnapshot();
  });
  test.each([
    ["ENOSPC: no space left on device, write", true],
    ["/tmp/x: write error: No space left on device", true],
    ["ENOENT: no such file or directory", false],
  ])("%j is a full disk: %s", (text, isFull) => expect(isDiskFull(text)).toBe(isFull));
});
