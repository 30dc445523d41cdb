/**
 * Help from the table of subcommands, for a screen of 80 columns.
 *
 * @internal
 */
import type { Flag, Flags } from "./flag.ts"
import type { Subcommand } from "./subcommand.ts"

const columns = (rows: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}

const leftOf = (name: string, { placeholder, short }: Flag): string =>
  [`${short === undefined ? "" : `-${short}, `}--${name}`, ...placeholder === undefined ? [] : [placeholder]].join(" ")

const rowsOf = (flags: Flags) => Object.entries(flags).map(([name, flag]) => [leftOf(name, flag), flag.about] as const)

/** Of one subcommand. */
export const of = (subcommand: Subcommand): string => {
  const sections = Object.entries(subcommand.sections)
  const lines = columns(sections.flatMap(([, flags]) => rowsOf(flags)))
  let from = 0
  return [
    `Usage: tableflip ${subcommand.name} [options] ${subcommand.operands}`.trim(),
    "",
    ...subcommand.details.length === 0 ? [subcommand.about] : subcommand.details,
    "",
    ...sections.flatMap(([title, flags]) => {
      const own = lines.slice(from, from += Object.keys(flags).length)
      return [`${title}:`, ...own]
    })
  ].join("\n")
}

export const ofAll = (subcommands: ReadonlyArray<Subcommand>): string =>
  [
    "Usage: tableflip <command> [options]",
    "",
    "Zero-downtime reloads for any program.",
    "",
    ...columns(subcommands.map(({ about, name }) => [name, about])),
    "",
    "tableflip <command> --help tells more, tableflip --version the version."
  ].join("\n")
