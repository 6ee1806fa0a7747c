import { expect, test } from "vitest";
import { ControllerRig, TASK } from "../support/controller-rig.ts";
import { ASK, aWriteOnly } from "../support/controller-runs.ts";

type Fields = Record<string, unknown>;

/** What somebody with a right to the status might do to it in the middle of a switch. */
const EDITS: Readonly<Record<string, (status: Fields) => unknown>> = {
  "emptied it": () => ({}),
  "took it away": () => undefined,
  "lowered seq": (status) => ({ ...status, seq: 1 }),
  "raised seq": (status) => ({ ...status, seq: 99 }),
  "raised the epoch": (status) => ({ ...status, epoch: Number(status["epoch"]) + 1 }),
  "took the epoch away": ({ epoch: _epoch, ...status }) => status,
  "took the plan away": ({ plan: _plan, ...status }) => status,
  "changed the plan's digest": (status) => ({
    ...status,
    plan: { ...(status["plan"] as Fields), digest: `sha256:${"0".repeat(64)}` },
  }),
  "took the journal away": ({ stages: _stages, ...status }) => status,
};

test.each(Object.entries(EDITS))(
  "[SEC-15] [S30] somebody %s: the task stops as Diverged, and nothing is sent, whatever is asked",
  async (_what, edit) => {
    const rig = new ControllerRig({ stages: [...aWriteOnly, ASK] });
    const process = rig.process();
    expect(await process.rest()).toBe("Running");
    const sent = rig.sent.length;
    const status = rig.kube.get("switchtasks", TASK)?.["status"] as Fields;
    rig.kube.applyStatus("switchtasks", TASK, edit(status));
    rig.control({ rollback: true, approvals: { ask: { ann: { decision: "Approve", expect: null, comment: "" } } } });
    await process.rest();
    expect(rig.status()?.waiting?.reason).toBe("Diverged");
    expect(rig.tenant?.holder?.task).toBe("acme-green");
    expect(rig.sent).toHaveLength(sent);
  },
);

test("there are nine edits", () => expect(Object.keys(EDITS)).toHaveLength(9));
