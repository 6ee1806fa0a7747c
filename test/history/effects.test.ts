import {
  aStage,
  begun,
  completed,
  forward,
  type History,
  history,
  NOTIFY,
  rolledBack,
  undoing,
  CHECK,
} from "./build.ts";
import { proves } from "./table.ts";

const E = "1795244397";
const TWO = { stages: [NOTIFY, aStage("tell"), CHECK] };

proves("write-ahead", {
  ids: ["S3", "S11"],
  good: [
    ["S3", "each effect after its claim", completed()],
    ["S3", "there and back", rolledBack()],
    ["S3", "an effect that never arrived needs none", begun().late("route", { seq: 1 }, { verdict: "never" })],
    [
      "S11",
      "one receiver after the other, under one claim",
      begun().claim("notify").effect({ answered: 99 }).effect({ to: "blue" }),
    ],
    [
      "S11",
      "two processes: the older one is fenced off",
      begun().claim("route").effect({ answered: null }).by("p2").claim("route").effect(),
    ],
  ],
  bad: [
    ["S3", "no claim at all", begun().late("route", { seq: 1 })],
    ["S3", "claimed afterwards", begun().late("route", { seq: 1 }).claim("route")],
    [
      "S3",
      "under a fence that was never claimed",
      begun()
        .claim("route")
        .effect({ fence: `${E}-00000007` }),
    ],
    ["S3", "an undo that nobody claimed", forward().late("route", { part: "write", seq: 4 })],
    ["S3", "another operation", begun().claim("route").effect({ opId: "someone-else" })],
    [
      "S3",
      "a read does not allow an effect",
      begun({ spec: { stages: [CHECK] } })
        .claim("check")
        .effect(),
    ],
    ["S3", "refused ones count too", begun().late("notify", { seq: 2 }, { verdict: "refused" })],
    [
      "S3",
      "sent again without a new claim, under the next fence",
      begun()
        .claim("route")
        .effect()
        .effect({ fence: `${E}-00000002` }),
    ],
    [
      "S11",
      "two open claims",
      begun({ spec: TWO })
        .claim("notify")
        .stage("tell", { state: "Running", seq: 2, claim: { nonce: "b", by: "p1", at: 0, until: 9 } }),
    ],
    [
      "S11",
      "three open claims",
      forward().say({
        stages: forward()
          .status()
          .stages.map((stage) => ({ ...stage, claim: { nonce: stage.name, by: "p", at: 0, until: 1 } })),
      }),
    ],
    [
      "S11",
      "the second sent before the first was answered",
      begun({ spec: TWO }).claim("notify").effect({ answered: 99 }).claim("tell").effect(),
    ],
    [
      "S11",
      "undone while the forward effect was under way",
      begun().claim("route").effect({ answered: 99 }).claim("route", "write").effect(),
    ],
    [
      "S11",
      "sent again while the first was under way",
      begun().claim("route").effect({ answered: 99 }).claim("route").effect(),
    ],
  ],
});

const edits = { before: { "redis acme unit": "blue" }, after: { "redis acme unit": "blue" } };
const late = (history: History): History => history.late("notify", { seq: 2 });

