/** One safety invariant of protocol.md, in a line, and the tests that hold it. `id`: what their titles name; absent: the invariant's own. */
export interface Invariant {
  readonly id: string;
  readonly says: string;
  readonly tests: readonly { readonly file: string; readonly id?: string }[];
}

export const INVARIANTS: readonly Invariant[] = [
  {
    id: "S1",
    says: "a stage is claimed only when all before it are Completed or Skipped, and forward",
    tests: [{ file: "test/domain/runs.property.test.ts" }, { file: "test/domain/forward.test.ts" }],
  },
  {
    id: "S2",
    says: "the way back follows the compiled undo plan",
    tests: [
      { file: "test/domain/undo.test.ts" },
      { file: "test/domain/backward.test.ts" },
      { file: "test/domain/runs.property.test.ts" },
    ],
  },
  {
    id: "S3",
    says: "no effect without a claim that was stored before it",
    tests: [{ file: "test/domain/runs.property.test.ts" }, { file: "test/e2e/kill.e2e.test.ts" }],
  },
  {
    id: "S4",
    says: "a task turns back at most once",
    tests: [{ file: "test/domain/backward.test.ts" }, { file: "test/domain/runs.property.test.ts" }],
  },
  {
    id: "S5",
    says: "stage states follow their edges, `seq` never falls, entries stay, the frozen plan never changes",
    tests: [
      { file: "test/domain/phase.test.ts" },
      { file: "test/domain/status.test.ts" },
      { file: "test/domain/runs.property.test.ts" },
    ],
  },
  {
    id: "S6",
    says: "a settled stage stays settled",
    tests: [
      { file: "test/domain/settle.test.ts" },
      { file: "test/domain/runs.property.test.ts" },
      { file: "test/e2e/kill.e2e.test.ts" },
    ],
  },
  {
    id: "S7",
    says: "RolledBack: everything claimed is undone, receivers as before but for what others changed, which is reported",
    tests: [
      { file: "test/domain/validate.test.ts" },
      { file: "test/domain/backward.test.ts" },
      { file: "test/integration/redis-fenced.images.test.ts" },
    ],
  },
  {
    id: "S8",
    says: "after an undo settled nothing forward takes force",
    tests: [
      { file: "test/domain/runs.property.test.ts" },
      { file: "test/receiver/receiver.property.test.ts" },
      { file: "test/contract/stages.servers.test.ts" },
    ],
  },
  {
    id: "S9",
    says: "one tenant, one task that moves it",
    tests: [{ file: "test/domain/claims.test.ts" }, { file: "test/model/two-tasks.test.ts" }],
  },
  {
    id: "S10",
    says: "fences of a tenant only grow",
    tests: [
      { file: "test/domain/lock.test.ts" },
      { file: "test/domain/runs.property.test.ts" },
      { file: "test/receiver/verdict.test.ts" },
    ],
  },
  {
    id: "S11",
    says: "at most one act of a task is open in a process",
    tests: [{ file: "test/domain/settle.test.ts" }, { file: "test/domain/runs.property.test.ts" }],
  },
  {
    id: "S12",
    says: "over is over, but for a rollback of Completed inside its window",
    tests: [{ file: "test/domain/guards-divergence.test.ts" }, { file: "test/domain/runs.property.test.ts" }],
  },
  {
    id: "S13",
    says: "nothing is known by its name alone",
    tests: [{ file: "test/domain/guards-divergence.test.ts" }, { file: "test/kube/store.test.ts" }],
  },
  {
    id: "S14",
    says: "every effect follows from the frozen plan",
    tests: [{ file: "test/domain/plan.test.ts" }, { file: "test/domain/guards-divergence.test.ts" }],
  },
  {
    id: "S15",
    says: "calls to Kubernetes for a tenant carry the tenant's account; no stage of this release makes any",
    tests: [],
  },
  {
    id: "S16",
    says: "no byte goes to an address outside the endpoint's policy",
    tests: [
      { file: "test/infra/egress/only-way-out.test.ts", id: "SEC-18" },
      { file: "test/infra/egress/addresses.test.ts", id: "SEC-19" },
    ],
  },
  {
    id: "S17",
    says: "no secret in status, Events, logs, metrics",
    tests: [{ file: "test/infra/canary.test.ts", id: "SEC-36" }],
  },
  {
    id: "S18",
    says: "behind an approval only with matching, authorised records",
    tests: [{ file: "test/stages/approval.test.ts" }, { file: "test/domain/claims.test.ts" }],
  },
  {
    id: "S19",
    says: "a wait never ends early, whatever the clocks do",
    tests: [
      { file: "test/stages/wait.test.ts" },
      { file: "test/kube/clock.test.ts" },
      { file: "test/domain/claims.test.ts" },
    ],
  },
  {
    id: "S20",
    says: "paused: no forward claim until somebody resumes",
    tests: [{ file: "test/domain/guards-pause.test.ts" }, { file: "test/domain/runs.property.test.ts" }],
  },
  {
    id: "S21",
    says: "once it goes back, nothing forward is claimed",
    tests: [{ file: "test/domain/runs.property.test.ts" }],
  },
  {
    id: "S22",
    says: "no more children of a unit at work than it allows; there are no units in this release",
    tests: [],
  },
  { id: "S23", says: "the counts of a unit always sum up; there are no units in this release", tests: [] },
  {
    id: "S24",
    says: "no object ends the process or holds up another namespace",
    tests: [
      { file: "test/api/status-wire.property.test.ts" },
      { file: "test/kube/controller.test.ts" },
      { file: "test/kube/workqueue.test.ts" },
    ],
  },
  {
    id: "S25",
    says: "objects, writes and Events stay within their bounds",
    tests: [
      { file: "test/domain/runs.property.test.ts" },
      { file: "test/api/status-wire.property.test.ts" },
      { file: "test/e2e/counts.e2e.test.ts" },
    ],
  },
  {
    id: "S26",
    says: "what nobody knows is never recorded as done, or as not done",
    tests: [
      { file: "test/domain/settle.test.ts" },
      { file: "test/domain/runs.property.test.ts" },
      { file: "test/contract/stages.servers.test.ts" },
    ],
  },
  {
    id: "S27",
    says: "finalizer before the first claim, and until nothing is dirty",
    tests: [{ file: "test/domain/starting-pending.test.ts" }, { file: "test/domain/runs.property.test.ts" }],
  },
  {
    id: "S28",
    says: "only the holder that is over, or a force release, clears the lock",
    tests: [{ file: "test/domain/tenant.test.ts" }, { file: "test/domain/finished.test.ts" }],
  },
  {
    id: "S29",
    says: "old lists and events cause no write that is accepted, and no effect",
    tests: [{ file: "test/kube/reflector.test.ts" }, { file: "test/kube/store.test.ts" }],
  },
  {
    id: "S30",
    says: "a history that cannot be ours stops the task: Diverged",
    tests: [
      { file: "test/domain/guards-divergence.test.ts" },
      { file: "test/domain/settle.test.ts" },
      { file: "test/api/status-wire.property.test.ts" },
    ],
  },
  {
    id: "S31",
    says: "API server out of reach: no new effects",
    tests: [{ file: "test/e2e/bad-input-control-plane.e2e.test.ts" }],
  },
  {
    id: "S32",
    says: "what one release stored the next goes on with; fields it does not know survive",
    tests: [{ file: "test/api/status-wire.property.test.ts" }, { file: "test/kube/client.test.ts" }],
  },
];
