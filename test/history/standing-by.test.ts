import { expect, test } from "vitest";
import { begun, type History, history } from "./build.ts";
import { checkAll } from "./check-all.ts";

const seen = (run: History): readonly string[] => checkAll(run.recording()).map(({ id }) => id);

/** p1 leads and p2 stands by; p1 ends in the middle of a stage. */
const left = (): History =>
  begun()
    .happens("started")
    .happens("lease", { holder: "p1" })
    .happens("started", { process: "p2" })
    .claim("route")
    .happens("crashed");

test("[T22] [L3] [L7] with another standing by, what was under way goes on once it leads", () => {
  const goesOn = left().after(15_000).happens("lease", { holder: "p2" }).after(500);
  expect(seen(goesOn.claim("route").effect())).toEqual([]);
});

test("[T22] [L3] the one that stood by leads and does not go on", () => {
  expect(seen(left().after(15_000).happens("lease", { holder: "p2" }).after(9000).happens("calm"))).toEqual(["L3"]);
});

test("[T22] [L3] [L7] nobody leads any more", () => {
  expect(seen(left().after(21_000).happens("calm"))).toEqual(["L3", "L7"]);
});

test("[T22] [L7] who has ended before does not stand by", () => {
  const both = left().happens("crashed", { process: "p2" }).happens("lease", { holder: "p2" });
  expect(seen(both.happens("crashed", { process: "p2" }).after(30_000))).not.toContain("L7");
});

const waits = (): History => history().happens("started").happens("started", { process: "p2" });
test("[T22] [L6] a new task counts from when somebody leads", () => {
  expect(
    seen(waits().born().after(16_000).happens("lease", { holder: "p2" }).after(5000).phase("Pending")),
  ).not.toContain("L6");
  expect(seen(waits().born().happens("lease", { holder: "p2" }).after(11_000).phase("Pending"))).toContain("L6");
});
