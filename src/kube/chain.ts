/** A place in a {@link Chain}: what is needed to leave it. */
export interface Link<T> {
  readonly value: T;
  before: Link<T> | null;
  after: Link<T> | null;
}

/** First in, first out; whoever waits can leave from anywhere. All in constant time, which arrays and Maps as queues are not. */
export class Chain<T> {
  #first: Link<T> | null = null;
  #last: Link<T> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }
  get first(): T | undefined {
    return this.#first?.value;
  }

  append(value: T): Link<T> {
    const link: Link<T> = { value, before: this.#last, after: null };
    if (this.#last === null) this.#first = link;
    else this.#last.after = link;
    this.#last = link;
    this.#size += 1;
    return link;
  }

  /** The link must be of this chain, and still in it. */
  remove(link: Link<T>): void {
    const { before, after } = link;
    if (before === null) this.#first = after;
    else before.after = after;
    if (after === null) this.#last = before;
    else after.before = before;
    this.#size -= 1;
  }

  shift(): T | undefined {
    const link = this.#first;
    if (link === null) return undefined;
    this.remove(link);
    return link.value;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let link = this.#first; link !== null; link = link.after) yield link.value;
  }
}
