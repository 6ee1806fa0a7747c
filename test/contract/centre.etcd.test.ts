import { inject } from "vitest";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { centreContract } from "./centre.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const endpoints = addressesOf(COORD_ENDPOINTS);
let runs = 0;

centreContract("etcd", () => {
  const coord = coordAt({ endpoints });
  runs += 1;
  return Promise.resolve({
    centre: coord.centre,
    prefix: `/contract/${process.pid}/${runs}/`,
    compact: async (revision: number) => {
      const answer = await fetch(`http://${endpoints[0]}/v3/kv/compaction`, {
        method: "POST",
        body: JSON.stringify({ revision: String(revision), physical: true }),
      });
      if (!answer.ok) throw new Error(`compaction: ${answer.status} ${await answer.text()}`);
    },
    [Symbol.asyncDispose]: () => coord.close(),
  });
});
