import { Command, CommanderError, Option } from "commander";
import { completion } from "./completion.ts";
import { exportTree, importTree, type ImportFlags, init, type InitFlags } from "./commands-bulk.ts";
import { history, rollback } from "./commands-history.ts";
import { diff, FILES, get, list, validateCentre, validateFiles } from "./commands-look.ts";
import { migrate, type MigrateFlags } from "./commands-migrate.ts";
import { template } from "./commands-template.ts";
import { watch } from "./commands-watch.ts";
import { remove, replace, set, type WriteFlags } from "./commands-write.ts";
import { type Context, type GlobalFlags, OUTPUTS, talkLine, withContext } from "./context.ts";
import { CliFailure, EXIT, exitOf, STOPPED } from "./failure.ts";
import type { CliSeams } from "./seams.ts";

const EXITS = `
Exit codes: 0 done · 1 problems, differences or nothing there · 2 wrong arguments, or no yes
            3 refused by the centre · 4 changed by others meanwhile · 5 the centre was not reached
            6 --exec, --webhook, the output or a file failed · 130 stopped
A KEY is /config/ENV/SERVICE/COMPONENT, without /config/ too, or SERVICE/COMPONENT with --env.
JSON may be - for stdin.`;

/** Runs one command line and gives its exit code; throws nothing but bugs. */
export async function runConfigCli(args: readonly string[], given: CliSeams, name = "config-cli"): Promise<number> {
  // Commands that are told to people are told as they were called.
  const seams = {
    ...given,
    talk: (text: string) => given.talk(text.replaceAll(/\bconfig-cli (?=[a-z])/g, `${name} `)),
  };
  const ended = { code: EXIT.done as number };
  const program = build(name, seams, (code) => (ended.code = code));
  try {
    await program.parseAsync([...args], { from: "user" });
    return ended.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const known = exitOf(error);
    if (seams.signal.aborted && !(error instanceof CliFailure)) return STOPPED;
    if (known === null) throw error;
    for (const line of known.message.split("\n")) talkLine({ seams }, line);
    return known.exitCode;
  }
}

type Action = (context: Context) => Promise<number>;

function build(name: string, seams: CliSeams, end: (code: number) => void): Command {
  const program = new Command(name)
    .description("Manages configuration: files {env}/{service}/{component}.json and the configuration centre (etcd).")
    .option(
      "--endpoints <list>",
      "http://HOST:PORT or https://HOST:PORT of the centre, several with commas (COORD_ENDPOINTS)",
    )
    .option("--username <name>", "user of the centre")
    .option("--password-file <file>", "file that holds its password")
    .option("--ca-file <file>", "PEM of the authority of the centre's certificate")
    .option("--timeout <duration>", "bound of one call, and of tries against other writers", "10s")
    .option("--env <env>", "dev, test or prod")
    .addOption(new Option("-o, --output <format>", "form of data").choices([...OUTPUTS]).default("table"))
    .option("--no-color", "accepted for scripts; there is no colour")
    .addHelpText("after", EXITS)
    .configureOutput({
      writeOut: seams.out,
      writeErr: seams.talk,
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    })
    .showSuggestionAfterError(true)
    .exitOverride();
  const run = async (action: Action): Promise<void> =>
    end(await withContext(seams, program.opts<GlobalFlags>(), action));
  addLooking(program, run);
  addWriting(program, run);
  addFollowing(program, run);
  program
    .command("completion <shell>")
    .description("prints completion for bash, zsh or fish")
    .action((shell: string) => seams.out(completion(program, shell)));
  for (const command of program.commands)
    command.exitOverride().configureOutput({
      writeOut: seams.out,
      writeErr: seams.talk,
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    });
  return program;
}

type Run = (action: Action) => Promise<void>;

