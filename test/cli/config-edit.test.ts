import { describe, expect, test } from "vitest";
import { InfraError } from "../../src/lib/infra-error.ts";
import { millisOf } from "../../src/lib/time.ts";
import { cliOver } from "../support/config-cli-rig.ts";
import { ManualClock, seededRng } from "../support/manual-clock.ts";
import { MemoryCentre } from "../support/memory-centre.ts";

const KEY = "/config/dev/im-repo/mq";
const valueOf = async (centre: MemoryCentre, key = KEY): Promise<unknown> => {
  const found = await MemoryCentre.prototype.get.call(centre, key);
  return found === null ? null : (JSON.parse(found.value) as unknown);
};

describe("[R106] set, replace, delete", () => {
  test("set lays fields over those that stand; replace does not", async () => {
    const centre = new MemoryCentre();
    const { run } = cliOver(centre);
    await run("set", "dev/im-repo/mq", '{"producer":{"linger":"1ms"},"topics":{"a":"x"}}');
    const { out, code } = await run("set", KEY, '{"producer":{"retries":5},"topics":{"b":"y"}}');
    expect([code, out]).toEqual([0, '+ producer.retries: 5\n+ topics.b: "y"\n']);
    expect(await valueOf(centre)).toEqual({ producer: { linger: "1ms", retries: 5 }, topics: { a: "x", b: "y" } });
    await run("--env", "dev", "replace", "--yes", "im-repo/mq", '{"codec":"protobuf"}');
    expect(await valueOf(centre)).toEqual({ codec: "protobuf" });
  });

  test("a field, then the key is deleted; what is not there is told", async () => {
    const centre = new MemoryCentre();
    const { run } = cliOver(centre);
    await run("set", KEY, '{"producer":{"linger":"1ms","retries":5}}');
    expect((await run("delete", KEY, "producer.linger")).out).toBe('- producer.linger: "1ms"\n');
    expect(await run("delete", KEY, "producer.linger")).toMatchObject({
      code: 1,
      talk: expect.stringContaining("has no field producer.linger; see: config-cli get") as string,
    });
    expect((await run("delete", "--yes", KEY)).code).toBe(0);
    expect([await valueOf(centre), await run("delete", KEY)]).toEqual([
      null,
      { code: 1, out: "", talk: `nothing stands under ${KEY}; nothing was written\n` },
    ]);
  });

  test("what would be wrong is not written; the refusal says what, where, which value and what is allowed", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, '{"codec":"json"}');
    const { run } = cliOver(centre);
    const { code, talk } = await run("set", KEY, '{"producer":{"linger":"5x"}}');
    expect([code, talk]).toEqual([
      1,
      `nothing was written:\n  ${KEY}: mq.producer.linger: "5x" is not a duration in range (allowed: a duration such as 5s or 10m, from 0s to 10s)\nsee: config-cli template mq (Kafka.)\n`,
    ]);
    expect((await run("set", KEY, "{")).talk).toContain("the JSON argument is refused at 1:2: expected a key");
    expect((await run("set", "/config/dev/global/mq", '{"codec":"xml"}')).code).toBe(1);
    expect(await valueOf(centre)).toEqual({ codec: "json" });
  });

  test("a global field that would spoil a service is refused", async () => {
    const centre = new MemoryCentre();
    await centre.put("/config/dev/im-repo/cache", '{"minIdleConns":8}');
    const { code, talk } = await cliOver(centre).run("set", "dev/global/cache", '{"poolSize":4}');
    expect([code, talk]).toEqual([
      1,
      expect.stringContaining("/config/dev/im-repo/cache:1:2: cache.minIdleConns: 8 is more than poolSize") as string,
    ]);
  });

  test("a default that no longer fits, a number without its unit and null are told with what is allowed", async () => {
    const centre = new MemoryCentre();
    await centre.put("/config/dev/im-task/cache", "{}");
    const { run } = cliOver(centre);
    expect((await run("set", "dev/global/cache", '{"poolSize":3}')).talk).toContain(
      "/config/dev/im-task/cache:1:1: cache.minIdleConns: 5 (the default) is more than poolSize (allowed: at most poolSize)\n",
    );
    expect((await run("set", "dev/im-task/cache", '{"local":{"ttl":5}}')).talk).toContain(
      "cache.local.ttl: 5 is not a duration in range (allowed: a duration such as 5s or 10m, from 1s to 24h)\n",
    );
    expect((await run("set", "dev/im-task/cache", '{"compression":{"above":1024}}')).talk).toContain(
      "cache.compression.above: 1024 is not a size in range (allowed: a size such as 16KiB",
    );
    expect((await run("replace", "dev/turnout/endpoints", '[{"protocol":null}]')).talk).toContain(
      "endpoints[0].protocol: null is not allowed here (allowed: http, extension",
    );
    expect((await run("replace", "dev/turnout/endpoints", '[{"name":"a"}]')).talk).toContain(
      "endpoints[0].protocol: is missing (allowed: http, extension",
    );
    expect(
      (await run("set", "dev/im-task/cache", '{"password":{"env":"TURNOUT_SECRET_X"},"username":null}')).talk,
    ).toContain("cache.username: null is not allowed here");
  });

  test("what a global value leaves to services is no fault of its own", async () => {
    const { run } = cliOver(new MemoryCentre());
    expect(await run("set", "dev/global/cache", '{"poolSize":3}')).toMatchObject({ code: 0 });
  });

  test("[SEC-45] the ceiling is not for the centre", async () => {
    const { code, talk } = await cliOver(new MemoryCentre()).run(
      "set",
      "dev/turnout/operator",
      '{"ceiling":{"cidrs":[],"ports":[]}}',
    );
    expect([code, talk]).toEqual([1, expect.stringContaining("operator.ceiling: may be set in files only") as string]);
    expect(await cliOver(new MemoryCentre()).run("set", "dev/turnout/operator", '{"limits":{"acts":8}}')).toMatchObject(
      { code: 0 },
    );
  });

  test("a value that is no JSON is written over by replace only", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, "{oops");
    const { run } = cliOver(centre);
    expect(await run("set", KEY, "{}")).toMatchObject({
      code: 1,
      talk: expect.stringContaining(`config-cli replace ${KEY} JSON`) as string,
    });
    expect((await run("replace", KEY, "{}")).code).toBe(0);
    expect(await valueOf(centre)).toEqual({});
  });

  test.each(["set", "replace"])("%s: null is a value like any other, and valid nowhere", async (command) => {
    const centre = new MemoryCentre();
    await centre.put(KEY, '{"codec":"json"}');
    const { code, talk } = await cliOver(centre).run(command, KEY, "null");
    expect([code, talk]).toEqual([
      1,
      expect.stringContaining(`${KEY}: mq: null is not allowed here (allowed: an object)`) as string,
    ]);
    expect(await valueOf(centre)).toEqual({ codec: "json" });
  });

  test("null that stands already is refused by validate, and healed by set and replace", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, "null");
    expect(await cliOver(centre).run("validate", "--centre")).toMatchObject({ code: 1 });
    expect((await cliOver(centre).run("set", KEY, '{"codec":"json"}')).out).toBe(
      '~ (value): null → {"codec":"json"}\n',
    );
    expect(await valueOf(centre)).toEqual({ codec: "json" });
  });

  test("replace and delete ask before they take away what they do not name; set and one field do not", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, '{"codec":"json","topics":{"a":"x"}}');
    const asked = cliOver(centre, { terminal: true, answers: ["n"] });
    const nobody = cliOver(centre);
    for (const args of [
      ["delete", KEY],
      ["replace", KEY, "{}"],
    ] as const) {
      const { code, talk } = await asked.run(...args);
      expect([code, talk]).toEqual([
        2,
        `- codec: "json"\n- topics.a: "x"\n${args[0]} ${KEY}? [y/N] nothing was written\n`,
      ]);
      expect(await nobody.run(...args)).toMatchObject({
        code: 2,
        out: "",
        talk: expect.stringContaining("repeat with --yes, or with --dry-run") as string,
      });
      expect(await nobody.run(...args, "--dry-run")).toEqual({
        code: 0,
        out: '- codec: "json"\n- topics.a: "x"\n',
        talk: "nothing was written\n",
      });
    }
    expect((await nobody.run("set", KEY, '{"codec":"protobuf"}', "--dry-run")).out).toBe(
      '~ codec: "json" → "protobuf"\n',
    );
    expect((await nobody.run("set", KEY, '{"codec":"xml"}', "--dry-run")).code).toBe(1);
    expect(centre.revision).toBe(2);
    expect((await nobody.run("delete", KEY, "topics.a")).code).toBe(0);
    expect(await cliOver(centre, { terminal: true, answers: ["y"] }).run("delete", KEY)).toMatchObject({ code: 0 });
    expect(await valueOf(centre)).toBeNull();
  });

  test("what a person agreed to is written over what was shown, and over nothing else", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, '{"codec":"json"}');
    const cli = cliOver(
      new (class extends MemoryCentre {
        override get = (key: string): ReturnType<MemoryCentre["get"]> => centre.get(key);
        override compareAndSet = async (
          ...[key, expected, value]: Parameters<MemoryCentre["compareAndSet"]>
        ): ReturnType<MemoryCentre["compareAndSet"]> => {
          if (centre.revision === 2) await centre.put(KEY, '{"codec":"protobuf"}');
          return await centre.compareAndSet(key, expected, value);
        };
      })(),
      { terminal: true, answers: ["y", "y"] },
    );
    expect(await cli.run("delete", KEY)).toMatchObject({ code: 4 });
    expect(await valueOf(centre)).toEqual({ codec: "protobuf" });
  });

  test("what comes on stdin and is no UTF-8 is refused, not stored as something else; so is what is too large", async () => {
    const centre = new MemoryCentre();
    const broken = Buffer.concat([Buffer.from('{"topics":{"a":"'), Buffer.of(0xff, 0xfe), Buffer.from('"}}')]);
    expect(await cliOver(centre, { stdin: broken }).run("set", KEY, "-")).toMatchObject({
      code: 2,
      talk: "the JSON argument is refused at 1:17: is not UTF-8\n",
    });
    const large = Buffer.alloc(1024 * 1024 + 1, " ");
    expect(await cliOver(centre, { stdin: large }).run("set", KEY, "-")).toMatchObject({ code: 2 });
    expect(await valueOf(centre)).toBeNull();
  });

  test("keys of tenants, and what is no key, are refused with the way out", async () => {
    const { run } = cliOver(new MemoryCentre());
    expect(await run("set", "dev/im-gateway/tenants/ns/t1", "{}")).toMatchObject({
      code: 2,
      talk: expect.stringContaining("written by switches only") as string,
    });
    expect(await run("set", "dev/im-repo/cash", "{}")).toMatchObject({
      code: 2,
      talk: expect.stringContaining("did you mean cache?") as string,
    });
    expect(await run("set", "dev/im-repo/mq", "-")).toMatchObject({ code: 2 });
    expect(await cliOver(new MemoryCentre(), { stdin: '{"codec":"json"}' }).run("set", KEY, "-")).toMatchObject({
      code: 0,
    });
  });
});

