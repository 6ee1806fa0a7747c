/** The messages of one partition, one after the other. What was done already is not done again when it is delivered again. */
export class Lane {
  #last: Promise<void> = Promise.resolve();
  #next: bigint | null = null;

  /** The first offset that was not yet done, by us or, before we got the partition, by others; null before the first message. */
  get next(): bigint | null {
    return this.#next;
  }
  /** Whether a message with this offset was done already: after a change in the group all that was not committed comes again. */
  isDone(offset: bigint): boolean {
    return this.#next !== null && offset < this.#next;
  }
  done(offset: bigint): void {
    this.#next = offset + 1n;
  }
  /** The partition begins anew: it was made again, or put back. What was done of the old one says nothing about this one. */
  forget(): void {
    this.push(async () => void (this.#next = null));
  }
  /** `work` never rejects. */
  push(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
  }
  idle(): Promise<void> {
    return this.#last;
  }
}