proves("undo", {
  ids: ["S7", "S8"],
  good: [
    ["S7", "as it was", rolledBack().recording(edits)],
    [
      "S7",
      "what others changed is reported",
      undoing()
        .stage("route", { drift: ["owner"] })
        .ends("RolledBack")
        .recording({ before: { "redis acme owner": "a" }, after: { "redis acme owner": "b" } }),
    ],
    ["S8", "a late one is refused", rolledBack().late("notify", { seq: 2 }, { verdict: "refused" })],
    ["S8", "a late one where nobody checks", rolledBack().late("notify", { seq: 2 }, { fenced: false })],
    ["S8", "late, but before the undo", forward().late("route", { seq: 1 }).claim("route", "write").effect()],
  ],
  bad: [
    ["S7", "RolledBack with a write that stands", forward().claim("notify", "announce").effect().ends("RolledBack")],
    ["S7", "RolledBack with nothing undone", forward().say({ direction: "Back" }).ends("RolledBack")],
    [
      "S7",
      "RolledBack without the publication",
      forward().claim("route", "write").claim("notify", "announce").claim("check", "verify").ends("RolledBack"),
    ],
    [
      "S7",
      "RolledBack without asking the previous unit",
      forward().claim("route", "write").claim("route", "publish").claim("notify", "announce").ends("RolledBack"),
    ],
    [
      "S7",
      "a value is another one than before",
      rolledBack().recording({ ...edits, after: { "redis acme unit": "green" } }),
    ],
    [
      "S7",
      "a key that was not there is left behind",
      rolledBack().recording({ ...edits, after: { ...edits.after, "redis acme version": "42" } }),
    ],
    ["S7", "a key that was there is gone", rolledBack().recording({ ...edits, after: {} })],
    [
      "S7",
      "somebody's change is overwritten and not reported",
      rolledBack().recording({ before: { "redis acme owner": "a" }, after: { "redis acme owner": "b" } }),
    ],
    ["S8", "an announce lands after RolledBack", late(rolledBack())],
    ["S8", "an announce lands after its own undo", late(undoing())],
    [
      "S8",
      "a write lands after its own undo",
      forward().claim("route", "write").effect().claim("route", "publish").late("route", { seq: 1 }),
    ],
    ["S8", "at another receiver than the first time", rolledBack().late("notify", { seq: 2 }, { to: "green-2" })],
    ["S8", "a long time afterwards", rolledBack().after(3_600_000).late("route", { seq: 1 })],
    [
      "S8",
      "a first attempt that was lost",
      begun().claim("notify").claim("notify", "announce").claim("check", "verify").late("notify", { seq: 1 }),
    ],
  ],
});

proves("final", {
  ids: ["S12", "L9"],
  good: [
    [
      "S12",
      "a rollback of Completed",
      completed()
        .told({ rollback: true })
        .locked("Back")
        .claim("route", "write")
        .effect()
        .claim("route", "publish")
        .effect()
        .claim("notify", "announce")
        .effect()
        .claim("check", "verify")
        .ends("RolledBack"),
    ],
    ["S12", "a late one is refused", rolledBack().late("notify", { seq: 2 }, { verdict: "refused" })],
    ["L9", "forward", completed()],
    ["L9", "back", rolledBack()],
  ],
  bad: [
    ["S12", "a claim after Completed", completed().claim("route")],
    ["S12", "a claim after RolledBack", rolledBack().claim("route", "write")],
    ["S12", "a claim after Cancelled", forward().phase("Cancelled").claim("check")],
    ["S12", "a claim after ValidationFailed", history().born().phase("ValidationFailed").claim("route")],
    ["S12", "an effect after RolledBack", rolledBack().late("notify", { seq: 2 })],
    ["S12", "an effect after Cancelled", forward().phase("Cancelled", { abandoned: true }).late("notify", { seq: 2 })],
    ["S12", "an undo's effect after RolledBack", rolledBack().late("notify", { part: "announce", seq: 6 })],
    ["L9", "Completed, then Failed", completed().phase("Failed")],
    ["L9", "RolledBack, then Running", rolledBack().phase("Running")],
    ["L9", "Cancelled, then Completed", forward().phase("Cancelled").phase("Completed")],
    ["L9", "ValidationFailed, then Pending", history().born().phase("ValidationFailed").phase("Pending")],
    ["L9", "RolledBack, and the receiver holds the forward effect", late(rolledBack())],
    [
      "L9",
      "Completed, and the store holds what its undo put there",
      forward().claim("route", "write").effect().ends("Completed"),
    ],
  ],
});

