import protobuf from "protobufjs";
import { describe, expect, inject, test } from "vitest";
import { isReloadable } from "../../src/infra/config/components.ts";
import { jsonCodec, protobufCodec } from "../../src/infra/mq/codec.ts";
import type { Incoming, Topic } from "../../src/infra/mq/mq.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { InfraError } from "../../src/lib/infra-error.ts";
import type { Json } from "../../src/lib/json.ts";
import { millisOf } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { aTopic, mqSettingsFor, openMqRig, trace } from "../support/mq-rig.ts";

const BROKERS = inject("env").KAFKA_BROKERS ?? "";
const never = new AbortController().signal;
const PATIENCE = 20_000;

const letters = <T>(topic: Topic<T>): Topic<Json> => ({
  name: `${topic.name}.dlq`,
  codec: jsonCodec((value) => value),
});
const raw = (name: string): Topic<Buffer> => ({
  name,
  codec: { name: "json", encode: (bytes) => bytes, decode: (bytes) => Buffer.from(bytes) },
});

describe("a message", () => {
  test("goes through once, with its key, headers and the trace it was sent under", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ enableTracing: true });
    const topic = await aTopic(mq);
    const seen: (Incoming<Json> & { readonly under: string | undefined })[] = [];
    await mq.subscribe(topic, async (message) => void seen.push({ ...message, under: trace.getStore() }));
    const before = Date.now();
    await trace.run("4bf92f35", () =>
      mq.send(topic, [{ key: "acme", value: { text: "grüße 😀" }, headers: { kind: "chat", ü: "ö" } }]),
    );
    await mq.send(topic, [{ key: null, value: null }]);
    await until(
      () => seen.length,
      (length) => length === 2,
      PATIENCE,
    );
    expect(seen[0]).toMatchObject({
      topic: topic.name,
      partition: 0,
      offset: 0n,
      key: "acme",
      value: { text: "grüße 😀" },
      headers: { kind: "chat", ü: "ö", "trace-id": "4bf92f35" },
      attempt: 1,
      under: "4bf92f35",
    });
    expect(Number(seen[0]?.at)).toBeGreaterThanOrEqual(before - 1000);
    expect(seen[1]).toMatchObject({ key: null, value: null, headers: {}, under: undefined });
    await expect(rig.metrics()).resolves.toContain(`infra_mq_messages_total{topic="${topic.name}",result="handled"} 2`);
  });

  test("carries no trace where the settings want none", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ enableTracing: false });
    const topic = await aTopic(mq);
    const seen: unknown[] = [];
    await mq.subscribe(topic, async ({ headers }) => void seen.push(headers));
    await trace.run("4bf92f35", () => mq.send(topic, [{ key: null, value: 1 }]));
    await until(
      () => seen,
      (all) => all.length === 1,
      PATIENCE,
    );
    expect(seen).toEqual([{}]);
  });

  test("of one key keeps its place: 600 over three partitions, none lost, doubled or out of order", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq, 3);
    const byKey = new Map<string, Json[]>();
    const subscription = await mq.subscribe(topic, async ({ key, value }) => {
      byKey.set(key ?? "", [...(byKey.get(key ?? "") ?? []), value]);
    });
    const keys = ["acme", "hooli", "umbrella", "initech", "globex", "stark"];
    const sends = Array.from({ length: 100 }, (_, n) =>
      mq.send(
        topic,
        keys.map((key) => ({ key, value: n })),
      ),
    );
    await Promise.all(sends);
    await until(
      () => subscription.view().done,
      (done) => done >= 600,
      PATIENCE,
    );
    const expected = Array.from({ length: 100 }, (_, n) => n);
    expect([...byKey.keys()].sort()).toEqual([...keys].sort());
    for (const values of byKey.values()) expect(values).toEqual(expected);
    await until(
      () => subscription.lag(),
      (lag) => lag === 0n,
      PATIENCE,
    );
  });

  const CODECS = ["json", "protobuf"] as const;
  const COMPRESSIONS = ["none", "gzip", "snappy", "lz4"] as const;
  const WAYS = CODECS.flatMap((codec) => COMPRESSIONS.map((compression) => ({ codec, compression })));
  test("no way is lost", () => expect(WAYS).toHaveLength(8));
  test.each(WAYS)("comes back as it went: $codec, $compression", async ({ codec, compression }) => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ producer: { compression } });
    const { name } = await aTopic(mq);
    const note = protobuf
      .parse('syntax = "proto3"; message Note { string text = 1; repeated int32 seq = 2; }')
      .root.lookupType("Note");
    const asNote = (value: unknown): { text: string; seq: number[] } => value as { text: string; seq: number[] };
    const type = {
      encode: (value: { text: string; seq: number[] }) => note.encode(value),
      decode: (bytes: Uint8Array) => asNote(note.toObject(note.decode(bytes), { arrays: true })),
    };
    const topic = { name, codec: codec === "json" ? jsonCodec(asNote) : protobufCodec(type) };
    const sent = Array.from({ length: 20 }, (_, n) => ({ text: "grüße ".repeat(200), seq: [n, n + 1] }));
    const seen: unknown[] = [];
    await mq.subscribe(topic, async ({ value }) => void seen.push(value));
    await mq.send(
      topic,
      sent.map((value) => ({ key: "k", value })),
    );
    await until(
      () => seen.length,
      (length) => length >= 20,
      PATIENCE,
    );
    expect(seen).toEqual(sent);
  });
});

