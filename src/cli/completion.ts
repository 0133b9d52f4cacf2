import type { Command, Option } from "commander";
import { UsageError } from "../errors.ts";

/** What a shell may complete, read off the command line itself, so that the two never differ. */
interface Words {
  readonly commands: readonly {
    readonly names: readonly string[];
    readonly description: string;
    readonly options: readonly Option[];
  }[];
}

/**
 * A completion script.
 * @param shell bash, zsh, fish or powershell
 * @throws UsageError BAD_FLAG for another one
 */
export function completion(shell: string, root: Command): string {
  const name = root.name();
  const words: Words = {
    commands: root.commands.map((c) => ({
      names: [c.name(), ...c.aliases()],
      description: c.description(),
      options: c.options,
    })),
  };
  switch (shell) {
    case "bash":
      return bash(name, words);
    case "zsh":
      return `autoload -U +X bashcompinit && bashcompinit\n${bash(name, words)}`;
    case "fish":
      return fish(name, words);
    case "powershell":
      return powershell(name, words);
    default:
      throw new UsageError("BAD_FLAG", {
        what: `completion ${shell}`,
        why: "there is no script for that shell",
        next: "choose bash, zsh, fish or powershell",
      });
  }
}

function flagsOf(options: readonly Option[]): string[] {
  return options.filter((o) => !o.hidden).flatMap((o) => [o.long, o.short].filter((f) => f !== undefined));
}

function bash(name: string, { commands }: Words): string {
  const fn = `_${name.replace(/-/g, "_")}`;
  const cases = commands.map((c) => `    ${c.names.join("|")}) words="${flagsOf(c.options).join(" ")}" ;;`);
  const choices = new Map(
    commands.flatMap((c) =>
      c.options.filter((o) => o.argChoices).map((o) => [o.long as string, (o.argChoices as string[]).join(" ")]),
    ),
  );
  return `${fn}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words=""
  case $prev in
${[...choices].map(([flag, values]) => `    ${flag}) COMPREPLY=($(compgen -W "${values}" -- "$cur")); return ;;`).join("\n")}
    completion) COMPREPLY=($(compgen -W "bash zsh fish powershell" -- "$cur")); return ;;
  esac
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
    *) words="${commands.flatMap((c) => c.names).join(" ")} --help --version" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur"))
}
complete -o filenames -F ${fn} ${name}
`;
}

function fish(name: string, { commands }: Words): string {
  const all = commands.flatMap((c) => c.names).join(" ");
  const lines = commands.flatMap((c) => [
    ...c.names.map(
      (n) => `complete -c ${name} -n "not __fish_seen_subcommand_from ${all}" -f -a ${n} -d '${quoted(c.description)}'`,
    ),
    ...c.options
      .filter((o) => !o.hidden)
      .map((o) => {
        const short = o.short ? ` -s ${o.short.slice(1)}` : "";
        const values = o.argChoices ? ` -x -a '${o.argChoices.join(" ")}'` : o.required ? " -r" : "";
        return `complete -c ${name} -n "__fish_seen_subcommand_from ${c.names.join(" ")}" -l ${o.long?.slice(2)}${short}${values} -d '${quoted(o.description)}'`;
      }),
  ]);
  return `${lines.join("\n")}\ncomplete -c ${name} -n "__fish_seen_subcommand_from completion" -f -a "bash zsh fish powershell"\n`;
}

function powershell(name: string, { commands }: Words): string {
  const table = commands.flatMap((c) =>
    c.names.map(
      (n) =>
        `    '${n}' = @(${flagsOf(c.options)
          .map((f) => `'${f}'`)
          .join(", ")})`,
    ),
  );
  return `Register-ArgumentCompleter -Native -CommandName ${name} -ScriptBlock {
  param($word, $ast, $position)
  $flags = @{
${table.join("\n")}
  }
  $command = if ($ast.CommandElements.Count -gt 1) { $ast.CommandElements[1].ToString() } else { '' }
  $words = if ($flags.ContainsKey($command)) { $flags[$command] } else { $flags.Keys + '--help', '--version' }
  $words | Where-Object { $_ -like "$word*" } | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
`;
}

function quoted(text: string): string {
  return text.replace(/'/g, "\\'");
}
