/**
 * What can follow `tableflip`: its flags and operands, in sections for help, and what it does.
 *
 * @internal
 */
import type { Flags } from "./flag.ts"
import * as flag from "./flag.ts"
import type { Parsed } from "./parse.ts"
import { parse } from "./parse.ts"

export interface Runtime {
  /** Called when signals are looked after. */
  readonly onRunning: () => void
  /** Has this process end by a signal, rather than by the exit code that says so. */
  readonly endBy: (signal: NodeJS.Signals) => void
}

export interface Subcommand {
  readonly name: string
  /** A line. */
  readonly about: string
  /** What help says above the flags. */
  readonly details: ReadonlyArray<string>
  /** What follows the name and the flags in help. */
  readonly operands: string
  /** Whether a command follows `--`. */
  readonly takesCommand: boolean
  /** What a shell offers for an operand. */
  readonly completes: ReadonlyArray<string>
  /** Flags under the headings of help. */
  readonly sections: Readonly<Record<string, Flags>>
  /** The outcome is the exit code. */
  readonly run: (args: ReadonlyArray<string>, runtime: Runtime) => Promise<number>
}

/** What every subcommand has. */
export const common = {
  help: flag.toggle("Show this help", { short: "h" }),
  version: flag.toggle("Show the version")
}

export interface Definition<F extends Flags> extends Partial<Omit<Subcommand, "run">> {
  readonly name: string
  readonly about: string
  readonly flags: F
  readonly run: (parsed: Parsed<F & typeof common>, runtime: Runtime) => Promise<number>
}

export const make = <F extends Flags>({ flags, run, ...rest }: Definition<F>): Subcommand => ({
  details: [],
  operands: "",
  takesCommand: false,
  completes: [],
  sections: { Options: { ...flags, ...common } },
  ...rest,
  run: async (args, runtime) => {
    const parsed = parse(args, { ...flags, ...common })
    if (rest.takesCommand !== true && parsed.command !== undefined) {
      throw new flag.UsageError(`tableflip ${rest.name} takes no command after --`)
    }
    return run(parsed, runtime)
  }
})

export const flagsOf = ({ sections }: Subcommand): Flags => Object.assign({}, ...Object.values(sections))
