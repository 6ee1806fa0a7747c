import { describe, expect, inject, test } from "vitest";
import type { Incoming } from "../../src/infra/mq/mq.ts";
import { systemClock } from "../../src/kube/clock.ts";
import type { Json } from "../../src/lib/json.ts";
import { millisOf } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { aTopic, mqSettingsFor, openMqRig } from "../support/mq-rig.ts";

const BROKERS = inject("env").KAFKA_BROKERS ?? "";
const PATIENCE = 20_000;

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
