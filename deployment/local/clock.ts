import { randomBytes } from "node:crypto";
import { setTimeout as timer } from "node:timers/promises";

import type { Clock, Rng } from "../../src/lib/seams.ts";
import { instantOf, millisOf } from "../../src/lib/time.ts";

/** Apart from the product's, so that a product with a broken clock is still tested on sound servers. */
export const localClock: Clock = {
  now: () => instantOf(Date.now()),
  monotonic: () => millisOf(performance.now()),
  async sleep(after, signal) {
    try {
      await timer(after, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted(); // the reason, as the seam promises, not the timer's own error
      throw error;
    }
  },
};

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";

export const localRng: Rng = {
  float: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  id: () => Array.from(randomBytes(26), (byte) => LETTERS[byte & 31]).join(""),
};
