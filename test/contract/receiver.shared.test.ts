import { describe, expect, inject, test } from "vitest";
import { sendTo } from "../../src/cli/conformance-send.ts";
import type { ConformanceAnswer } from "../../src/receiver/conformance-play.ts";
import { aConfiguration, fenceOf, TENANT } from "../support/receiver-build.ts";
import { type ReceiverProcess, startReceiver } from "../support/receiver-process.ts";
import { trialFolder } from "../support/receiver-target.ts";
import { until } from "../support/egress/until.ts";

async function twoProcesses(applyTimeoutMs: number) {
  const folder = await trialFolder();
  const store = { redis: inject("env").REDIS_URL ?? "", prefix: `shared:${folder.path}:` };
  const settings = { store, tokenFile: folder.tokenFile, applyTimeoutMs };
  const [a, b] = await Promise.all([startReceiver(settings), startReceiver(settings)]);
  const put = (to: ReceiverProcess, seq: number, opId = `op${seq}`): Promise<ConformanceAnswer> =>
    sendTo(
      { origin: to.origin, token: folder.token },
      {
        method: "PUT",
        path: `/turnout/v1/tenants/${TENANT}`,
        as: "known",
        headers: {
          "turnout-tenant": TENANT,
          "turnout-fence": fenceOf(seq),
          "turnout-base": fenceOf(seq - 1),
          "idempotency-key": opId,
          "content-type": "application/json",
        },
        body: new TextEncoder().encode(JSON.stringify(aConfiguration())),
      },
    );
  /** Until process `to` knows that the other one has begun: its fence is stored, nothing is in force. */
  const begun = (to: ReceiverProcess, seq: number) => {
    const path = `/turnout/v1/tenants/${TENANT}`;
    const get = () =>
      sendTo({ origin: to.origin, token: folder.token }, { method: "GET", path, as: "known", headers: {} });
    const seen = async () => (JSON.parse(Buffer.from((await get()).body).toString()) as { seen?: string }).seen;
    return until(seen, (fence) => fence === fenceOf(seq));
  };
  const dispose = async (): Promise<void> => {
    await Promise.all([a.kill(), b.kill()]);
    await folder[Symbol.asyncDispose]();
  };
  return { a, b, put, begun, [Symbol.asyncDispose]: dispose };
}

const codeOf = ({ body }: ConformanceAnswer): unknown =>
  (JSON.parse(Buffer.from(body).toString()) as { code?: unknown }).code;

describe("[S8] two processes of one service over one Redis", () => {
  test("what one applied is in force for the other, and its fence binds it", async () => {
    await using both = await twoProcesses(5000);
    expect((await both.put(both.a, 5)).status).toBe(200);
    expect((await both.put(both.b, 5)).status).toBe(200);
    expect(codeOf(await both.put(both.b, 4))).toBe("Fenced");
    expect(await both.b.tell("count", TENANT)).toBe(0);
  });

  test("many claims at once, through both, have their effects in the order of their fences", async () => {
    await using both = await twoProcesses(5000);
    const seqs = Array.from({ length: 16 }, (_, i) => 5 + i);
    const answers = await Promise.all(seqs.map((seq) => both.put(seq % 2 === 0 ? both.a : both.b, seq)));
    const accepted = seqs.filter((_, i) => answers[i]?.status === 200);
    const last = await both.put(both.a, Math.max(...accepted));
    expect(JSON.parse(Buffer.from(last.body).toString())).toMatchObject({ opId: `op${Math.max(...accepted)}` });
    const effects = (await both.a.tell("count", TENANT)) + (await both.b.tell("count", TENANT));
    expect(effects).toBe(accepted.length);
  });

  test("an undo waits for the operation that the other process has in hand", async () => {
    await using both = await twoProcesses(60_000);
    await both.a.tell("hold", TENANT);
    const original = both.put(both.a, 5);
    await both.begun(both.b, 5);
    expect(codeOf(await both.put(both.b, 6, "undo"))).toBe("Busy");
    await both.a.tell("let go", TENANT);
    expect((await original).status).toBe(200);
    expect((await both.put(both.b, 6, "undo")).status).toBe(200);
  });

  test("an undo is let in once the process that held the tenant is dead, and its lease over", async () => {
    await using both = await twoProcesses(500);
    await both.a.tell("hold", TENANT);
    const original = both.put(both.a, 5).catch(() => "lost");
    await both.begun(both.b, 5);
    await both.a.kill();
    expect(await original).toBe("lost");
    const answers = new Set<unknown>();
    await until(
      async () => {
        const answer = await both.put(both.b, 6, "undo");
        answers.add(answer.status === 200 ? "applied" : codeOf(answer));
        return answer.status;
      },
      (status) => status === 200,
    );
    expect([...answers]).toEqual(["Busy", "applied"]);
    expect(codeOf(await both.put(both.b, 5))).toBe("Fenced");
  });
});
