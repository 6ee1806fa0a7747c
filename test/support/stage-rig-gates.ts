import { openFencedStore } from "../../src/infra/cache/fenced.ts";
import type { Ports } from "../../src/stages/stage.ts";

/** For kinds that call nobody. */
export const noPorts: Ports = {
  http: {
    send: () => Promise.reject(new Error("a gate calls nobody")),
    refusal: () => null,
    close: async () => undefined,
  },
  redis: openFencedStore(new Map()),
};
