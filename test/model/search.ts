/** What a search needs to know of a world; see docs/models.md. */
export interface Model<W> {
  readonly start: W;
  /** Every step that may be taken here. `telling`: each says in words what it is, which costs time. */
  readonly steps: (world: W, telling: boolean) => readonly Step<W>[];
  /** What is wrong with a world as it stands; null: nothing. */
  readonly wrong: (world: W) => string | null;
  /** Worlds with the same key are the same world. */
  readonly key: (world: W) => string;
  /** Whether this is an end that may stay for ever: all is over, or what is waited for is named. */
  readonly mayRest: (world: W) => boolean;
}
export interface Step<W> {
  readonly world: W;
  /** What this step broke, as `[S8] …`; null: nothing. */
  readonly wrong: string | null;
  /** Happens by itself sooner or later: no fault, and nobody's command. */
  readonly fair: boolean;
  readonly says: string;
}

export interface Searched {
  readonly states: number;
  readonly transitions: number;
  /** Length of the longest of the shortest runs to a state. */
  readonly depth: number;
  readonly seconds: number;
  /** The shortest run that breaks something; null: none does. */
  readonly counterexample: Counterexample | null;
}
export interface Counterexample {
  readonly wrong: string;
  readonly run: readonly string[];
}

/** More states than any model here has: a search that gets so far was not meant to. */
const MOST_STATES = 12_000_000;

/**
 * Breadth first over everything reachable, so that the run that is found is a shortest one. Ends at the first step that breaks
 * something. Where none does, a state from which fair steps alone lead to no rest is one: the protocol got stuck there (L11).
 */
export function search<W>(model: Model<W>, clock: () => number = () => performance.now()): Searched {
  const since = clock();
  const known = new Map<string, number>([[model.key(model.start), 0]]);
  const graph = new Graph();
  graph.add(-1, 0);
  let frontier: W[] = [model.start];
  let next: W[] = [];
  let depth = 0;
  let at = 0;
  let transitions = 0;
  const searched = (counterexample: Counterexample | null): Searched => ({
    states: known.size,
    transitions,
    depth,
    seconds: (clock() - since) / 1000,
    counterexample,
  });
  while (frontier.length > 0) {
    for (const world of frontier) {
      const steps = model.steps(world, false);
      for (const [index, { world: reached, wrong, fair }] of steps.entries()) {
        transitions += 1;
        const key = model.key(reached);
        let id = known.get(key);
        const broken = wrong ?? (id === undefined ? model.wrong(reached) : null);
        if (broken !== null)
          return searched({ wrong: broken, run: [...told(model, graph.way(at)), ...said(model, world, index)] });
        if (id === undefined) {
          id = known.size;
          known.set(key, id);
          graph.add(at, index);
          next.push(reached);
        }
        if (fair) graph.connect(id);
      }
      graph.close(model.mayRest(world));
      at += 1;
    }
    if (known.size > MOST_STATES) throw new Error(`more than ${MOST_STATES} states`);
    frontier = next;
    next = [];
    if (frontier.length > 0) depth += 1;
  }
  const stuck = graph.stuck();
  return searched(
    stuck === null ? null : { wrong: "[L11] nothing leads from here to a rest", run: told(model, graph.way(stuck)) },
  );
}

/** The words of the steps `way`, taken one after the other. */
function told<W>(model: Model<W>, way: readonly number[]): readonly string[] {
  let world = model.start;
  return way.map((index) => {
    const step = model.steps(world, true)[index];
    if (step === undefined) throw new Error(`there is no step ${index}`);
    world = step.world;
    return step.says;
  });
}

const said = <W>(model: Model<W>, world: W, index: number): readonly string[] => [
  model.steps(world, true)[index]?.says ?? "",
];

/** Who was reached from whom first, and the fair steps among the states, in plain numbers: millions of them fit. */
class Graph {
  readonly #parents: number[] = [];
  readonly #steps: number[] = [];
  /** Targets of fair steps, state by state; `#ends[i]` is where those of state i end. */
  readonly #targets: number[] = [];
  readonly #ends: number[] = [];
  readonly #rests: number[] = [];

  add(parent: number, step: number): void {
    this.#parents.push(parent);
    this.#steps.push(step);
  }

  connect(target: number): void {
    this.#targets.push(target);
  }

  close(mayRest: boolean): void {
    if (mayRest) this.#rests.push(this.#ends.length);
    this.#ends.push(this.#targets.length);
  }

  /** The steps from the start to `state`. */
  way(state: number): readonly number[] {
    const steps: number[] = [];
    for (let at = state; at > 0; at = this.#parents[at] ?? 0) steps.push(this.#steps[at] ?? 0);
    return steps.toReversed();
  }

  /** A state nearest to the start from which no rest can be reached by fair steps; null: there is none. */
  stuck(): number | null {
    const count = this.#ends.length;
    const { offsets, sources } = this.#reversed();
    const lives = new Uint8Array(count);
    const open = [...this.#rests];
    for (const state of open) lives[state] = 1;
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      for (let i = offsets[state] ?? 0; i < (offsets[state + 1] ?? 0); i += 1) {
        const source = sources[i] ?? 0;
        if (lives[source] === 1) continue;
        lives[source] = 1;
        open.push(source);
      }
    }
    const dead = lives.indexOf(0);
    return dead < 0 ? null : dead;
  }

  #reversed(): { readonly offsets: Uint32Array; readonly sources: Uint32Array } {
    const count = this.#ends.length;
    const offsets = new Uint32Array(count + 2);
    for (const target of this.#targets) offsets[target + 2] = (offsets[target + 2] ?? 0) + 1;
    for (let i = 2; i < offsets.length; i += 1) offsets[i] = (offsets[i] ?? 0) + (offsets[i - 1] ?? 0);
    const sources = new Uint32Array(this.#targets.length);
    let edge = 0;
    for (let state = 0; state < count; state += 1) {
      for (; edge < (this.#ends[state] ?? 0); edge += 1) {
        const target = this.#targets[edge] ?? 0;
        const at = offsets[target + 1] ?? 0;
        sources[at] = state;
        offsets[target + 1] = at + 1;
      }
    }
    return { offsets, sources };
  }
}
