import {
  aStage,
  begun,
  completed,
  forward,
  history,
  NOTIFY,
  rolledBack,
  ROUTE,
  undoing,
  CHECK,
  GATE,
} from "./build.ts";
import { proves } from "./table.ts";

const two = { stages: [ROUTE, NOTIFY, aStage("patch", { role: "write" })] };

proves("order", {
  ids: ["S1", "S2", "S4", "S21"],
  good: [
    ["S1", "three stages in order", completed()],
    ["S1", "a stage was skipped", begun().claim("route").stage("notify", { state: "Skipped" }).claim("check")],
    ["S2", "route, publish, notify, verify", rolledBack()],
    [
      "S2",
      "nothing but a read was claimed",
      begun({ spec: { stages: [CHECK] } })
        .claim("check")
        .say({ direction: "Back" })
        .ends("RolledBack"),
    ],
    ["S4", "turned once", rolledBack()],
    ["S21", "told to go back while a stage ran", undoing()],
  ],
  bad: [
    ["S1", "the second stage first", begun().claim("notify")],
    ["S1", "the last stage first", begun().claim("check")],
    [
      "S1",
      "the stage before failed",
      begun().claim("route").stage("route", { state: "Failed", claim: null }).claim("notify"),
    ],
    [
      "S1",
      "the stage before is still running",
      begun()
        .claim("route")
        .stage("notify", { state: "Running", seq: 2, claim: { nonce: "x", by: "p", at: 0, until: 1 } }),
    ],
    [
      "S1",
      "the stage before was undone",
      begun().claim("route").stage("route", { state: "RolledBack", claim: null }).claim("notify"),
    ],
    [
      "S1",
      "the gate before has not opened",
      begun({ spec: { stages: [GATE, NOTIFY] } })
        .stage("gate", { state: "Pending" })
        .claim("notify"),
    ],
    ["S2", "announced before the write was undone", forward().claim("notify", "announce").claim("route", "write")],
    ["S2", "the verify first", forward().claim("check", "verify")],
    [
      "S2",
      "the publication was forgotten",
      forward().claim("route", "write").claim("notify", "announce").claim("check", "verify").ends("RolledBack"),
    ],
    [
      "S2",
      "no verify at the end",
      forward().claim("route", "write").claim("route", "publish").claim("notify", "announce").ends("RolledBack"),
    ],
    [
      "S2",
      "a stage that was never claimed is undone",
      begun().claim("route").claim("route", "write").claim("route", "publish").claim("notify", "announce"),
    ],
    [
      "S2",
      "the first segment before the last",
      begun({ spec: two })
        .claim("route")
        .claim("notify")
        .claim("patch")
        .claim("route", "write")
        .claim("patch", "write"),
    ],
    ["S2", "RolledBack without any undo", forward().say({ direction: "Back" }).ends("RolledBack")],
    ["S4", "forward again in the middle of the undo", undoing().say({ direction: "Forward" })],
    ["S4", "forward again after RolledBack", rolledBack().say({ direction: "Forward" })],
    ["S4", "forward again before the first undo", forward().say({ direction: "Back" }).say({ direction: "Forward" })],
    ["S4", "forward again in the same write as a claim", undoing().claim("notify", null).say({ direction: "Forward" })],
    ["S4", "back, forward, back", undoing().say({ direction: "Forward" }).say({ direction: "Back" })],
    [
      "S21",
      "a stage claimed forward after the turn",
      begun().claim("route").say({ direction: "Back", phase: "RollingBack" }).claim("notify"),
    ],
    ["S21", "the same stage again", begun().claim("route").say({ direction: "Back" }).claim("route")],
    ["S21", "between two undo claims", forward().claim("route", "write").claim("notify")],
    ["S21", "after RolledBack", rolledBack().claim("route")],
    [
      "S21",
      "a gate, too",
      begun({ spec: { stages: [ROUTE, GATE] } })
        .claim("route")
        .say({ direction: "Back" })
        .claim("gate"),
    ],
  ],
});

proves("steps", {
  ids: ["S5", "S6"],
  good: [
    ["S5", "to the end", completed()],
    ["S5", "back", rolledBack()],
    ["S6", "a second attempt", begun().claim("route").stage("route", { claim: null, retryAt: 1 }).claim("route")],
  ],
  bad: [
    ["S5", "seq fell", forward().say({ seq: 1 })],
    ["S5", "a stage went back to Pending", begun().claim("route").stage("route", { state: "Pending" })],
    [
      "S5",
      "a failed stage was never tried",
      begun().claim("route").stage("route", { state: "Failed", claim: null }).stage("route", { state: "Pending" }),
    ],
    ["S5", "entries changed places", forward().say({ stages: forward().status().stages.toReversed() })],
    ["S5", "history goes back in time", forward().say({ times: [1000, 3000, 2000] })],
    ["S5", "the plan changed", begun().claim("route").say({ plan: "another plan" })],
    [
      "S5",
      "two claims in one write",
      begun()
        .claim("route")
        .say({
          seq: 3,
          stages: forward()
            .status()
            .stages.map((stage) => ({ ...stage, claim: { nonce: `z${stage.name}`, by: "p", at: 0, until: 1 } })),
        }),
    ],
    [
      "S5",
      "a claim without a new seq",
      begun()
        .claim("route")
        .stage("route", { claim: { nonce: "other", by: "p2", at: 0, until: 1 } }),
    ],
    ["S6", "a completed stage runs again", forward().stage("route", { state: "Running" })],
    ["S6", "a completed stage failed", forward().stage("route", { state: "Failed" })],
    ["S6", "a skipped stage runs", begun().stage("route", { state: "Skipped" }).stage("route", { state: "Running" })],
    ["S6", "an undone part was forgotten", undoing().stage("route", { undone: [] })],
    ["S6", "an entry is gone", forward().say({ stages: [] })],
    ["S6", "the status is gone", forward().version({ status: null })],
    ["S6", "undone and running again", rolledBack().stage("notify", { state: "Running" })],
  ],
});

