import { centreContract } from "../../contract/centre.ts";
import { MemoryCentre } from "../../support/memory-centre.ts";

centreContract("in memory", () => {
  const centre = new MemoryCentre();
  return Promise.resolve({
    centre,
    prefix: "/contract/",
    compact: (revision) => Promise.resolve(centre.compact(revision)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});
