/** The messages of one partition, one after the other. What was done already is not done again when it is delivered again. */
export class Lane {
  #last: Promise<void> = Promise.resolve();
  /** The first offset that was not yet done; null before the first message. */
  #next: bigint | null = null;

  /** Whether a message with this offset was done by us already: after a change in the group all that was not committed comes again. */
  isDone(offset: bigint): boolean {
    return this.#next !== null && offset < this.#next;
  }
  done(offset: bigint): void {
    this.#next = offset + 1n;
  }
  /** `work` never rejects. */
  push(work: () => Promise<void>): void {
    this.#last = this.#last.then(work);
  }
  idle(): Promise<void> {
    return this.#last;
  }
}
