import {
  type Case,
  expect,
  expectRefused,
  expectStatus,
  FIRST,
  NotConforming,
  readInForce,
  type Play,
} from "./conformance-play.ts";

const A = FIRST;

/** Which claims are accepted (protocol.md, The three steps). */
export const FENCING_CASES: readonly Case[] = [
  {
    id: "first-apply",
    rule: "a claim above everything seen is applied, and GET answers it",
    run: async (play) => {
      const answered = await play.apply({ seq: A });
      const found = await play.inForce();
      expect("GET", JSON.stringify(found), JSON.stringify(answered));
      expect("deploy unit", found.unit, "green");
    },
  },
  {
    id: "same-again",
    rule: "the same claim again gets the stored answer, without a second effect",
    run: async (play) => {
      await play.apply({ seq: A });
      await play.withoutEffect(() => play.apply({ seq: A }));
    },
  },
  {
    id: "new-claim",
    rule: "the same operation under a newer claim has no second effect, and its fence counts from then on",
    run: async (play) => {
      await play.apply({ seq: A, operation: "op" });
      await play.withoutEffect(() => play.apply({ seq: A + 5, operation: "op", version: A, base: A }));
      expectRefused(await play.put({ seq: A + 3, base: A }), 412, "Fenced", play.fence(A + 5));
      expect("fence of GET", (await play.inForce()).fence, play.fence(A + 5));
    },
  },
  {
    id: "higher-fence",
    rule: "another operation with a higher fence takes the place of the one in force",
    run: async (play) => {
      await play.apply({ seq: A });
      await play.apply({ seq: A + 1 });
      expect("version in force", (await play.inForce()).version, A + 1);
    },
  },
  {
    id: "lower-fence",
    rule: "a fence below the greatest seen is Fenced, and changes nothing",
    run: async (play) => {
      await play.apply({ seq: A + 1 });
      await play.withoutEffect(async () => {
        expectRefused(await play.put({ seq: A }), 412, "Fenced", play.fence(A + 1));
      });
      expect("version in force", (await play.inForce()).version, A + 1);
    },
  },
  {
    id: "late-double",
    rule: "an older claim of the operation in force is Fenced: its sender was superseded",
    run: async (play) => {
      await play.apply({ seq: A, operation: "op", version: A });
      await play.apply({ seq: A + 1, operation: "op", version: A });
      expectRefused(await play.put({ seq: A, operation: "op", version: A }), 412, "Fenced", play.fence(A + 1));
    },
  },
  {
    id: "equal-fence",
    rule: "the greatest fence with another operation is Diverged",
    run: async (play) => {
      await play.apply({ seq: A });
      expectRefused(await play.put({ seq: A, operation: "other" }), 412, "Diverged", play.fence(A));
      expect("operation in force", (await play.inForce()).opId, play.opId(A));
    },
  },
  {
    id: "above-base",
    rule: "a fence seen above the sender's base and below its claim is Diverged, however often it is tried",
    run: async (play) => {
      await play.apply({ seq: A + 2 });
      const claim = { seq: A + 4, base: A };
      expectRefused(await play.put(claim), 412, "Diverged", play.fence(A + 2));
      expectRefused(await play.put(claim), 412, "Diverged", play.fence(A + 2));
      expect("version in force", (await play.inForce()).version, A + 2);
    },
  },
  {
    id: "undo-then-original",
    rule: "a delayed original cannot land after its undo",
    run: async (play) => {
      await play.apply({ seq: A, version: 41, operation: "before" });
      await play.apply({ seq: A + 1, version: 42, operation: "forward" });
      await play.apply({ seq: A + 2, version: 41, operation: "undo" });
      const original = await play.put({ seq: A + 1, version: 42, operation: "forward" });
      expectRefused(original, 412, "Fenced", play.fence(A + 2));
      expect("version in force", (await play.inForce()).version, 41);
    },
  },
  {
    id: "undo-of-nothing",
    rule: "an undo counts even where its original never came, so that the original cannot land later",
    run: async (play) => {
      await play.apply({ seq: A + 1, base: A, version: 41, operation: "undo" });
      const original = await play.put({ seq: A, base: A - 1, version: 42, operation: "forward" });
      expectRefused(original, 412, "Fenced", play.fence(A + 1));
      expect("operation in force", (await play.inForce()).opId, play.opId("undo"));
    },
  },
  {
    id: "content-differs",
    rule: "the operation in force with other content is refused, not answered from memory",
    run: async (play) => {
      await play.apply({ seq: A, operation: "op", version: 41 });
      const other = await play.put({ seq: A + 1, operation: "op", version: 42 });
      expectRefused(other, 409, "ContentDiffers");
      expect("version in force", (await play.inForce()).version, 41);
    },
  },
  {
    id: "per-tenant",
    rule: "fences are per tenant, and a tenant is namespace and id together",
    run: async (play) => {
      await play.apply({ seq: A + 5 });
      await play.sibling({ suffix: "-2" }).apply({ seq: A });
      const namesake = play.sibling({ namespace: `${play.target.tenant.namespace}-2` });
      await namesake.apply({ seq: A + 1 });
      expect("version in force", (await play.inForce()).version, A + 5);
    },
  },
  {
    id: "at-once",
    rule: "of claims that come at once, the one in force at the end is the newest accepted",
    run: newestWins,
  },
  {
    id: "doubles-at-once",
    rule: "one claim sent several times at once has one effect",
    run: async (play) => {
      const before = (await play.target.effects?.(play.tenant)) ?? 0;
      const doubles = Array.from({ length: 4 }, () => play.put({ seq: A, operation: "op" }));
      const answers = await Promise.all(doubles);
      for (const answer of answers) expectStatus(answer, 200, 503);
      const times = answers.filter(({ status }) => status === 200).map((answer) => readInForce(answer).appliedAt);
      expect("different appliedAt", new Set(times).size, 1);
      const effects = await play.target.effects?.(play.tenant);
      if (effects !== undefined) expect("effects", effects - before, 1);
    },
  },
];

async function newestWins(play: Play): Promise<void> {
  await play.apply({ seq: A });
  const seqs = Array.from({ length: 8 }, (_, i) => A + 1 + i);
  const answers = await Promise.all(seqs.map(async (seq) => ({ seq, answer: await play.put({ seq }) })));
  for (const { answer } of answers) expectStatus(answer, 200, 412, 503);
  const accepted = answers.filter(({ answer }) => answer.status === 200).map(({ seq }) => seq);
  if (accepted.length === 0) throw new NotConforming("none of eight claims that came at once was accepted");
  const newest = Math.max(...accepted);
  const found = await play.inForce();
  expect("operation in force", found.opId, play.opId(newest));
  expect("fence of GET", found.fence, play.fence(newest));
}
