import { NO_FENCE } from "../../src/lib/fence.ts";
import { receive } from "./receivers.ts";
import type { Rules } from "./world.ts";

// Looser readings of the protocol: each is one rule replaced, in the model's shell or at its receivers, never in the product.

/** Receivers take whatever comes, in the order in which it comes. */
export const NO_FENCES: Partial<Rules> = {
  receive: (receiver, message) => {
    const forgetful =
      receiver.is === "service"
        ? { ...receiver, seen: NO_FENCE }
        : { ...receiver, record: receiver.record === null ? null : { ...receiver.record, seen: NO_FENCE } };
    return receive(forgetful, message);
  },
};
