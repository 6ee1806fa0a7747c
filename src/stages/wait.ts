import { z } from "zod";
import { formatDuration, millisOf, type Millis } from "../lib/time.ts";
import { defineStage, durationField, durationOf } from "./stage.ts";

const config = z
  .strictObject({ duration: durationField("How long.") })
  .describe("Waits; time spent paused does not count.");

/** A local clock that runs 1 % fast must not end a wait early (S19; the fault matrix demands ± 1 %). */
const FAST_CLOCK = 1.0102;

type Inputs = { readonly duration: number };

export const wait = defineStage<z.output<typeof config>, Inputs, never>({
  kind: "wait",
  effect: "gate",
  needs: [],
  config,
  outputs: [],
  plan(context, { duration }) {
    return {
      inputs: { duration: durationOf(context, duration, "duration") ?? 0 },
      conflicts: [],
      endpoint: null,
      audience: [],
      fencing: "Token",
      canProbe: false,
      idempotent: true,
      preview: `wait ${duration}`,
    };
  },
  async run({ inputs, ran, stage }) {
    const left: Millis = millisOf(Math.ceil(inputs.duration * FAST_CLOCK) - ran);
    if (left === 0) return { is: "done", outputs: {} };
    const message = `stage ${stage} waits ${formatDuration(millisOf(inputs.duration))}`;
    return { is: "waiting", again: left, reason: "Waiting", message, memo: null };
  },
});
