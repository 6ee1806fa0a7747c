/** Takes the name for this process until the returned function is called; null where another process of this user has it. */
export function hold(name: string): Promise<(() => Promise<void>) | null>;

export interface Turn<T> {
  /** Called each time another process is found to be at work under the name. */
  readonly waits: () => void;
  readonly work: () => Promise<T>;
}

/** Does the work while no other process of this user works under the name; the others wait, as long as the first takes. */
export function alone<T>(name: string, turn: Turn<T>): Promise<T>;
