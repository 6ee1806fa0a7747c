import { runConfigCli } from "../../src/cli/config/program.ts";
import type { CliSeams } from "../../src/cli/config/seams.ts";
import type { Centre } from "../../src/infra/coord/coord.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { seededRng } from "./manual-clock.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly talk: string;
}

export interface CliRig {
  readonly run: (...args: readonly string[]) => Promise<Ran>;
  /** What `-o json` printed. */
  readonly json: (...args: readonly string[]) => Promise<unknown>;
}

type Given = Partial<Pick<CliSeams, "clock" | "rng" | "signal" | "env" | "terminal" | "talk">> & {
  /** What the program is called as. */
  readonly name?: string;
  readonly stdin?: string | Uint8Array;
  /** Null: the answer is ended with Ctrl-D. */
  readonly answers?: readonly (string | null)[];
};

/** The command line over a centre, without a process. */
export function cliOver(centre: Centre, given: Given = {}): CliRig {
  const { stdin = "", answers = [], name = "config-cli", ...seams } = given;
  const run = async (...args: readonly string[]): Promise<Ran> => {
    const out: string[] = [];
    const talk: string[] = [];
    const left = [...answers];
    const code = await runConfigCli(
      args,
      {
        out: (text) => void out.push(text),
        talk: (text) => void talk.push(text),
        terminal: false,
        ask: (question) => {
          talk.push(question);
          return Promise.resolve(left.length === 0 ? "" : (left.shift() ?? null));
        },
        readStdin: () => Promise.resolve(Buffer.from(stdin)),
        env: { COORD_ENDPOINTS: "http://127.0.0.1:2379" },
        clock: systemClock,
        rng: seededRng(),
        signal: new AbortController().signal,
        openCentre: () => Promise.resolve({ centre, close: () => Promise.resolve() }),
        ...seams,
      },
      name,
    );
    return { code, out: out.join(""), talk: talk.join("") };
  };
  return {
    run,
    json: async (...args) => JSON.parse((await run(...args, "-o", "json")).out) as unknown,
  };
}
