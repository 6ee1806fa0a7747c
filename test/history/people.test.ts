import { begun, completed, forward, GATE, history, NOTIFY, rolledBack, ROUTE, SOAK, undoing } from "./build.ts";
import { proves } from "./table.ts";

const yes = { alice: { decision: "Approve", expect: null } };
const gated = { stages: [ROUTE, GATE, NOTIFY] };
const open = { stages: [{ ...GATE, quorum: 2, approvers: null }, NOTIFY] };
const asked = () => begun({ spec: gated }).claim("route").effect().claim("gate");
const PAUSED = { Paused: "True/Paused" };
const paused = () => begun().claim("route").told({ paused: true }).phase("Paused", { conditions: PAUSED });

proves("gate", {
  ids: ["S18", "S20"],
  good: [
    [
      "S18",
      "approved by who may",
      asked()
        .told({ approvals: { gate: yes } })
        .claim("notify"),
    ],
    [
      "S18",
      "names this plan",
      asked()
        .told({ approvals: { gate: { alice: { decision: "Approve", expect: "sha256:abcdef" } } } })
        .claim("notify"),
    ],
    [
      "S20",
      "paused, resumed, claimed",
      paused()
        .told({ paused: false })
        .phase("Running", { conditions: { Paused: "False/NotPaused" } })
        .claim("notify"),
    ],
    ["S20", "back although paused", paused().told({ rollback: true }).claim("route", "write")],
  ],
  bad: [
    ["S18", "nobody approved", asked().claim("notify")],
    [
      "S18",
      "rejected",
      asked()
        .told({ approvals: { gate: { alice: { decision: "Reject", expect: null } } } })
        .claim("notify"),
    ],
    [
      "S18",
      "approved by somebody else",
      asked()
        .told({ approvals: { gate: { mallory: { decision: "Approve", expect: null } } } })
        .claim("notify"),
    ],
    [
      "S18",
      "for another plan",
      asked()
        .told({ approvals: { gate: { alice: { decision: "Approve", expect: "sha256:000000000000" } } } })
        .claim("notify"),
    ],
    [
      "S18",
      "stood there before it was asked",
      begun({ spec: { ...gated, approvals: { gate: yes } } })
        .claim("route")
        .claim("gate")
        .claim("notify"),
    ],
    [
      "S18",
      "one of two",
      begun({ spec: open })
        .claim("gate")
        .told({ approvals: { gate: yes } })
        .claim("notify"),
    ],
    [
      "S18",
      "for another stage",
      asked()
        .told({ approvals: { other: yes } })
        .claim("notify"),
    ],
    ["S20", "claimed while paused", paused().claim("notify")],
    ["S20", "the same stage again while paused", paused().claim("route")],
    [
      "S20",
      "a newer generation that says nothing of it",
      paused()
        .told({ approvals: { gate: yes }, paused: true })
        .say({ conditions: PAUSED })
        .claim("notify"),
    ],
    ["S20", "still told to pause", paused().told({ paused: true }).say({ conditions: PAUSED }).claim("notify")],
    [
      "S20",
      "paused before anything was claimed",
      begun().told({ paused: true }).phase("Paused", { conditions: PAUSED }).claim("route"),
    ],
  ],
});

const soaking = { stages: [ROUTE, SOAK, NOTIFY] };
const soak = (spec: object = soaking) => begun({ spec }).claim("route").claim("soak");
proves("wait", {
  ids: ["S19"],
  good: [
    ["S19", "the whole time", soak().after(30_000).claim("notify")],
    [
      "S19",
      "in two pieces",
      soak().after(20_000).stage("soak", { claim: null }).after(1000).claim("soak").after(11_000).claim("notify"),
    ],
    ["S19", "told late that it began", soak().toldLate(5000).after(25_100).claim("notify")],
    ["S19", "skipped", soak().stage("soak", { state: "Skipped", claim: null }).claim("notify")],
  ],
  bad: [
    ["S19", "not at all", soak().claim("notify")],
    ["S19", "half of it", soak().after(15_000).claim("notify")],
    ["S19", "a second too early", soak().after(28_900).claim("notify")],
    [
      "S19",
      "the pause counted",
      soak().stage("soak", { claim: null }).phase("Paused").after(60_000).claim("soak").claim("notify"),
    ],
    [
      "S19",
      "the time between two processes counted",
      soak().after(5000).stage("soak", { claim: null }).after(40_000).claim("soak").after(1000).claim("notify"),
    ],
  ],
});

const MIN = 60_000;
const DAY = 86_400_000;
proves("finalizer", {
  ids: ["S27", "L5"],
  good: [
    ["S27", "from before the first claim to the end", completed()],
    ["S27", "given up with a record", forward().phase("Cancelled", { abandoned: true }).version({ finalizer: false })],
    ["S27", "off before anything was claimed", begun().version({ finalizer: false })],
    ["L5", "gone at once", rolledBack().version({ deletingSince: 1 }).version({ deleted: true })],
    [
      "L5",
      "says what it waits for",
      forward().version({ deletingSince: 1 }).waits("Conflict").after(DAY).happens("calm"),
    ],
  ],
  bad: [
    ["S27", "claimed without it", history().born().locked().claim("route")],
    [
      "S27",
      "put on after the first claim",
      history().born().locked().claim("route").version({ finalizer: true }).claim("notify"),
    ],
    ["S27", "off while Running", forward().version({ finalizer: false })],
    ["S27", "off while Failed", forward().phase("Failed").version({ finalizer: false })],
    ["S27", "off while rolling back", undoing().version({ finalizer: false })],
    ["S27", "gone while dirty", forward().version({ deleted: true })],
    [
      "S27",
      "off and on again between claims",
      begun().claim("route").version({ finalizer: false }).claim("notify").version({ finalizer: true }),
    ],
    [
      "L5",
      "silence for two minutes",
      forward()
        .version({ deletingSince: 1 })
        .after(2 * MIN)
        .happens("calm"),
    ],
    [
      "L5",
      "gone after five minutes",
      forward()
        .version({ deletingSince: 1 })
        .after(5 * MIN)
        .version({ deleted: true }),
    ],
    [
      "L5",
      "says so after two minutes",
      forward()
        .version({ deletingSince: 1 })
        .after(2 * MIN)
        .waits("Conflict"),
    ],
    [
      "L5",
      "in an undo",
      undoing()
        .version({ deletingSince: 1 })
        .after(2 * MIN)
        .happens("calm"),
    ],
    [
      "L5",
      "it had named something before, and nothing since",
      begun()
        .waits("WaitingForLock")
        .claim("route")
        .version({ deletingSince: 1 })
        .after(2 * MIN)
        .happens("calm"),
    ],
  ],
});
