import { begun, completed, forward, history, rolledBack, undoing } from "./build.ts";
import { proves } from "./table.ts";

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
