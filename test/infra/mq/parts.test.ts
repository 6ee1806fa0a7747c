import {
  GenericError,
  MultipleErrors,
  NetworkError,
  ProtocolError,
  TimeoutError,
  UserError,
} from "@platformatic/kafka";
import { describe, expect, test } from "vitest";
import { Batcher } from "../../../src/infra/mq/batcher.ts";
import { Committer, type Position } from "../../../src/infra/mq/committer.ts";
import { deadLetterOf, verdictOf } from "../../../src/infra/mq/dead-letter.ts";
import { Intake } from "../../../src/infra/mq/intake.ts";
import { Lane } from "../../../src/infra/mq/lane.ts";
import { mqErrorOf, sendErrorOf } from "../../../src/infra/mq/mq-failures.ts";
import { millisOf, seconds } from "../../../src/lib/time.ts";
import { ManualClock, NOON, seededRng } from "../../support/manual-clock.ts";

const never = new AbortController().signal;

describe("what the vendor throws is classified once", () => {
  const chain = (...errors: readonly Error[]): Error => new MultipleErrors("produce failed 2 times.", [...errors]);
  const ROWS: readonly (readonly [what: string, error: unknown, code: string, retryable: boolean])[] = [
    ["[kafka/denied] no right", new ProtocolError("TOPIC_AUTHORIZATION_FAILED"), "PermissionDenied", false],
    ["[kafka/denied] a wrong password", new GenericError("PLT_KFK_AUTHENTICATION", "SASL"), "AuthRefused", false],
    ["[kafka/busy] too few replicas", chain(new ProtocolError("NOT_ENOUGH_REPLICAS")), "Unavailable", true],
    ["[kafka/busy] a leader that moves", new ProtocolError("NOT_LEADER_OR_FOLLOWER"), "Unavailable", true],
    ["[kafka/busy] a coordinator that loads", new ProtocolError("COORDINATOR_LOAD_IN_PROGRESS"), "Unavailable", true],
    ["a topic that is missing", new UserError("Unknown topic t."), "TopicAbsent", false],
    ["partitions given to others", new ProtocolError("ILLEGAL_GENERATION"), "Rebalanced", true],
    [
      "a broker without TLS",
      new NetworkError("x", { cause: new UserError("TLS handshake failed. Please") }),
      "TlsFailed",
      false,
    ],
    ["an unlisted broker among retries", chain(new NetworkError("x", { unlisted: "h:1" })), "UnlistedBroker", false],
    ["no connection", chain(new NetworkError("Connection to h:1 failed.")), "ConnectFailed", true],
    ["anything else", new Error("boom"), "Refused", false],
    ["no error at all", "boom", "Refused", false],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(12));
  test.each(ROWS)("%s", (_what, error, code, retryable) => {
    expect(mqErrorOf(error, "t")).toMatchObject({ component: "mq", code, retryable });
  });
  test("what was handed over and not answered is unknown; what never left is not", () => {
    const refused = new NetworkError("Connection to h:1 failed.", {
      cause: new Error("connect ECONNREFUSED 127.0.0.1:1"),
    });
    expect(sendErrorOf(chain(refused, refused), "t")).toMatchObject({ code: "ConnectFailed", retryable: true });
    expect(sendErrorOf(chain(new TimeoutError("Request timed out"), refused), "t")).toMatchObject({
      code: "SendUnknown",
      retryable: false,
    });
    expect(sendErrorOf(new NetworkError("Connection closed"), "t")).toMatchObject({ code: "SendUnknown" });
    expect(sendErrorOf(new ProtocolError("MESSAGE_TOO_LARGE"), "t")).toMatchObject({ code: "TooLarge" });
  });
  test("shows nothing of what the vendor says", () => {
    expect(mqErrorOf(new Error("password hunter2"), "t").message).not.toContain("hunter2");
  });
});

