/** Cuts a stream into lines. Bytes are copied once at most, and only for lines that span chunks. */
export interface LineCutter {
  /** Whole lines that this chunk completes, empty ones left out. @throws RangeError for a line beyond the limit */
  push(chunk: Uint8Array): Generator<Uint8Array>;
}

const NEWLINE = 0x0a;

export function openLineCutter(longest: number): LineCutter {
  let pieces: Uint8Array[] = [];
  let held = 0;
  const bounded = (bytes: number): void => {
    if (bytes > longest) throw new RangeError("LineTooLong");
  };
  return {
    *push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        bounded(held + end - start);
        const rest = chunk.subarray(start, end);
        const line = held === 0 ? rest : joined(pieces, rest, held);
        [pieces, held] = [[], 0];
        start = end + 1;
        if (line.length > 0) yield line;
      }
      if (start === chunk.length) return;
      held += chunk.length - start;
      bounded(held);
      pieces.push(chunk.subarray(start));
    },
  };
}

function joined(pieces: readonly Uint8Array[], last: Uint8Array, held: number): Uint8Array {
  const whole = new Uint8Array(held + last.length);
  let at = 0;
  for (const piece of [...pieces, last]) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