function addLooking(program: Command, run: Run): void {
  program
    .command("validate [path]")
    .description("names every problem with file, line and column, value and what is allowed")
    .option("--centre", "what stands in the centre instead of files", false)
    .option("--check-secrets", "also whether each secret's file or variable exists on this machine", false)
    .action((path: string | undefined, flags: { centre: boolean; checkSecrets: boolean }) =>
      run((context) =>
        flags.centre ? validateCentre(context) : validateFiles(context, { path, secrets: flags.checkSecrets }),
      ),
    );
  program
    .command("get <key>")
    .description("one value, secrets masked")
    .option("--explain", "the value in force, and the layer that each field came from", false)
    .option("--files <folder>", "root of the files", FILES)
    .action((key: string, flags: { explain: boolean; files: string }) => run((context) => get(context, key, flags)));
  program
    .command("list [env] [service]")
    .description("keys of the centre with their revisions")
    .action((env?: string, service?: string) => run((context) => list(context, env, service)));
  program
    .command("diff [path]")
    .description("files against the centre, field by field")
    .action((path?: string) => run((context) => diff(context, path)));
  program
    .command("template <component>")
    .description("a commented file to begin with")
    .option("--service <service>", "with what the files say for this service")
    .option("--files <folder>", "root of the files", FILES)
    .action((component: string, flags: { service?: string; files: string }) =>
      run((context) => template(context, component, flags)),
    );
}

function addWriting(program: Command, run: Run): void {
  program
    .command("init [env] [service] [component]")
    .description("puts keys that are missing, from the files; never touches one that stands")
    .option("--from <folder>", "root of the files", FILES)
    .option("--dry-run", "shows what is missing", false)
    .option("--yes", "without asking", false)
    .option("--force", "the same as --yes", false)
    .action((env: string | undefined, service: string | undefined, component: string | undefined, flags: InitFlags) =>
      run((context) => init(context, { env, service, component }, flags)),
    );
  program
    .command("import <path>")
    .description("files of one environment into the centre: all of them are checked first")
    .option("--atomic", "in one transaction or not at all", false)
    .option("--dry-run", "shows the plan", false)
    .option("--yes", "without asking", false)
    .action((path: string, flags: ImportFlags) => run((context) => importTree(context, path, flags)));
  program
    .command("export <folder>")
    .description("the centre as files")
    .option("--force", "overwrites files that say something else", false)
    .action((folder: string, flags: { force: boolean }) => run((context) => exportTree(context, folder, flags)));
  program
    .command("set <key> <json>")
    .description("lays the JSON over what stands there")
    .option("--dry-run", "shows what would change", false)
    .action((text: string, json: string, flags: WriteFlags) => run((context) => set(context, { text, json }, flags)));
  program
    .command("replace <key> <json>")
    .description("puts the JSON in place of what stands there")
    .option("--dry-run", "shows what would change", false)
    .option("--yes", "without asking", false)
    .action((text: string, json: string, flags: WriteFlags) =>
      run((context) => replace(context, { text, json }, flags)),
    );
  program
    .command("delete <key> [field]")
    .description("takes the key away, or one field of it such as retry.maxRetries")
    .option("--dry-run", "shows what would change", false)
    .option("--yes", "without asking; one field goes without being asked for", false)
    .action((text: string, field: string | undefined, flags: WriteFlags) =>
      run((context) => remove(context, { text, field }, flags)),
    );
  program
    .command("migrate <old>")
    .description("files of older layouts (a folder per service, app.json) into the tree")
    .requiredOption("--to <folder>", "root of the new tree")
    .option("--dry-run", "shows what would go where", false)
    .option("--force", "overwrites files that say something else", false)
    .action((old: string, flags: MigrateFlags) => run((context) => migrate(context, old, flags)));
}

function addFollowing(program: Command, run: Run): void {
  program
    .command("watch <range> [args...]")
    .description("prints every change of a key, or of what lies below a prefix, until it is stopped")
    .option("--from <revision>", "go on after this revision")
    .option("--count <number>", "end after so many changes")
    .option(
      "--exec <program>",
      "runs it for each change, without a shell; the change is on its stdin, further arguments follow --",
    )
    .option("--webhook <url>", "posts each change")
    .action(
      (range: string, args: string[], flags: { from?: string; count?: string; exec?: string; webhook?: string }) =>
        run((context) => watch(context, range, { ...flags, args })),
    );
  program
    .command("history <key>")
    .description("what stood there, newest first")
    .option("--limit <number>", "so many at most", "20")
    .action((key: string, flags: { limit: string }) => run((context) => history(context, key, flags)));
  program
    .command("rollback <key>")
    .description("brings back what stood there at a revision")
    .requiredOption("--to <revision>", "the revision")
    .option("--dry-run", "shows what would change", false)
    .option("--yes", "without asking", false)
    .action((key: string, flags: { to: string; yes: boolean; dryRun: boolean }) =>
      run((context) => rollback(context, key, flags)),
    );
}