describe("a message that cannot be handled", () => {
  test("is tried again, then set aside with what happened; the offset moves on and the others flow", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq, 2);
    const tries: number[] = [];
    const fine: number[] = [];
    const subscription = await mq.subscribe(topic, async ({ value, attempt }) => {
      if (value !== "poison") return void fine.push(Number(value));
      tries.push(attempt);
      throw new TypeError("cannot read\n the poison");
    });
    await mq.send(topic, [
      { key: "a", value: 1 },
      { key: "a", value: "poison", headers: { kind: "chat" } },
      { key: "a", value: 2 },
      { key: "b", value: 3 },
    ]);
    await until(
      () => subscription.view().done,
      (done) => done === 4,
      PATIENCE,
    );
    expect([tries, fine.toSorted((a, b) => a - b)]).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(subscription.view()).toMatchObject({ setAside: 1, trouble: null, inWork: 0 });
    await until(
      () => subscription.lag(),
      (lag) => lag === 0n,
      PATIENCE,
    );

    const aside: Incoming<Json>[] = [];
    const other = await rig.open({ consumer: { groupId: "letters" } });
    await other.subscribe(letters(topic), async (message) => void aside.push(message));
    await until(
      () => aside.length,
      (length) => length === 1,
      PATIENCE,
    );
    expect(aside[0]).toMatchObject({
      key: "a",
      value: "poison",
      headers: {
        kind: "chat",
        "dlq-topic": topic.name,
        "dlq-offset": "1",
        "dlq-partition": expect.stringMatching(/^[01]$/),
        "dlq-group": `im-test.${topic.name}`,
        "dlq-attempts": "3",
        "dlq-error-code": "TypeError",
        "dlq-error-message": "cannot read the poison",
        "dlq-timestamp": expect.stringMatching(/^\d{4}-.*Z$/),
        "dlq-at": expect.stringMatching(/^\d{4}-.*Z$/),
      },
    });
    expect(rig.lines.filter((line) => line.includes("a message was set aside"))).toHaveLength(1);
    await subscription.close();
    const again = await mq.subscribe(topic, async () => void tries.push(99));
    expect(await again.lag()).toBe(0n);
    expect(tries).toEqual([1, 2, 3]);
  });

  test("because its bytes mean nothing, or because the handler says so, is set aside at once", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const codes: (string | undefined)[] = [];
    await mq.send(raw(topic.name), [
      { key: null, value: Buffer.from('{"a":1') },
      { key: null, value: Buffer.from([0xff, 0xfe]) },
    ]);
    await mq.send(topic, [{ key: null, value: "refused" }]);
    const refused = new InfraError({
      component: "chat",
      type: "VALIDATION",
      code: "NoTenant",
      message: "no tenant",
      retryable: false,
    });
    const subscription = await mq.subscribe(topic, () => Promise.reject(refused));
    await until(
      () => subscription.view().setAside,
      (count) => count === 3,
      PATIENCE,
    );
    const other = await rig.open({ consumer: { groupId: "letters" } });
    await other.subscribe(raw(`${topic.name}.dlq`), async ({ headers }) => {
      codes.push(`${headers["dlq-error-code"]} ${headers["dlq-attempts"]}`);
    });
    await until(
      () => codes.length,
      (length) => length === 3,
      PATIENCE,
    );
    expect(codes).toEqual(["Undecodable 0", "Undecodable 0", "NoTenant 1"]);
  });

  test("stays where it is while it cannot be set aside, and that is shown", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const subscription = await mq.subscribe(topic, () => Promise.reject(new Error("no")));
    await mq.topics.delete([`${topic.name}.dlq`]);
    await mq.send(topic, [{ key: null, value: 1 }]);
    await until(
      () => subscription.view().trouble,
      (trouble) => trouble !== null,
      PATIENCE,
    );
    expect(subscription.view()).toMatchObject({
      done: 0,
      setAside: 0,
      trouble: expect.stringContaining(`${topic.name}.dlq: the topic does not exist`),
    });
    expect(await mq.check(never)).toMatchObject({ status: "degraded", message: expect.stringContaining(".dlq") });
    await mq.topics.create([{ name: `${topic.name}.dlq`, partitions: 1, replicas: 1 }]);
    await until(
      () => subscription.view().setAside,
      (count) => count === 1,
      PATIENCE,
    );
    expect(await mq.check(never)).toMatchObject({ status: "healthy" });
  });
});

