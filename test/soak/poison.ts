#!/usr/bin/env node
import { poison } from "../support/poison.ts";
import { numbersFrom, openSoakWorld, runScript, say, type SoakWorld } from "./world.ts";

// Hostile specs beside healthy ones: no exit, nothing unclassified, the healthy finish on time (SEC-42, S24).

const { count, seed, healthy } = numbersFrom({ count: 20_000, seed: 1, healthy: 200 });
/** Specs of one stand: what is judged at its end grows with the square of its history. */
const ROUND = 2000;
/** A status that was written by hand is no promise of ours. */
// S19: a watch that is flooded tells of a claim later than of the end; waits of a second cannot be judged by it.
const BY_HAND = ["S1", "S3", "S5", "S6", "S9", "S10", "S14", "S19", "S27", "S28"];
const SLOWEST = 30_000;
/** Hostile ones that wait for a person count as under way: the namespace's cap is not what is tried here. */
const LIMITS = { claimed: 10_000 };

await runScript(async () => {
  await using world = await openSoakWorld();
  const wrong: string[] = [];
  const rounds = Math.ceil(count / ROUND);
  for (let round = 0; round < rounds; round += 1) wrong.push(...(await once(world, round, rounds)));
  return wrong;
});

async function once(world: SoakWorld, round: number, rounds: number): Promise<readonly string[]> {
  await using stand = await world.stand({ breaks: BY_HAND, operator: { limits: LIMITS } });
  const operator = await stand.operator();
  const about = {
    count: Math.min(ROUND, count - round * ROUND),
    seed: seed + round,
    healthy: Math.ceil(healthy / rounds),
  };
  const found = await poison(stand, { space: stand, operator }, about);
  const { accepted, refused, slowest, unclassified } = found;
  say(
    `seed ${about.seed}: ${accepted} accepted, ${refused} refused by the API server, ${found.healthy} healthy ones completed, the slowest after ${Math.round(slowest)} ms`,
  );
  return [
    ...(found.alive ? [] : ["the operator ended"]),
    ...(slowest <= SLOWEST ? [] : [`a healthy task took longer than ${SLOWEST} ms`]),
    ...unclassified.map((line) => `unclassified: ${line.slice(0, 500)}`),
  ];
}