proves("mutex", {
  ids: ["S9", "S28"],
  good: [
    ["S9", "one after the other", completed().born({ name: "blue", uid: "uid-2" }).ready().claim("route")],
    [
      "S9",
      "two tenants",
      forward()
        .born({ name: "beta", uid: "uid-2", spec: { tenantId: "beta" } })
        .claim("route"),
    ],
    [
      "S9",
      "two that only ask",
      begun({ spec: { stages: [CHECK] } })
        .claim("check")
        .born({ name: "blue", uid: "uid-2", spec: { stages: [CHECK] } })
        .claim("check"),
    ],
    ["S28", "released when Completed", completed()],
    [
      "S28",
      "released by force, abandoned first",
      forward().phase("Cancelled", { abandoned: true }).released({ forced: true }),
    ],
  ],
  bad: [
    ["S9", "the second begins while the first runs", forward().born({ name: "blue", uid: "uid-2" }).claim("route")],
    [
      "S9",
      "the second begins while the first is Failed",
      forward().phase("Failed").born({ name: "blue", uid: "uid-2" }).claim("route"),
    ],
    [
      "S9",
      "the second begins while the first rolls back",
      undoing().born({ name: "blue", uid: "uid-2" }).claim("route"),
    ],
    [
      "S9",
      "the second begins while the first cannot roll back",
      undoing().phase("RollbackFailed").born({ name: "blue", uid: "uid-2" }).claim("notify"),
    ],
    [
      "S9",
      "a completed one goes back while another runs",
      completed().born({ name: "blue", uid: "uid-2" }).claim("route").on("uid-1").claim("route", "write"),
    ],
    [
      "S9",
      "the second begins while the first is paused",
      begun().claim("route").phase("Paused").born({ name: "blue", uid: "uid-2" }).claim("route"),
    ],
    ["S28", "free while Running", forward().released()],
    ["S28", "free while Failed", forward().phase("Failed").released()],
    ["S28", "taken by another", forward().tenant({ holder: { task: "blue", uid: "uid-2", direction: "Forward" } })],
    ["S28", "free while RollbackFailed", undoing().phase("RollbackFailed").released()],
    ["S28", "a holder that is going back is not over", completed().locked("Back").released()],
    ["S28", "free although the holder was never seen to end", begun().released()],
  ],
});

const E = 1_795_244_397;
proves("fence", {
  ids: ["S10"],
  good: [
    ["S10", "over two tasks", completed().born({ name: "blue", uid: "uid-2" }).ready().claim("route").effect()],
    ["S10", "back again", rolledBack()],
  ],
  bad: [
    [
      "S10",
      "the second task begins below the first",
      completed()
        .born({ name: "blue", uid: "uid-2" })
        .locked("Forward", E - 5)
        .claim("route"),
    ],
    ["S10", "the same epoch for another lock", completed().born({ name: "blue", uid: "uid-2" }).locked("Forward", E)],
    ["S10", "the record's epoch fell", completed().tenant({ epoch: E - 1 })],
    ["S10", "the record's fence fell", completed().tenant({ fence: "0000000000-00000000" })],
    [
      "S10",
      "the same fence claimed twice",
      begun()
        .claim("route")
        .claim("notify")
        .stage("check", { seq: 2, state: "Running", claim: { nonce: "q", by: "p", at: 0, until: null } }),
    ],
    ["S10", "a receiver took a lower one", forward().claim("notify", "announce").effect().late("notify", { seq: 2 })],
    ["S10", "a store took a lower one", undoing().late("route", { seq: 1 })],
  ],
});

proves("identity", {
  ids: ["S13"],
  good: [
    [
      "S13",
      "recreated and begun anew",
      rolledBack().version({ deleted: true }).born({ uid: "uid-2" }).ready().claim("route").effect(),
    ],
    ["S13", "one task", completed()],
  ],
  bad: [
    [
      "S13",
      "the second of that name begins with the first's stages",
      rolledBack().born({ uid: "uid-2" }).say({ epoch: E, stages: forward().status().stages }),
    ],
    [
      "S13",
      "the second of that name begins with the first's epoch",
      completed().born({ uid: "uid-2" }).say({ epoch: E, seq: 3 }),
    ],
    [
      "S13",
      "the lock is held for the uid before",
      rolledBack()
        .version({ deleted: true })
        .born({ uid: "uid-2" })
        .tenant({ holder: { task: "green", uid: "uid-1", direction: "Forward" } }),
    ],
    [
      "S13",
      "the lock is held for a uid that never was",
      begun().tenant({ holder: { task: "green", uid: "uid-9", direction: "Forward" } }),
    ],
    [
      "S13",
      "the place of a task that never held",
      history()
        .born()
        .tenant({ epoch: E, current: { unit: "green", task: "uid-1" } }),
    ],
    ["S13", "the place of a task that does not exist", completed().tenant({ current: { unit: "red", task: "uid-9" } })],
    ["S13", "an effect about another tenant", begun().claim("route").effect({ tenant: "ns/beta" })],
    ["S13", "an effect about the tenant of another namespace", begun().claim("route").effect({ tenant: "other/acme" })],
  ],
});