describe("batches", () => {
  const limits = { size: 100, linger: millisOf(5), buffer: 250, most: 120, patience: seconds(1) };
  function aBatcher() {
    const clock = new ManualClock();
    const sent: number[][] = [];
    const answers: PromiseWithResolvers<void>[] = [];
    const batcher = new Batcher<number>({
      clock,
      limits,
      send: (records) => {
        sent.push([...records]);
        const answer = Promise.withResolvers<void>();
        answers.push(answer);
        return answer.promise;
      },
    });
    return { clock, sent, answers, batcher };
  }

  test("wait for linger or for size, and one is on its way at a time, in order", async () => {
    const { clock, sent, answers, batcher } = aBatcher();
    const all = [1, 2].map((n) => batcher.add(n, 10));
    await clock.advance(millisOf(4));
    expect(sent).toEqual([]);
    await clock.advance(millisOf(1));
    expect(sent).toEqual([[1, 2]]);
    all.push(...[3, 4, 5].map((n) => batcher.add(n, 40)));
    await clock.advance(seconds(1));
    expect(sent).toEqual([[1, 2]]);
    answers[0]?.resolve();
    await clock.advance(millisOf(0));
    expect(sent).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    answers[1]?.resolve();
    await Promise.all(all);
    expect([batcher.bytes, clock.sleeping]).toEqual([0, 0]);
  });

  test("are no larger than a request may be, and a failed one fails alone", async () => {
    const { clock, sent, answers, batcher } = aBatcher();
    const outcomes = [1, 2, 3].map((n) => batcher.add(n, 70).then(() => "sent", String));
    await clock.advance(millisOf(5));
    expect(sent).toEqual([[1]]);
    answers[0]?.reject("lost");
    await clock.advance(millisOf(5));
    answers[1]?.resolve();
    await clock.advance(millisOf(5));
    answers[2]?.resolve();
    expect(await Promise.all(outcomes)).toEqual(["lost", "sent", "sent"]);
    await expect(batcher.add(4, 121)).rejects.toMatchObject({ code: "TooLarge" });
  });

  test("a full buffer makes the next wait, and not for ever", async () => {
    const { clock, sent, answers, batcher } = aBatcher();
    const outcomes = [120, 120, 50, 100].map((bytes, n) =>
      batcher.add(n, bytes).then(
        () => "sent",
        ({ code }) => String(code),
      ),
    );
    await clock.advance(millisOf(500));
    expect([sent, batcher.bytes]).toEqual([[[0]], 240]);
    answers[0]?.resolve();
    await clock.advance(millisOf(400));
    expect([sent, batcher.bytes]).toEqual([[[0], [1]], 170]);
    await clock.advance(millisOf(200));
    answers[1]?.resolve();
    await clock.advance(millisOf(10));
    answers[2]?.resolve();
    expect(await Promise.all(outcomes)).toEqual(["sent", "sent", "sent", "BufferFull"]);
    expect([batcher.bytes, clock.sleeping]).toEqual([0, 0]);
  });

  test("at the end what waits is sent, and nothing more is taken", async () => {
    const { clock, sent, answers, batcher } = aBatcher();
    const last = batcher.add(1, 10);
    const closing = batcher.close();
    await clock.advance(millisOf(0));
    expect(sent).toEqual([[1]]);
    answers[0]?.resolve();
    await Promise.all([last, closing]);
    await expect(batcher.add(2, 10)).rejects.toMatchObject({ code: "Closed" });
  });
});

