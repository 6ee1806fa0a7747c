import { describe, expect, inject, test } from "vitest";
import { isReloadable } from "../../src/infra/config/components.ts";
import { jsonCodec } from "../../src/infra/mq/codec.ts";
import { until } from "../support/egress/until.ts";
import { aTopic, mqSettingsFor, openMqRig } from "../support/mq-rig.ts";

const BROKERS = inject("env").KAFKA_BROKERS ?? "";
const never = new AbortController().signal;
const PATIENCE = 20_000;

describe("what is asked wrongly is told as one InfraError", () => {
  const NAMED = [
    ["[kafka/denied] an absent topic", "absent-topic", "k", { type: "NOT_FOUND", code: "TopicAbsent" }],
    ["a name that is none", "no topic", "k", { type: "VALIDATION", code: "BadTopic" }],
    [
      "[kafka/denied] a message that is too large",
      null,
      "x".repeat(2_000_000),
      { type: "VALIDATION", code: "TooLarge" },
    ],
  ] as const;
  test("no case is lost", () => expect(NAMED).toHaveLength(3));
  test.each(NAMED)("%s", async (_what, name, value, expected) => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const failing = mq.send({ ...topic, name: name ?? topic.name }, [{ key: null, value }]);
    await expect(failing).rejects.toMatchObject({ name: "InfraError", component: "mq", retryable: false, ...expected });
    await mq.send(topic, [{ key: null, value: "fine" }]);
    await expect(rig.metrics()).resolves.toContain(`infra_errors_total{component="mq",type="${expected.type}"} 1`);
  });

  test("subscribing to a topic that does not exist, and a value that its codec cannot write", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const absent = { name: "absent-topic", codec: jsonCodec((value) => value) };
    await expect(mq.subscribe(absent, async () => undefined)).rejects.toMatchObject({ code: "TopicAbsent" });
    expect(await mq.topics.list()).not.toContain("absent-topic.dlq");
    const endless: { self?: unknown } = {};
    endless.self = endless;
    const failing = mq.send({ name: "t", codec: jsonCodec((value) => value as unknown) }, [
      { key: null, value: endless },
    ]);
    await expect(failing).rejects.toMatchObject({ type: "VALIDATION", code: "NotEncodable" });
    expect(() => mq.nameOf("upstream")).toThrow(expect.objectContaining({ code: "TopicUnnamed" }));
  });
});

describe("the component", () => {
  test("makes and deletes topics; what is so already is no error", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ topics: { upstream: "im.messages.upstream" } });
    const name = `made-${process.pid}-${Date.now()}`;
    const topic = { name, partitions: 3, replicas: 1 };
    expect([await mq.topics.create([topic]), await mq.topics.create([topic])]).toEqual([[name], []]);
    expect(await mq.topics.list()).toContain(name);
    await mq.topics.delete([name]);
    await mq.topics.delete([name]);
    expect(await mq.topics.list()).not.toContain(name);
    expect(mq.nameOf("upstream")).toBe("im.messages.upstream");
  });

  test("names what changes at once and what needs a restart, as the settings' table says", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const next = mqSettingsFor(BROKERS, {
      requestTimeout: "9s",
      producer: { linger: "9ms" },
      consumer: { maxRetries: 7, retryBackoff: { min: "2ms" }, fetchMin: 7 },
    });
    const { applied, needsRestart } = mq.reload(next);
    expect([applied.toSorted(), needsRestart.toSorted()]).toEqual([
      ["consumer.maxRetries", "consumer.retryBackoff"],
      ["consumer.fetchMin", "producer.linger", "requestTimeout"],
    ]);
    expect(applied.every((path) => isReloadable("mq", path))).toBe(true);
    expect(needsRestart.some((path) => isReloadable("mq", path))).toBe(false);
  });

  test("is healthy while the brokers answer; closed, it takes nothing and holds no socket, and may be closed again", async () => {
    await using rig = openMqRig(BROKERS);
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
    const before = sockets();
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const subscription = await mq.subscribe(topic, async () => undefined);
    expect(await mq.check(never)).toMatchObject({ status: "healthy", details: { subscriptions: 1 } });
    expect(sockets()).toBeGreaterThan(before);
    await Promise.all([mq.close(), mq.close()]);
    expect(subscription.view()).toMatchObject({ joined: false });
    await expect(mq.send(topic, [{ key: null, value: 1 }])).rejects.toMatchObject({ code: "Closed" });
    await expect(mq.topics.list()).rejects.toMatchObject({ type: "UNAVAILABLE", code: "Closed" });
    expect(await mq.check(never)).toMatchObject({ status: "unhealthy", message: "mq: mq is closed" });
    await until(sockets, (count) => count <= before, PATIENCE);
  });
});
