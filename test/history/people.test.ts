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
proves("isolation", {
  ids: ["S24", "L6", "L10"],
  good: [
    ["S24", "killed by the test", begun().happens("started").happens("crashed").happens("started").phase("Pending")],
    ["L6", "begun within a second", history().happens("started").born().after(900).phase("Pending")],
    ["L6", "nobody is there to begin", history().born().after(MIN).happens("started").phase("Pending")],
    [
      "L10",
      "goes on within its back-off",
      begun().happens("poisoned").after(5000).happens("corrected").after(30_000).phase("Running"),
    ],
    ["L10", "over before", completed().happens("poisoned").happens("corrected").after(MIN).happens("calm")],
  ],
  bad: [
    ["S24", "ended by itself", begun().happens("crashed", { asked: false })],
    ["S24", "ended by itself before anything", history().happens("started").happens("crashed", { asked: false })],
    ["S24", "ended by itself in an undo", undoing().happens("crashed", { asked: false })],
    [
      "S24",
      "ended by itself after a poisoned object",
      begun().happens("poisoned").happens("crashed", { asked: false }),
    ],
    [
      "S24",
      "the second one ended by itself",
      begun()
        .happens("crashed")
        .happens("started", { process: "p2" })
        .happens("crashed", { process: "p2", asked: false }),
    ],
    ["L6", "begun after 11 s", history().happens("started").born().after(11_000).phase("Pending")],
    ["L6", "begun after a minute", history().happens("started").born().after(MIN).phase("Pending")],
    ["L6", "never begun", history().happens("started").born().after(MIN).happens("calm")],
    ["L6", "only seen", history().happens("started").born().phase("Created").after(MIN).happens("calm")],
    ["L6", "up again and does not begin", history().born().happens("started").after(20_000).phase("Pending")],
    ["L10", "never goes on", begun().happens("poisoned").happens("corrected").after(MIN).happens("calm")],
    [
      "L10",
      "goes on after two minutes",
      begun()
        .happens("poisoned")
        .happens("corrected")
        .after(2 * MIN)
        .phase("Running"),
    ],
    [
      "L10",
      "in the middle of a stage",
      begun().claim("route").happens("poisoned").happens("corrected").after(MIN).happens("calm"),
    ],
    [
      "L10",
      "in an undo",
      undoing()
        .happens("poisoned")
        .happens("corrected")
        .after(2 * MIN)
        .ends("RolledBack"),
    ],
    [
      "L10",
      "failed and corrected",
      forward().phase("Failed").happens("poisoned").happens("corrected").after(MIN).happens("calm"),
    ],
  ],
});

const STALLED = { Stalled: "True/StageFailed" };
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

proves("bounds", {
  ids: ["S25", "L8"],
  good: [
    ["S25", "three stages, four writes", completed()],
    ["S25", "says why nothing is claimed yet", begun().claim("route").stage("route", { claim: null, retryAt: 5 })],
    [
      "S25",
      "25 Events",
      Array.from({ length: 25 }).reduce<ReturnType<typeof begun>>((run) => run.write("api/event"), begun()),
    ],
    [
      "S25",
      "a process that ended stored what it had in hand",
      begun().claim("route").stage("route", { state: "Completed", claim: null }).happens("stopped").claim("notify"),
    ],
    ["L8", "a renewed lease", completed().happens("rest").write("api/lease")],
  ],
  bad: [
    ["S25", "a task of 65 KiB", begun().version({ bytes: 65 * 1024 + 1 })],
    [
      "S25",
      "settled in a write of its own",
      begun().claim("route").stage("route", { state: "Completed", claim: null }),
    ],
    ["S25", "an entry without a claim", begun().stage("route", {})],
    [
      "S25",
      "an undo settled in a write of its own",
      forward()
        .claim("route", "write")
        .stage("route", { claim: null, undone: ["write"] }),
    ],
    ["S25", "counted without need", begun().claim("route").stage("route", { attempts: 2 })],
    [
      "S25",
      "26 Events",
      Array.from({ length: 26 }).reduce<ReturnType<typeof begun>>((run) => run.write("api/event"), begun()),
    ],
    ["L8", "a status", completed().happens("rest").write("api/status")],
    ["L8", "an Event", completed().happens("rest").write("api/event")],
    ["L8", "a version nobody asked for", completed().happens("rest").version()],
    ["L8", "an effect", completed().happens("rest").late("route", { seq: 1 })],
    ["L8", "the finalizer again", rolledBack().happens("rest").write("api/finalizer")],
    ["L8", "a write that was refused", completed().happens("rest").write("api/status", 409)],
  ],
});

const rests = (history: ReturnType<typeof begun>) => history.happens("rest");
const LOCKED = { name: "blue", uid: "uid-2" };
proves("blockers", {
  ids: ["L11"],
  good: [
    ["L11", "everything over", rests(completed())],
    ["L11", "failed, and says so", rests(forward().phase("Failed", { conditions: STALLED }))],
    [
      "L11",
      "one waits for another",
      rests(forward().phase("Failed", { conditions: STALLED }).born(LOCKED).phase("Pending").waits("WaitingForLock")),
    ],
  ],
  bad: [
    ["L11", "rests without a word", rests(begun().claim("route"))],
    ["L11", "waits and names no way out", rests(begun().waits("Conflict", ""))],
    [
      "L11",
      "waits for a lock that nobody holds",
      rests(rolledBack().born(LOCKED).phase("Pending").waits("WaitingForLock")),
    ],
    [
      "L11",
      "waits for a lock of one that is over",
      rests(forward().phase("Completed").born(LOCKED).phase("Pending").waits("WaitingForLock")),
    ],
    ["L11", "waits for itself", rests(begun().phase("Pending").waits("WaitingForLock"))],
    ["L11", "failed and does not say so", rests(forward().phase("Failed"))],
    ["L11", "stuck in an undo", rests(undoing())],
  ],
});

