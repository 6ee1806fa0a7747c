import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import type { Mq, Topic } from "../../src/infra/mq/mq.ts";
import { openMq } from "../../src/infra/mq/open-mq.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import type { Json } from "../../src/lib/json.ts";
import { until } from "../support/egress/until.ts";
import { aTopic, mqSettingsFor, openMqRig } from "../support/mq-rig.ts";
import { openTcpProxy } from "../support/tcp-proxy.ts";

// A broker of its own: it is killed, frozen and started again.
let environment: Environment;
let brokers = "";
beforeAll(async () => {
  environment = await openEnvironment({ with: ["kafka"], controlPlane: false, print: () => undefined });
  brokers = environment.env.KAFKA_BROKERS ?? "";
});
afterAll(() => environment.close());

const never = new AbortController().signal;
const PATIENCE = 40_000;
const kafka = () => environment.server("kafka");
const frozen = async <T>(work: () => Promise<T>): Promise<T> => {
  const pid = kafka().pid ?? 0;
  process.kill(pid, "SIGSTOP");
  try {
    return await work();
  } finally {
    process.kill(pid, "SIGCONT");
  }
};

/** Everything that stands in the topic, in order, by a group of its own. */
async function standing(mq: Mq, topic: Topic<Json>, count: number): Promise<readonly Json[]> {
  const values: Json[] = [];
  const subscription = await mq.subscribe(topic, async ({ value }) => void values.push(value));
  await until(
    () => values.length,
    (length) => length >= count,
    PATIENCE,
  );
  await until(
    () => subscription.lag(),
    (lag) => lag === 0n,
    PATIENCE,
  );
  await subscription.close();
  return values;
}

describe("a consumer that is killed", () => {
  test("loses nothing, and repeats at most what it had not committed", async () => {
    await using rig = openMqRig(brokers);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const [handled, children]: [number[], ChildProcess[]] = [[], []];
    const start = async (): Promise<ChildProcess> => {
      const script = join(import.meta.dirname, "..", "support", "mq-consumer-child.ts");
      const child = spawn(process.execPath, [script, brokers, topic.name], { stdio: ["ignore", "pipe", "inherit"] });
      children.push(child);
      let rest = "";
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        const lines = `${rest}${text}`.split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line !== "joined") handled.push(Number(line));
      });
      return child;
    };
    try {
      await mq.send(
        topic,
        Array.from({ length: 500 }, (_, n) => ({ key: "k", value: n })),
      );
      const first = await start();
      await until(
        () => handled.length,
        (length) => length >= 100,
        PATIENCE,
      );
      first.kill("SIGKILL");
      await once(first, "close");
      const before = handled.length;
      expect(before).toBeLessThan(500);
      await start();
      await until(
        () => new Set(handled).size,
        (size) => size === 500,
        PATIENCE,
      );
      const firsts = handled.filter((value, i) => handled.indexOf(value) === i);
      expect(firsts).toEqual(Array.from({ length: 500 }, (_, n) => n));
      // One commit is on its way at a time; what is handled meanwhile goes with the next.
      const repeated = handled.length - 500;
      console.log(`handled before the kill: ${before}, repeated after it: ${repeated}`);
      expect(repeated).toBeLessThan(100);
    } finally {
      for (const child of children) child.kill("SIGKILL");
    }
  });
});

