import type { CliSeams } from "./seams.ts";

export interface Progress {
  step(done: number): void;
  end(): void;
}

const WIDTH = 24;

/** A bar on stderr while something long goes on; in pipes nothing but the end is told. */
export function progress(
  { talk, terminal }: Pick<CliSeams, "talk" | "terminal">,
  what: string,
  total: number,
): Progress {
  if (!terminal || total < 2) return { step: () => undefined, end: () => undefined };
  return {
    step: (done) => {
      const filled = Math.round((WIDTH * done) / total);
      talk(`\r${what} [${"#".repeat(filled)}${"·".repeat(WIDTH - filled)}] ${done}/${total}`);
    },
    end: () => talk("\n"),
  };
}

/** Yes, or nothing happens. Where nobody can be asked, the flag is demanded. */
export async function confirmed(seams: CliSeams, question: string, flag: string): Promise<boolean> {
  if (!seams.terminal) {
    seams.talk(`nothing was written: nobody can be asked here; repeat with ${flag}, or with --dry-run to look first\n`);
    return false;
  }
  const answer = await seams.ask(`${question} [y/N] `);
  if (answer === null) seams.talk("\n");
  const agreed = answer !== null && /^y(?:es)?$/i.test(answer.trim());
  if (!agreed) seams.talk("nothing was written\n");
  return agreed;
}
