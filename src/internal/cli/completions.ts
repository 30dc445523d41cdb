/**
 * `tableflip completions`: scripts for shells, from the table of subcommands.
 *
 * @internal
 */
import * as writer from "../node/writer.ts"
import type { Flag, Flags } from "./flag.ts"
import { listed, UsageError } from "./flag.ts"
import { typeable } from "./parse.ts"
import type { Subcommand } from "./subcommand.ts"
import * as subcommand from "./subcommand.ts"

type Subcommands = ReadonlyArray<Subcommand>

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

const indented = (lines: ReadonlyArray<string>, by: string) => lines.map((line) => `${by}${line}`).join("\n")

/** Without the names that are there for those who know them. */
const shown = (flags: Flags): Flags =>
  Object.fromEntries(Object.entries(flags).map(([name, flag]) => [name, { ...flag, aliases: [] }]))

const generalWords = typeable(subcommand.common)

const bash = (subcommands: Subcommands): string => {
  const words = (list: ReadonlyArray<string>) => `$'${list.join("\\n")}'`
  const offer = ({ completes }: Flag) =>
    typeof completes === "string"
      ? `COMPREPLY=($(compgen ${completes === "file" ? "-f" : "-d"} -- "$word"))`
      : completes.length === 0
      ? ":"
      : `COMPREPLY=($(compgen -W ${words(completes)} -- "$word"))`
  const values = subcommands.flatMap((each) =>
    Object.entries(subcommand.flagsOf(each)).filter(([, { placeholder }]) => placeholder !== undefined).map((entry) => {
      const spellings = typeable(Object.fromEntries([entry]))
      return `${spellings.map((spelling) => quoted(`${each.name} ${spelling}`)).join("|")}) ${
        offer(entry[1])
      }; return ;;`
    })
  )
  const own = subcommands.map((each) =>
    `${each.name}) COMPREPLY=($(compgen -W ${
      words([...typeable(shown(subcommand.flagsOf(each))), ...each.completes, ...each.takesCommand ? ["--"] : []])
    } -- "$word")) ;;`
  )
  return `# source <(tableflip completions bash)
_tableflip() {
  local IFS=$'\\n' word=\${COMP_WORDS[COMP_CWORD]} index
  COMPREPLY=()
  for ((index = 2; index < COMP_CWORD; index++)); do
    [[ \${COMP_WORDS[index]} == -- ]] || continue
    if declare -F _command_offset > /dev/null; then
      IFS=$' \\t\\n'
      _command_offset $((index + 1))
    elif ((index + 1 == COMP_CWORD)); then
      COMPREPLY=($(compgen -c -- "$word"))
    else
      COMPREPLY=($(compgen -f -- "$word"))
    fi
    return
  done
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${words([...subcommands.map(({ name }) => name), "help", ...generalWords])} -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]} \${COMP_WORDS[COMP_CWORD - 1]}" in
${indented(values, "    ")}
  esac
  case \${COMP_WORDS[1]} in
${indented(own, "    ")}
  esac
}
complete -o filenames -F _tableflip tableflip`
}

const zsh = (subcommands: Subcommands): string => {
  const escaped = (text: string) => text.replaceAll(/[[\]:\\]/g, "\\$&")
  const action = ({ completes, placeholder }: Flag) => {
    if (placeholder === undefined) return ""
    const offered = completes === "file"
      ? "_files"
      : completes === "directory"
      ? "_files -/"
      : completes.length === 0
      ? " "
      : `(${completes.join(" ")})`
    return `:${escaped(placeholder)}:${offered}`
  }
  const specs = (each: Subcommand) => [
    ...Object.entries(shown(subcommand.flagsOf(each))).flatMap(([name, flag]) =>
      typeable({ [name]: flag }).map((spelling) =>
        quoted(`${flag.repeats ? "*" : ""}${spelling}[${escaped(flag.about)}]${action(flag)}`)
      )
    ),
    ...each.completes.length === 0 ? [] : [quoted(`1:${each.operands}:(${each.completes.join(" ")})`)]
  ]
  const one = (each: Subcommand) =>
    `${each.name})
  ${
      each.takesCommand ?
        `if ((index = \${words[(i)--]}, index < CURRENT)); then
    shift index words
    ((CURRENT -= index))
    _normal
    return
  fi
  ` :
        ""
    }_arguments \\
${indented(specs(each), "    ").replaceAll("\n", " \\\n")}
  ;;`
  return `#compdef tableflip
# tableflip completions zsh > "\${fpath[1]}/_tableflip"
_tableflip() {
  local index
  if ((CURRENT == 2)); then
    local -a commands=(
${indented(subcommands.map(({ about, name }) => quoted(`${name}:${about}`)), "      ")}
      'help:Show help'
    )
    _describe command commands
    return
  fi
  shift words
  ((CURRENT--))
  case \${words[1]} in
${indented(subcommands.flatMap((each) => one(each).split("\n")), "    ")}
  esac
}
if [[ \${funcstack[1]} == _tableflip ]]; then
  _tableflip "$@"
else
  compdef _tableflip tableflip
fi`
}

const fish = (subcommands: Subcommands): string => {
  const value = ({ completes, placeholder }: Flag) =>
    placeholder === undefined
      ? ""
      : completes === "file"
      ? " -rF"
      : completes === "directory"
      ? ` -xa '(__fish_complete_directories)'`
      : ` -xa ${quoted(completes.join(" "))}`
  const lines = (each: Subcommand) => {
    const when = each.takesCommand
      ? `'__fish_seen_subcommand_from ${each.name}; and not __tableflip_command'`
      : `'__fish_seen_subcommand_from ${each.name}'`
    return [
      `complete -c tableflip -n __fish_use_subcommand -a ${each.name} -d ${quoted(each.about)}`,
      ...Object.entries(subcommand.flagsOf(each)).map(([name, flag]) =>
        `complete -c tableflip -n ${when}${flag.short === undefined ? "" : ` -s ${flag.short}`} -l ${name}${
          value(flag)
        } -d ${quoted(flag.about)}`
      ),
      ...each.completes.length === 0 ? [] : [`complete -c tableflip -n ${when} -a ${quoted(each.completes.join(" "))}`]
    ]
  }
  return `# tableflip completions fish | source
function __tableflip_command
  contains -- -- (commandline -opc)
end
function __tableflip_complete_command
  set -l words (commandline -opc)
  set -l index (contains -i -- -- $words)
  complete -C (string join ' ' -- (string escape -- $words[(math $index + 1)..-1]) (commandline -ct))
end
complete -c tableflip -f
complete -c tableflip -n __fish_use_subcommand -a help -d 'Show help'
complete -c tableflip -n __tableflip_command -a '(__tableflip_complete_command)'
${subcommands.flatMap(lines).join("\n")}`
}

const shells = { bash, zsh, fish }

const shellNames = Object.keys(shells)

/** `subcommands` is asked for later, being one of them. */
export const completions = (subcommands: () => Subcommands): Subcommand =>
  subcommand.make({
    name: "completions",
    about: `Print a script for a shell that completes words: ${shellNames.join(", ")}`,
    operands: shellNames.join("|"),
    completes: shellNames,
    flags: {},
    run: async ({ operands: [shell, ...others] }) => {
      if (shell === undefined) throw new UsageError(`the shell is missing: ${listed(shellNames, "or")}`)
      if (!Object.hasOwn(shells, shell) || others.length > 0) {
        throw new UsageError(`${JSON.stringify([shell, ...others].join(" "))} must be ${listed(shellNames, "or")}`)
      }
      writer.to(1).line(shells[shell as keyof typeof shells](subcommands()))
      return 0
    }
  })
