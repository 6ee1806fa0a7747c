import { formatFileProblem, type FileProblem } from "../../infra/config/tree.ts";
import type { Environment } from "../../infra/config/services.ts";
import type { Centre } from "../../infra/coord/coord.ts";
import type { Millis } from "../../lib/time.ts";
import { type AccessFlags, accessOf, timeoutOf } from "./access.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { environmentOf } from "./key-argument.ts";
import type { CliSeams } from "./seams.ts";
import { escaped, wrapped } from "./show.ts";

export const OUTPUTS = ["table", "tree", "json"] as const;
export type Output = (typeof OUTPUTS)[number];

export interface GlobalFlags extends AccessFlags {
  readonly env?: string;
  readonly output: string;
}

/** What a command is given. */
export interface Context {
  readonly seams: CliSeams;
  readonly env: Environment | undefined;
  readonly output: Output;
  readonly timeout: Millis;
  /** Opened at the first call and closed after the command. */
  centre(): Promise<Centre>;
}

/** Runs the command and closes what it opened. */
export async function withContext(
  seams: CliSeams,
  flags: GlobalFlags,
  command: (context: Context) => Promise<number>,
): Promise<number> {
  const output = OUTPUTS.find((known) => known === flags.output);
  if (output === undefined) throw new CliFailure(EXIT.usage, `--output takes ${OUTPUTS.join(", ")}`);
  let opened: ReturnType<CliSeams["openCentre"]> | null = null;
  const context: Context = {
    seams,
    env: environmentOf(flags.env),
    output,
    timeout: timeoutOf(flags.timeout),
    centre: async () => {
      opened ??= accessOf(flags, seams.env).then((access) => seams.openCentre(access));
      return (await opened).centre;
    },
  };
  try {
    return await command(context);
  } finally {
    await (opened as ReturnType<CliSeams["openCentre"]> | null)?.then(
      (centre) => centre.close(),
      () => undefined,
    );
  }
}

/** Data for programs: JSON as it is, one document. */
export const outJson = ({ seams }: Context, value: unknown): void => seams.out(`${JSON.stringify(value, null, 2)}\n`);

/** One line of data, escaped for a terminal. */
export const outLine = ({ seams }: Context, line: string): void => seams.out(`${escaped(line)}\n`);
export const talkLine = ({ seams }: Pick<Context, "seams">, line: string): void =>
  seams.talk(`${seams.terminal ? wrapped(escaped(line)) : escaped(line)}\n`);

/** Problems are the data of whoever asked for them. */
export function outProblems(context: Context, problems: readonly FileProblem[]): void {
  if (context.output === "json") outJson(context, problems);
  else {
    for (const problem of problems.slice(0, MOST_PROBLEMS)) outLine(context, formatFileProblem(problem));
    const more = problems.length - MOST_PROBLEMS;
    if (more > 0) talkLine(context, `and ${more} more; mend these, or see all of them with -o json`);
  }
}

/** Nobody reads more at once; a folder that was never a tree has a problem per file. */
const MOST_PROBLEMS = 100;

/** JSON that was given as an argument; `-` takes it from stdin, as bytes: what is no UTF-8 must not be stored as something else. */
export const argumentText = async ({ seams }: Context, text: string): Promise<Uint8Array | string> =>
  text === "-" ? await seams.readStdin() : text;