describe("a broker in trouble", () => {
  test("[kafka/reborn] killed and started again: what was acknowledged is there, in order, and receiving goes on", async () => {
    await using rig = openMqRig(brokers);
    const mq = await rig.open({ requestTimeout: "20s", producer: { retries: 20 } });
    const topic = await aTopic(mq);
    const seen: Json[] = [];
    const subscription = await mq.subscribe(topic, async ({ value }) => void seen.push(value));
    const acknowledged: number[] = [];
    let n = 0;
    const enough = new AbortController();
    const sending = (async () => {
      while (!enough.signal.aborted) {
        const value = (n += 1);
        await mq.send(topic, [{ key: "k", value }]).then(
          () => acknowledged.push(value),
          () => undefined,
        );
      }
    })();
    await until(
      () => seen.length,
      (length) => length >= 20,
      PATIENCE,
    );
    await kafka().stop("SIGKILL");
    await kafka().start();
    const after = acknowledged.length;
    await until(
      () => acknowledged.length,
      (length) => length >= after + 20,
      PATIENCE,
    );
    enough.abort();
    await sending;
    await until(
      () => new Set(seen).size,
      (size) => size >= acknowledged.length,
      PATIENCE,
    );
    expect(acknowledged.filter((value) => !seen.includes(value))).toEqual([]);
    const firsts = seen.filter((value, i) => seen.indexOf(value) === i) as number[];
    expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
    await until(
      () => subscription.view(),
      ({ joined, trouble }) => joined && trouble === null,
      PATIENCE,
    );
    expect(await mq.check(never)).toMatchObject({ status: "healthy" });
  });

  test("[kafka/silent][kafka/lost] what it does not answer in time is unknown, not failed; sent again by the client it stands there once", async () => {
    await using rig = openMqRig(brokers);
    const patient = await rig.open({ requestTimeout: "500ms", producer: { retries: 30 } });
    const topic = await aTopic(patient);
    // A broker that was started a moment ago refuses until it has loaded; the one without a second try comes after.
    await patient.send(topic, [{ key: "k", value: 0 }]);
    const mq = await rig.open({ requestTimeout: "500ms", producer: { retries: 0 } });
    await mq.send(topic, [{ key: "k", value: 1 }]);
    const lost = await frozen(() => mq.send(topic, [{ key: "k", value: 2 }]).catch((error: unknown) => error));
    expect(lost).toMatchObject({ type: "TIMEOUT", code: "SendUnknown", retryable: false });

    const { sent } = await frozen(async () => {
      const sent = patient.send(topic, [{ key: "k", value: 3 }]);
      sent.catch(() => undefined);
      // Longer than a request may take: the client has sent it more than once by now.
      const enough = performance.now() + 1500;
      await until(
        () => performance.now(),
        (now) => now > enough,
      );
      return { sent };
    });
    await sent;
    const reader = await rig.open({ consumer: { groupId: "reader" } });
    const values = await standing(reader, topic, 3);
    expect(values.filter((value) => value !== 2)).toEqual([0, 1, 3]);
  });

  test("[kafka/down] is told: at the start, while it runs, and no longer once it is back", async () => {
    await using rig = openMqRig(brokers);
    const mq = await rig.open({ producer: { retries: 0 } });
    const topic = await aTopic(mq);
    await kafka().stop("SIGKILL");
    try {
      await expect(mq.send(topic, [{ key: null, value: 1 }])).rejects.toMatchObject({
        component: "mq",
        type: "CONNECTION",
        code: "ConnectFailed",
        retryable: true,
      });
      expect(await mq.check(never)).toMatchObject({
        status: "unhealthy",
        message: expect.stringContaining("no connection"),
      });
      await expect(rig.open()).rejects.toMatchObject({ type: "CONNECTION", code: "ConnectFailed" });
    } finally {
      await kafka().start();
    }
    const sent = (): Promise<string> =>
      mq.send(topic, [{ key: null, value: 1 }]).then(
        () => "sent",
        (error: unknown) => String(error),
      );
    await until(sent, (outcome) => outcome === "sent", PATIENCE);
    expect(await mq.check(never)).toMatchObject({ status: "healthy" });
    expect(rig.lines.join("")).not.toContain("at Socket");
  });

  test("[kafka/hostile] an address that a broker advertises and the settings do not list is never connected to", async () => {
    const [host = "", port = ""] = brokers.split(":");
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    const failing = openMq(mqSettingsFor(`${proxy.host}:${proxy.port}`), {
      clock: systemClock,
      rng: systemRng,
      service: "im-test",
      instance: "im-test-0",
      secret: () => Promise.resolve(""),
      tls: null,
    });
    await expect(failing).rejects.toMatchObject({ type: "CONFIG", code: "UnlistedBroker", retryable: false });
    await until(
      () => proxy.open,
      (open) => open === 0,
    );
  });
});
