/** Numbers that count up, and what became of each: as large at the end as at the beginning. */
export class Ledger {
  readonly #fates: Uint8Array;
  #next = 0;

  constructor(most: number) {
    this.#fates = new Uint8Array(most);
  }

  get issued(): number {
    return this.#next;
  }
  /** @throws where there are no more */
  issue(): number {
    if (this.#next >= this.#fates.length) throw new Error(`more than ${this.#fates.length} numbers`);
    this.#next += 1;
    return this.#next - 1;
  }
  /** Whoever took it says that it has it. */
  acknowledged(n: number): void {
    this.#mark(n, ACKNOWLEDGED);
  }
  /** It came out at the other end. */
  arrived(n: number): void {
    this.#mark(n, (this.#fates[n] ?? 0) & ARRIVED ? TWICE : ARRIVED);
  }
  /** Acknowledged, and not there. */
  missing(): readonly number[] {
    return this.#where((fate) => (fate & ACKNOWLEDGED) !== 0 && (fate & ARRIVED) === 0);
  }
  /** There more than once. */
  twice(): number {
    return this.#where((fate) => (fate & TWICE) !== 0).length;
  }

  #mark(n: number, fate: number): void {
    this.#fates[n] = (this.#fates[n] ?? 0) | fate;
  }
  #where(holds: (fate: number) => boolean): readonly number[] {
    const found: number[] = [];
    for (let n = 0; n < this.#next; n += 1) if (holds(this.#fates[n] ?? 0)) found.push(n);
    return found;
  }
}

const ACKNOWLEDGED = 1;
const ARRIVED = 2;
const TWICE = 4;