/** Moves the clock from one sleeper to the next until the work has ended. */
async function until(work: Promise<unknown>, clock: ManualClock): Promise<void> {
  const wait = { open: true };
  void work.finally(() => (wait.open = false));
  while (wait.open) await clock.advance(millisOf(clock.nextDue ?? 0));
}

describe("[R106] writers at once", () => {
  /** Each of the writers sets a field of its own, all over one centre and one clock. */
  async function crowd(
    writers: number,
    timeout: string,
  ): Promise<{ readonly codes: readonly number[]; readonly tries: readonly number[]; readonly fields: number }> {
    const centre = new SlowCentre();
    const clock = centre.clock;
    const runs = Array.from({ length: writers }, (_, i) =>
      cliOver(centre, { clock, rng: seededRng(i + 1) }).run(
        "--timeout",
        timeout,
        "-o",
        "json",
        "set",
        KEY,
        `{"topics":{"t${i}":"x"}}`,
      ),
    );
    const all = Promise.all(runs);
    await until(all, clock);
    const ended = await all;
    const value = (await valueOf(centre)) as { readonly topics: object };
    return {
      codes: ended.map(({ code }) => code),
      tries: ended.flatMap(({ code, out }) => (code === 0 ? [(JSON.parse(out) as { tries: number }).tries] : [])),
      fields: Object.keys(value.topics).length,
    };
  }

  test("50 sets of different fields all survive", async () => {
    const { codes, tries, fields } = await crowd(50, "10s");
    expect([codes.filter((code) => code !== 0), fields]).toEqual([[], 50]);
    // Why tries do not end with the fifth: some of so many always need more.
    expect(Math.max(...tries)).toBeGreaterThan(5);
    expect(Math.max(...tries)).toBeLessThan(40);
  });

  test("one who is outrun until --timeout is told, and loses nothing of others", async () => {
    const centre = new SlowCentre();
    let others = 0;
    centre.beforeCommit = async () => {
      others += 1;
      await MemoryCentre.prototype.put.call(centre, KEY, JSON.stringify({ topics: { other: `v${others}` } }));
    };
    const running = cliOver(centre, { clock: centre.clock }).run(
      "--timeout",
      "2s",
      "set",
      KEY,
      '{"topics":{"mine":"x"}}',
    );
    await until(running, centre.clock);
    const { code, talk } = await running;
    expect([code, talk]).toEqual([4, expect.stringContaining("others changed it in between") as string]);
    expect(others).toBeGreaterThanOrEqual(5);
    expect(await valueOf(centre)).toEqual({ topics: { other: `v${others}` } });
  });
});

