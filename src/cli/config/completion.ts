import type { Command } from "commander";
import { COMPONENT_NAMES } from "../../infra/config/components.ts";
import { ENVIRONMENTS, LAYERS } from "../../infra/config/services.ts";
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
      return `#compdef ${name}\nautoload -U +X bashcompinit && bashcompinit\n${bash(name, commands)}`;
    case "fish":
      return commands
        .flatMap((one) => [
          `complete -c ${name} -f -n __fish_use_subcommand -a ${one.name} -d '${one.about.replaceAll("'", "")}'`,
          ...one.flags.map(
            (flag) => `complete -c ${name} -f -n '__fish_seen_subcommand_from ${one.name}' -l ${flag.slice(2)}`,
          ),
        ])
        .map((line) => `${line}\n`)
        .join("");
    default:
      throw new CliFailure(EXIT.usage, `completion is there for ${SHELLS.join(", ")}`);
  }
}

const WORDS = [...ENVIRONMENTS, ...LAYERS, ...COMPONENT_NAMES].join(" ");

function bash(name: string, commands: readonly { readonly name: string; readonly flags: readonly string[] }[]): string {
  const id = `_${name.replaceAll("-", "_")}`;
  const cases = commands.map((one) => `    ${one.name}) words="${one.flags.join(" ")} ${WORDS}" ;;`);
  return [
    `${id}() {`,
    `  local words="${commands.map((one) => one.name).join(" ")}"`,
    '  [ "$COMP_CWORD" -gt 1 ] && case "${COMP_WORDS[1]}" in',
    ...cases,
    "  esac",
    '  COMPREPLY=( $(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}") )',
    "}",
    `complete -o default -F ${id} ${name}`,
    "",
  ].join("\n");
}
