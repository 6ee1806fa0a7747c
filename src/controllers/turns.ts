/** Turns under way per namespace, so that one namespace cannot take every worker (SEC-40). */
export interface Turns {
  /** A way to give the turn back, or null where the namespace has as many as it may. */
  enter(namespace: string): (() => void) | null;
}

export function createTurns(most: () => number): Turns {
  const counts = new Map<string, number>();
  return {
    enter(namespace) {
      const count = counts.get(namespace) ?? 0;
      if (count >= most()) return null;
      counts.set(namespace, count + 1);
      return () => {
        const left = (counts.get(namespace) ?? 1) - 1;
        if (left === 0) counts.delete(namespace);
        else counts.set(namespace, left);
      };
    },
  };
}
