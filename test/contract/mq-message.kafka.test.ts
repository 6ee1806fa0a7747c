import protobuf from "protobufjs";
import { describe, expect, inject, test } from "vitest";
import { jsonCodec, protobufCodec } from "../../src/infra/mq/codec.ts";
import type { Incoming, Topic } from "../../src/infra/mq/mq.ts";
import { InfraError } from "../../src/lib/infra-error.ts";
import type { Json } from "../../src/lib/json.ts";
import { until } from "../support/egress/until.ts";
import { parseTrace } from "../../src/infra/metrics/trace-context.ts";
import { aTopic, openMqRig, tracer } from "../support/mq-rig.ts";

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

const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

describe("a message", () => {
  test("goes through once, with its key, headers and the trace it was sent under", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ enableTracing: true });
    const topic = await aTopic(mq);
    const seen: (Incoming<Json> & { readonly under: string | null })[] = [];
    await mq.subscribe(topic, async (message) => void seen.push({ ...message, under: tracer.header() }));
    const before = Date.now();
    await tracer.span("a request", { from: TRACEPARENT }, () =>
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
      headers: { kind: "chat", ü: "ö", traceparent: TRACEPARENT },
      attempt: 1,
      under: TRACEPARENT,
    });
    expect(Number(seen[0]?.at)).toBeGreaterThanOrEqual(before - 1000);
    expect(seen[1]).toMatchObject({ key: null, value: null, headers: {} });
    expect(parseTrace(seen[1]?.under ?? "")?.traceId).not.toBe(parseTrace(TRACEPARENT)?.traceId);
    await expect(rig.metrics()).resolves.toContain(`infra_mq_messages_total{topic="${topic.name}",result="handled"} 2`);
  });

  test("carries no trace where the settings want none", async () => {
    await using rig = openMqRig(BROKERS);
    const mq = await rig.open({ enableTracing: false });
    const topic = await aTopic(mq);
    const seen: unknown[] = [];
    await mq.subscribe(topic, async ({ headers }) => void seen.push(headers));
    await tracer.span("a request", { from: TRACEPARENT }, () => mq.send(topic, [{ key: null, value: 1 }]));
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