/** Every call takes 3 ms of a clock that is moved by hand, as one over loopback does. */
class SlowCentre extends MemoryCentre {
  readonly clock = new ManualClock();
  beforeCommit: () => Promise<void> = () => Promise.resolve();
  override async get(key: string): ReturnType<MemoryCentre["get"]> {
    const found = await super.get(key);
    await this.clock.sleep(millisOf(3));
    return found;
  }
  override async commit(transaction: Parameters<MemoryCentre["commit"]>[0]): ReturnType<MemoryCentre["commit"]> {
    await this.clock.sleep(millisOf(3));
    await this.beforeCommit();
    return await super.commit(transaction);
  }
}

test("a lost answer is looked up, not written twice", async () => {
  const centre = new (class extends MemoryCentre {
    #lost = false;
    override async commit(transaction: Parameters<MemoryCentre["commit"]>[0]): ReturnType<MemoryCentre["commit"]> {
      const done = await super.commit(transaction);
      if (this.#lost) return done;
      this.#lost = true;
      throw new InfraError({
        component: "coord",
        type: "TIMEOUT",
        code: "AnswerLost",
        message: "coord: lost",
        retryable: false,
      });
    }
  })();
  const { code } = await cliOver(centre).run("set", KEY, '{"topics":{"a":"x"}}');
  expect([code, await valueOf(centre), centre.revision]).toEqual([0, { topics: { a: "x" } }, 2]);
});

test("whoever stops a write is told that it may be in", async () => {
  const stop = new AbortController();
  const centre = new (class extends MemoryCentre {
    override async commit(transaction: Parameters<MemoryCentre["commit"]>[0]): Promise<never> {
      await super.commit(transaction);
      stop.abort(new Error("stopped by SIGINT"));
      throw stop.signal.reason as Error;
    }
  })();
  const { code, talk } = await cliOver(centre, { signal: stop.signal }).run("set", KEY, '{"codec":"json"}');
  expect([code, talk]).toEqual([130, `stopped: ${KEY} may have been written; see: config-cli get ${KEY}\n`]);
});
