/** A step of a process that takes and uses a lock, in the order in which the store saw them. */
export interface LockStep {
  readonly who: string;
  readonly what: "taken" | "use" | "lost";
  readonly fence: number;
}

/** Every way in which the history shows two holders at once; empty where it does not. */
export function overlaps(steps: readonly LockStep[]): readonly string[] {
  const wrong: string[] = [];
  let highest: LockStep | null = null;
  for (const step of steps) {
    if (step.what === "taken") {
      if (highest !== null && step.fence <= highest.fence)
        wrong.push(`${step.who} took it with fence ${step.fence} after ${highest.who} had ${highest.fence}`);
      highest = step;
    } else if (step.what === "use" && highest !== null && step.fence < highest.fence) {
      wrong.push(`${step.who} used it with fence ${step.fence} while ${highest.who} held it with ${highest.fence}`);
    }
  }
  return wrong;
}

/** The most uses of one holder that came after the next one had begun: what the store refuses by the fence. */
export function mostLate(steps: readonly LockStep[]): number {
  const late = new Map<number, number>();
  let highest = 0;
  for (const { what, fence } of steps) {
    if (what === "taken") highest = Math.max(highest, fence);
    else if (what === "use" && fence < highest) late.set(fence, (late.get(fence) ?? 0) + 1);
  }
  return Math.max(0, ...late.values());
}

/** Holders that were cut off and learned of it only after the next one had begun. */
export function toldTooLate(steps: readonly LockStep[], cutOff: ReadonlySet<number>): readonly string[] {
  return [...cutOff].flatMap((fence) => {
    const next = steps.findIndex((step) => step.what === "taken" && step.fence > fence);
    const told = steps.findIndex((step) => step.what === "lost" && step.fence === fence);
    return next >= 0 && (told < 0 || told > next) ? [`fence ${fence}: lost at ${told}, taken again at ${next}`] : [];
  });
}