describe("commits", () => {
  const at = (partition: number, offset: bigint): Position => ({ topic: "t", partition, offset, leaderEpoch: 0 });
  function aCommitter(over: AbortSignal = never) {
    const clock = new ManualClock();
    const committed: string[] = [];
    const failures: unknown[] = [];
    const answers: PromiseWithResolvers<void>[] = [];
    const committer = new Committer({
      clock,
      rng: seededRng(),
      timeout: seconds(1),
      over,
      onFailed: (error) => void failures.push(error),
      commit: (positions) => {
        committed.push(positions.map(({ partition, offset }) => `${partition}@${offset}`).join(" "));
        const answer = Promise.withResolvers<void>();
        answers.push(answer);
        return answer.promise;
      },
    });
    return { clock, committed, failures, answers, committer };
  }

  test("go one at a time, the newest of each partition with the next, and never back", async () => {
    const { committed, answers, committer } = aCommitter();
    committer.note(at(0, 1n));
    for (const offset of [2n, 4n, 3n]) committer.note(at(0, offset));
    committer.note(at(1, 7n));
    answers[0]?.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    answers[1]?.resolve();
    await committer.idle();
    expect(committed).toEqual(["0@1", "0@4 1@7"]);
  });

  test("that fail are tried again while the session lasts, and not afterwards", async () => {
    const over = new AbortController();
    const { clock, committed, failures, answers, committer } = aCommitter(over.signal);
    committer.note(at(0, 1n));
    answers[0]?.reject(new Error("no"));
    await clock.advance(millisOf(100));
    expect([committed, failures.length]).toEqual([["0@1", "0@1"], 1]);
    over.abort();
    await clock.advance(seconds(1));
    await committer.idle();
    expect([committed.length, failures.length, clock.sleeping]).toEqual([2, 2, 0]);
  });
});

describe("messages of a partition", () => {
  test("run one after the other; what was done once is known", async () => {
    const lane = new Lane();
    const seen: string[] = [];
    const first = Promise.withResolvers<void>();
    lane.push(async () => {
      await first.promise;
      seen.push("first");
    });
    lane.push(async () => void seen.push("second"));
    expect([lane.isDone(0n), seen]).toEqual([false, []]);
    lane.done(4n);
    first.resolve();
    await lane.idle();
    expect([seen, lane.isDone(4n), lane.isDone(5n), lane.next]).toEqual([["first", "second"], true, false, 5n]);
    lane.forget();
    await lane.idle();
    expect([lane.isDone(4n), lane.next]).toEqual([false, null]);
  });

  test("are let in up to the limit of now, none while paused, and a waiting one can give up", async () => {
    let most = 1;
    const intake = new Intake(() => most);
    const release = await intake.admit(never);
    const waiting = intake.admit(never);
    expect(intake.held).toBe(1);
    release();
    const second = await waiting;
    intake.pause();
    most = 9;
    const giveUp = new AbortController();
    const paused = intake.admit(giveUp.signal);
    giveUp.abort(new Error("enough"));
    await expect(paused).rejects.toThrow("enough");
    intake.resume();
    await intake.admit(never);
    second();
    expect([intake.held, intake.paused]).toEqual([1, false]);
  });
});

describe("a dead letter", () => {
  const message = {
    topic: "t",
    partition: 3,
    offset: 7n,
    key: "k",
    value: Buffer.from("x"),
    headers: { kind: "chat" },
    at: NOON,
  };
  test("has what came, where it stood and what happened, in one bounded line", () => {
    const verdict = verdictOf(new RangeError(`a\nb ${"x".repeat(2000)}`), 3);
    const letter = deadLetterOf(message, { group: "g", verdict, now: NOON });
    expect(letter).toMatchObject({ topic: "t.dlq", key: "k", value: Buffer.from("x") });
    expect(letter.headers).toMatchObject({
      kind: "chat",
      "dlq-offset": "7",
      "dlq-partition": "3",
      "dlq-error-code": "RangeError",
    });
    expect(letter.headers["dlq-error-message"]).toMatch(/^a b x{496}$/);
  });
  test.each([
    ["a text", "plain", "Thrown"],
    ["nothing", undefined, "Thrown"],
  ])("%s that was thrown has a code as well", (_what, thrown, code) => {
    expect(verdictOf(thrown, 1)).toMatchObject({ code, attempts: 1 });
  });
});
