import { begun, completed, forward, history } from "./build.ts";
import { proves } from "./table.ts";

const MIN = 60_000;
const DAY = 86_400_000;

proves("stale", {
  ids: ["S29", "L4"],
  good: [
    ["S29", "nothing comes of it", completed().happens("rest").happens("replay").happens("fresh")],
    ["S29", "a write that is refused", completed().happens("rest").happens("replay").write("api/status", 409)],
    [
      "L4",
      "seen after five minutes",
      begun()
        .told({ paused: true })
        .version({ status: { ...begun().status(), observedGeneration: 1 } }),
    ],
  ],
  bad: [
    ["S29", "a status is accepted", completed().happens("rest").happens("replay").write("api/status")],
    ["S29", "a lock is accepted", completed().happens("rest").happens("replay").write("api/tenant")],
    ["S29", "an effect", completed().happens("rest").happens("replay").late("route", { seq: 1 })],
    ["S29", "a version", completed().happens("rest").happens("replay").version()],
    [
      "S29",
      "the same fence claimed twice",
      begun()
        .claim("route")
        .claim("notify")
        .stage("check", { seq: 2, state: "Running", claim: { nonce: "q", by: "p", at: 0, until: null } }),
    ],
    ["L4", "not seen for seven minutes", unseen(7 * MIN)],
    ["L4", "not seen for a day", unseen(DAY)],
    [
      "L4",
      "a new task is not seen",
      history()
        .born()
        .after(7 * MIN)
        .happens("calm"),
    ],
    ["L4", "seen after ten minutes", unseen(10 * MIN).version()],
    [
      "L4",
      "a deletion is not seen",
      begun()
        .version({ generation: 3, deletingSince: 1, status: null })
        .after(7 * MIN)
        .happens("calm"),
    ],
  ],
});

function unseen(after: number) {
  const run = begun().told({ paused: true });
  const last = run.entries.pop();
  if (last?.is === "task" && last.status !== null)
    run.entries.push({ ...last, status: { ...last.status, observedGeneration: 1 } });
  return run.after(after).happens("calm");
}

const DIVERGED = { reason: "Diverged", unblock: "kubectl …" };
proves("diverged", {
  ids: ["S30"],
  good: [
    ["S30", "stops and says so", forward().version({ status: null }).say({ waiting: DIVERGED, epoch: 1 })],
    ["S30", "the record is gone, nothing more happens", forward().tenant({ deleted: true })],
    ["S30", "a newer one is left alone", forward().say({ protocolVersion: 2 }).version({ finalizer: true })],
    ["S30", "a terminal one was emptied", completed().version({ status: null })],
  ],
  bad: [
    ["S30", "begins anew after its status was emptied", forward().version({ status: null }).ready().claim("route")],
    ["S30", "goes on after its status was emptied", begun().claim("route").version({ status: null }).claim("notify")],
    [
      "S30",
      "an effect after its status was emptied",
      begun().claim("route").version({ status: null }).late("route", { seq: 1 }, { fence: "1795244397-00000001" }),
    ],
    [
      "S30",
      "claims although the record of its tenant is gone",
      forward().tenant({ deleted: true }).claim("route", "write"),
    ],
    [
      "S30",
      "claims although the record of its tenant is empty",
      begun().claim("route").tenant({ epoch: null }).claim("notify"),
    ],
    ["S30", "claims although it had diverged", forward().say({ waiting: DIVERGED }).claim("notify")],
    ["S30", "writes a newer one", forward().say({ protocolVersion: 2 }).phase("Completed")],
    ["S30", "writes a newer one down to its own", forward().say({ protocolVersion: 2 }).say({ protocolVersion: 1 })],
  ],
});
