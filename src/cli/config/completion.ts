import type { Command } from "commander";
import { COMPONENT_NAMES, componentsOf } from "../../infra/config/components.ts";
import { ENVIRONMENTS, LAYERS } from "../../infra/config/services.ts";
import { OUTPUTS } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** `completion SHELL`: made from the commands as they are, so that it cannot fall behind them. */
export function completion(program: Command, shell: string): string {
  const name = program.name();
  const commands = program.commands.map((command) => ({
    name: command.name(),
    about: command.summary() === "" ? command.description() : command.summary(),
    flags: [...program.options, ...command.options].flatMap(({ long }) => long ?? []),
  }));
  switch (SHELLS.find((known) => known === shell)) {
    case "bash":
      return bash(name, commands);
    case "zsh":
      return `#compdef ${name.split(" ")[0] ?? name}\nautoload -U +X bashcompinit && bashcompinit\n${bash(name, commands)}`;
    case "fish":
      return fish(name, commands);
    default:
      throw new CliFailure(EXIT.usage, `completion is there for ${SHELLS.join(", ")}`);
  }
}

const PLACES = [...ENVIRONMENTS, ...LAYERS, ...COMPONENT_NAMES].join(" ");
/** What stands after a command; files where nothing is said. */
const VALUES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["get", "set", "replace", "delete", "watch", "history", "rollback"].map((name) => [name, keys()]),
  ),
  list: PLACES,
  init: PLACES,
  template: COMPONENT_NAMES.join(" "),
  completion: SHELLS.join(" "),
};

function keys(): string {
  const all = ENVIRONMENTS.flatMap((env) =>
    LAYERS.flatMap((layer) => componentsOf(layer).map((component) => `${env}/${layer}/${component}`)),
  );
  return all.join(" ");
}

function fish(name: string, commands: readonly Completed[]): string {
  const [program = "", ...before] = name.split(" ");
  const none = `not __fish_seen_subcommand_from ${commands.map((one) => one.name).join(" ")}`;
  const first =
    before.length === 0 ? "__fish_use_subcommand" : `__fish_seen_subcommand_from ${before.join(" ")}; and ${none}`;
  const within = (one: Completed): string => `complete -c ${program} -f -n '__fish_seen_subcommand_from ${one.name}'`;
  return commands
    .flatMap((one) => [
      `complete -c ${program} -f -n '${first}' -a ${one.name} -d '${one.about.replaceAll("'", "")}'`,
      ...one.flags.map((flag) => `${within(one)} -l ${flag.slice(2)}`),
      ...(VALUES[one.name] === undefined ? [] : [`${within(one)} -a '${VALUES[one.name] ?? ""}'`]),
    ])
    .map((line) => `${line}\n`)
    .join("");
}

interface Completed {
  readonly name: string;
  readonly about: string;
  readonly flags: readonly string[];
}

/** `turnout config` is completed as the second word of `turnout`. */
function bash(name: string, commands: readonly Completed[]): string {
  const [program = "", ...before] = name.split(" ");
  const id = `_${name.replaceAll(/[- ]/g, "_")}`;
  const at = 1 + before.length;
  const cases = (of: (one: Completed) => string): readonly string[] =>
    commands.flatMap((one) => (of(one) === "" ? [] : [`      ${one.name}) words="${of(one)}" ;;`]));
  return [
    `${id}() {`,
    '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" words=""',
    ...before.map(
      (word, i) =>
        `  [ "\${COMP_WORDS[${i + 1}]}" = ${word} ] || { COMPREPLY=( $(compgen -W "${word}" -- "$cur") ); return; }`,
    ),
    `  case "$COMP_CWORD:$prev:$cur" in`,
    `    *:-o:*|*:--output:*) words="${OUTPUTS.join(" ")}" ;;`,
    `    *:--env:*) words="${ENVIRONMENTS.join(" ")}" ;;`,
    `    ${at}:*) words="${commands.map((one) => one.name).join(" ")}" ;;`,
    `    *:-*) case "\${COMP_WORDS[${at}]}" in`,
    ...cases(({ flags }) => flags.join(" ")),
    "    esac ;;",
    `    *) case "\${COMP_WORDS[${at}]}" in`,
    ...cases((one) => VALUES[one.name] ?? ""),
    "    esac ;;",
    "  esac",
    '  COMPREPLY=( $(compgen -W "$words" -- "$cur") )',
    "}",
    `complete -o default -F ${id} ${program}`,
    "",
  ].join("\n");
}