proves("live", {
  ids: ["L1", "L2", "L3", "L7"],
  good: [
    ["L1", "completes", rests(completed())],
    ["L1", "waits for a person and says so", rests(begun().waits("AwaitingApproval"))],
    ["L2", "RolledBack", rests(rolledBack())],
    ["L2", "stalled by name", rests(undoing().phase("RollbackFailed", { conditions: STALLED }))],
    ["L3", "goes on", begun().claim("route").happens("crashed").happens("started").after(9000).claim("route")],
    [
      "L7",
      "the next one leads",
      begun()
        .happens("started")
        .happens("lease", { holder: "p1" })
        .happens("started", { process: "p2" })
        .happens("crashed")
        .after(15_000)
        .happens("lease", { holder: "p2" }),
    ],
  ],
  bad: [
    ["L1", "rests in Running", rests(forward())],
    ["L1", "rests in Pending", rests(begun())],
    ["L1", "rests in Validating", rests(history().born().phase("Validating"))],
    ["L1", "rests in Resuming", rests(begun().phase("Resuming"))],
    ["L1", "rests in Failed without a word", rests(forward().phase("Failed"))],
    ["L2", "rests in the undo", rests(undoing())],
    ["L2", "rests in RollbackFailed without a word", rests(undoing().phase("RollbackFailed"))],
    ["L2", "told to go back and goes on", rests(forward().told({ rollback: true }))],
    ["L2", "told to go back, and is Completed without an answer", rests(forward().told({ rollback: true }).ends())],
    ["L2", "turned and rests before the first undo", rests(forward().phase("RollingBack", { direction: "Back" }))],
    [
      "L3",
      "half a minute after a crash",
      begun().claim("route").happens("crashed").happens("started").after(30_000).claim("route"),
    ],
    ["L3", "never", begun().claim("route").happens("crashed").happens("started").after(30_000).happens("calm")],
    [
      "L3",
      "4 s after the lease was released",
      begun().claim("route").happens("stopped").happens("started").after(4000).claim("route"),
    ],
    ["L3", "between two stages", forward().happens("crashed").happens("started").after(21_000).ends()],
    [
      "L3",
      "the second crash",
      begun()
        .claim("route")
        .happens("crashed")
        .happens("started")
        .claim("route")
        .happens("crashed")
        .happens("started")
        .after(25_000)
        .claim("notify"),
    ],
    ["L7", "18 s after a crash", lost(18_000)],
    [
      "L7",
      "never after a crash",
      begun()
        .happens("started")
        .happens("lease", { holder: "p1" })
        .happens("started", { process: "p2" })
        .happens("crashed")
        .after(20_000)
        .happens("calm"),
    ],
    ["L7", "4 s after a clean end", released(4000)],
    ["L7", "a minute after a crash", lost(MIN)],
    ["L7", "half a minute after a clean end", released(30_000)],
  ],
});

function lost(after: number) {
  return begun()
    .happens("started")
    .happens("lease", { holder: "p1" })
    .happens("started", { process: "p2" })
    .happens("crashed")
    .after(after)
    .happens("lease", { holder: "p2" });
}
function released(after: number) {
  return begun()
    .happens("started")
    .happens("lease", { holder: "p1" })
    .happens("started", { process: "p2" })
    .happens("stopped")
    .after(after)
    .happens("lease", { holder: "p2" });
}

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

const SECRET = "s3cret/key+word=";
const shows = (text: string) => completed().recording({ secrets: [SECRET], outputs: [{ where: "log", text }] });
proves("canary", {
  ids: ["S17"],
  good: [
    ["S17", "its name is no secret", shows("token from TURNOUT_SECRET_GATEWAY")],
    [
      "S17",
      "an empty one is everywhere",
      completed().recording({ secrets: [""], outputs: [{ where: "log", text: "x" }] }),
    ],
  ],
  bad: [
    ["S17", "raw", shows(`authorization: ${SECRET}`)],
    ["S17", "in base64", shows(Buffer.from(SECRET).toString("base64"))],
    ["S17", "in base64, behind something else", shows(Buffer.from(`user:${SECRET}`).toString("base64"))],
    ["S17", "percent-encoded", shows(encodeURIComponent(SECRET))],
    ["S17", "in hex", shows(Buffer.from(SECRET).toString("hex"))],
    ["S17", "in base64url", shows(Buffer.from(SECRET).toString("base64url"))],
  ],
});

const from = (...addresses: readonly string[]) =>
  completed().recording({
    allowed: ["127.0.0.1:6379"],
    sockets: addresses.map((address) => ({ process: "p1", address })),
  });
proves("egress", {
  ids: ["S16"],
  good: [
    ["S16", "an allowed one", from("127.0.0.1:6379")],
    ["S16", "none", from()],
  ],
  bad: [
    ["S16", "another port", from("127.0.0.1:6380")],
    ["S16", "another host", from("10.0.0.1:6379")],
    ["S16", "the metadata service", from("169.254.169.254:80")],
    ["S16", "another one beside an allowed one", from("127.0.0.1:6379", "127.0.0.1:22")],
    ["S16", "IPv6 loopback", from("[::1]:6379")],
  ],
});