const planned = { "uid-1 route Forward  redis acme": "route Forward " };
proves("plan", {
  ids: ["S14"],
  good: [
    [
      "S14",
      "each attempt says the same",
      begun().claim("route").effect().claim("route").effect().recording({ planned }),
    ],
    ["S14", "forward and back differ", rolledBack()],
  ],
  bad: [
    [
      "S14",
      "the second attempt says something else",
      begun().claim("route").effect().claim("route").effect({ content: "edited" }),
    ],
    [
      "S14",
      "the first attempt says something else than the plan",
      begun().claim("route").effect({ content: "edited" }).recording({ planned }),
    ],
    ["S14", "a late one says something else", forward().late("route", { seq: 1 }, { content: "edited" })],
    [
      "S14",
      "an undo that changes its mind",
      forward().claim("route", "write").effect().claim("route", "write").effect({ content: "edited" }),
    ],
    [
      "S14",
      "claimed before the plan was frozen",
      begun()
        .claim("route")
        .say({ digest: null })
        .claim("notify")
        .say({ digest: null })
        .stage("check", { seq: 9, state: "Running", claim: { nonce: "c", by: "p", at: 0, until: null } }),
    ],
    ["S14", "claimed under another plan", begun().claim("route").say({ digest: "sha256:ffff" }).claim("notify")],
  ],
});

proves("unknown", {
  ids: ["S26"],
  good: [
    [
      "S26",
      "asked under another claim",
      begun()
        .claim("route")
        .effect({ answered: null })
        .stage("route", { outcome: "Unknown", claim: null })
        .claim("route")
        .claim("notify"),
    ],
    ["S26", "a known outcome", completed()],
    [
      "S26",
      "taken over and found in force",
      begun()
        .claim("route")
        .effect({ answered: null })
        .by("p2")
        .claim("route", null, { outcome: "Unknown" })
        .claim("notify"),
    ],
    [
      "S26",
      "an effect that never arrived",
      begun().claim("route").effect({ verdict: "never", answered: null }).claim("notify"),
    ],
  ],
  bad: [
    ["S26", "a lost answer is called done", begun().claim("route").effect({ answered: null }).claim("notify")],
    [
      "S26",
      "a lost answer is called failed",
      begun().claim("route").effect({ answered: null }).stage("route", { state: "Failed", claim: null }),
    ],
    [
      "S26",
      "a lost answer is called not sent",
      begun().claim("route").effect({ answered: null }).stage("route", { claim: null, retryAt: 5 }),
    ],
    [
      "S26",
      "the doubt goes by itself",
      begun().claim("route").stage("route", { claim: null, outcome: "Unknown" }).stage("route", { outcome: null }),
    ],
    [
      "S26",
      "doubtful and done",
      begun().claim("route").stage("route", { claim: null, outcome: "Unknown" }).stage("route", { state: "Completed" }),
    ],
    [
      "S26",
      "a lost undo is called done",
      forward().claim("route", "write").effect({ answered: null }).claim("route", "publish"),
    ],
    [
      "S26",
      "doubtful and undone",
      forward()
        .claim("route", "write")
        .stage("route", { claim: null, outcome: "Unknown" })
        .stage("route", { undone: ["write"] }),
    ],
  ],
});

const blindly = (history: History): History => history.happens("blind");
proves("blind", {
  ids: ["S31"],
  good: [
    ["S31", "what was claimed last is carried out", blindly(begun().claim("route")).effect().happens("sighted")],
    [
      "S31",
      "it goes on once it sees again",
      blindly(begun().claim("route")).happens("sighted").claim("route").effect(),
    ],
  ],
  bad: [
    ["S31", "an effect without any claim", blindly(begun()).late("route", { seq: 1 })],
    ["S31", "the next stage", blindly(begun().claim("route").effect()).late("notify", { seq: 2 })],
    ["S31", "the same again after an answer", blindly(begun().claim("route").effect()).effect()],
    ["S31", "an older claim", blindly(forward()).late("route", { seq: 1 }, { to: "redis beta" })],
    ["S31", "an undo that was not claimed", blindly(forward()).late("route", { part: "write", seq: 4 })],
    ["S31", "claimed while blind", blindly(begun()).claim("route").effect()],
  ],
});
