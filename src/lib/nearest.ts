/** The known word that `word` was probably meant to be: at most two letters away; null where there is none. */
export function nearest(word: string, known: Iterable<string>): string | null {
  const near = [...known]
    .map((candidate) => ({ candidate, away: distance(candidate, word) }))
    .filter(({ away }) => away <= 2)
    .toSorted((a, b) => a.away - b.away);
  return near[0]?.candidate ?? null;
}

/** Levenshtein. Both texts are cut to 64 characters, so that it stays small. */
function distance(left: string, right: string): number {
  const [a, b] = [left.slice(0, 64), right.slice(0, 64)];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