describe("a group", () => {
  test("commits after success: what was in work when a member left comes again, what was done does not", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    await mq.send(
      topic,
      [1, 2, 3, 4].map((value) => ({ key: "k", value })),
    );
    const first: Json[] = [];
    const subscription = await mq.subscribe(topic, async ({ value }, signal) => {
      first.push(value);
      if (value !== 3) return;
      await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
    });
    await until(
      () => first.length,
      (length) => length === 3,
      PATIENCE,
    );
    await subscription.close();
    await subscription.close();
    expect(subscription.view()).toMatchObject({ joined: false, inWork: 0, done: 2 });
    const second: Json[] = [];
    await mq.subscribe(topic, async ({ value }) => void second.push(value));
    await until(
      () => second.length,
      (length) => length === 2,
      PATIENCE,
    );
    expect([first, second]).toEqual([
      [1, 2, 3],
      [3, 4],
    ]);
  });

  test("shares its partitions, and gives those of a member who leaves to the others: nothing is lost, order stays", async () => {
    await using rig = openMqRig(BROKERS);
    const [one, two] = [await rig.open(), await rig.open()];
    const topic = await aTopic(one, 4);
    const seen: { readonly by: string; readonly key: string | null; readonly value: Json }[] = [];
    const by =
      (name: string) =>
      async ({ key, value }: Incoming<Json>) =>
        void seen.push({ by: name, key, value });
    const keys = Array.from({ length: 12 }, (_, i) => `tenant-${i}`);
    let n = 0;
    const round = async (): Promise<void> =>
      one.send(
        topic,
        keys.map((key) => ({ key, value: (n += 1) })),
      );
    const first = await one.subscribe(topic, by("one"));
    await round();
    const second = await two.subscribe(topic, by("two"));
    for (let i = 0; i < 10; i += 1) await round();
    await until(
      () => new Set(seen.map((message) => message.by)).size,
      (size) => size === 2,
      PATIENCE,
    );
    await first.close();
    for (let i = 0; i < 5; i += 1) await round();
    await until(
      () => new Set(seen.map(({ value }) => value)).size,
      (size) => size === n,
      PATIENCE,
    );
    for (const key of keys) {
      const values = seen.filter((message) => message.key === key).map(({ value }) => value as number);
      const firsts = values.filter((value, i) => values.indexOf(value) === i);
      expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
    }
    expect(second.view()).toMatchObject({ joined: true, trouble: null });
  });

  test("drops what it took and did not begin when the partition goes to another member: little is done twice", async () => {
    await using rig = openMqRig(BROKERS);
    const [one, two] = [await rig.open(), await rig.open()];
    const topic = await aTopic(one, 2);
    const values = Array.from({ length: 400 }, (_, n) => n);
    await one.send(
      topic,
      values.map((value) => ({ key: `k${value % 20}`, value })),
    );
    const seen: Json[] = [];
    const slowly = async ({ value }: Incoming<Json>): Promise<void> => {
      await systemClock.sleep(millisOf(5));
      seen.push(value);
    };
    await one.subscribe(topic, slowly);
    await until(
      () => seen.length,
      (length) => length >= 20,
      PATIENCE,
    );
    await two.subscribe(topic, slowly);
    await until(
      () => new Set(seen).size,
      (size) => size === values.length,
      PATIENCE,
    );
    expect(seen.length - values.length).toBeLessThan(20);
  });

  test("that reads a topic which is deleted and made again loses none of the new one's messages", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const seen: Json[] = [];
    await mq.subscribe(topic, async ({ value }) => void seen.push(value));
    await mq.send(
      topic,
      [1, 2, 3].map((value) => ({ key: "k", value })),
    );
    await until(
      () => seen.length,
      (length) => length === 3,
      PATIENCE,
    );
    await mq.topics.delete([topic.name]);
    await mq.topics.create([{ name: topic.name, partitions: 1, replicas: 1 }]);
    const sender = await rig.open();
    await sender.send(
      topic,
      [4, 5].map((value) => ({ key: "k", value })),
    );
    await until(
      () => seen.length,
      (length) => length === 5,
      PATIENCE,
    );
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  test("of one service reads several topics, each in full", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topics = [await aTopic(mq, 2), await aTopic(mq, 2), await aTopic(mq)];
    const seen: string[] = [];
    for (const topic of topics) await mq.subscribe(topic, async ({ topic: name }) => void seen.push(name));
    for (const topic of topics)
      await mq.send(
        topic,
        ["a", "b", "c", "d"].map((key) => ({ key, value: 1 })),
      );
    await until(
      () => seen.length,
      (length) => length === 12,
      PATIENCE,
    );
    expect(topics.map(({ name }) => seen.filter((one) => one === name).length)).toEqual([4, 4, 4]);
  });

  test("a paused member takes nothing and stays one; the lag shows it", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open();
    const topic = await aTopic(mq);
    const seen: Json[] = [];
    const subscription = await mq.subscribe(topic, async ({ value }) => void seen.push(value));
    await mq.send(topic, [{ key: "k", value: 1 }]);
    await until(
      () => subscription.lag(),
      (lag) => lag === 0n && seen.length === 1,
      PATIENCE,
    );
    subscription.pause();
    await mq.send(
      topic,
      [2, 3, 4].map((value) => ({ key: "k", value })),
    );
    await until(
      () => subscription.lag(),
      (lag) => lag === 3n,
      PATIENCE,
    );
    expect([seen, subscription.view().paused]).toEqual([[1], true]);
    subscription.resume();
    await until(
      () => seen.length,
      (length) => length === 4,
      PATIENCE,
    );
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  test("never has more in work than maxPollRecords, and follows a change of it", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ consumer: { maxPollRecords: 3 } });
    const topic = await aTopic(mq, 6);
    const waiting: (() => void)[] = [];
    const subscription = await mq.subscribe(topic, () => new Promise<void>((resolve) => waiting.push(resolve)));
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    await mq.send(
      topic,
      keys.map((key) => ({ key, value: 1 })),
    );
    await until(
      () => subscription.view().inWork,
      (inWork) => inWork === 3,
      PATIENCE,
    );
    const next = mqSettingsFor(BROKERS, { consumer: { maxPollRecords: 5 } });
    expect(mq.reload(next)).toEqual({ applied: ["consumer.maxPollRecords"], needsRestart: [] });
    waiting.shift()?.();
    await until(
      () => subscription.view().inWork,
      (inWork) => inWork === 5,
      PATIENCE,
    );
    const freeing = setInterval(() => waiting.splice(0).forEach((done) => done()), 1);
    await until(
      () => subscription.view(),
      ({ done, inWork }) => inWork <= 5 && done === 60,
      PATIENCE,
    );
    clearInterval(freeing);
    expect(subscription.view().done).toBe(60);
  });
});

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
