/**
 * The command `tableflip`.
 *
 * @internal
 */
import * as fs from "node:fs"
import * as writer from "../node/writer.ts"
import { UsageError } from "./flag.ts"
import * as help from "./help.ts"
import { parse, typeable } from "./parse.ts"
import type { Runtime, Subcommand } from "./subcommand.ts"
import { common, flagsOf } from "./subcommand.ts"
import { subcommands } from "./subcommands.ts"
import { didYouMean } from "./suggest.ts"

const version = (): string =>
  (JSON.parse(fs.readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string })
    .version

const print = (text: string): number => {
  writer.to(1).line(text)
  return 0
}

const subcommandOf = (typed: string): Subcommand => {
  const found = subcommands.find(({ name }) => name === typed)
  if (found !== undefined) return found
  throw new UsageError(
    `there is no command ${JSON.stringify(typed)}${didYouMean(typed, subcommands.map(({ name }) => name))}`
  )
}

/** Flags in front of everything. */
const general = (args: ReadonlyArray<string>): number => {
  const [first = ""] = args
  const later = subcommands.find((subcommand) => typeable(flagsOf(subcommand)).includes(first.split("=")[0]!))
  if (later !== undefined && !typeable(common).includes(first)) {
    throw new UsageError(`${first} comes after a command, as in tableflip ${later.name} ${first}`)
  }
  const { operands: [operand], values } = parse(args, common)
  if (operand !== undefined) throw new UsageError(`${JSON.stringify(operand)} comes first, before any option`)
  return print(values.version ? version() : help.ofAll(subcommands))
}

/** Whether a flag is there, also among short ones in a row. */
const has = (args: ReadonlyArray<string>, name: string, short?: string): boolean => {
  const separator = args.indexOf("--")
  return (separator < 0 ? args : args.slice(0, separator)).some((arg) =>
    arg === `--${name}` || (short !== undefined && /^-[a-z]+$/i.test(arg) && arg.includes(short))
  )
}

const dispatch = async ([first, ...rest]: ReadonlyArray<string>, runtime: Runtime): Promise<number> => {
  if (first === undefined || first === "help" && rest.length === 0) return print(help.ofAll(subcommands))
  if (first === "help" && rest.length > 1) {
    throw new UsageError(`help is for one command, and ${JSON.stringify(rest[1])} is one more`)
  }
  if (first === "help") return print(help.of(subcommandOf(rest[0]!)))
  if (first === "") throw new UsageError("an argument is empty")
  if (first.startsWith("-")) return general([first, ...rest])
  const subcommand = subcommandOf(first)
  // Whoever asks for help may not have got the rest right yet.
  if (has(rest, "help", "h")) return print(help.of(subcommand))
  if (has(rest, "version")) return print(version())
  return subcommand.run(rest, runtime)
}

/** The arguments, without Node and the script; the outcome is the exit code. */
export const main = async (args: ReadonlyArray<string>, runtime: Runtime): Promise<number> => {
  try {
    return await dispatch(args, runtime)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    const about = subcommands.some(({ name }) => name === args[0]) ? ` ${args[0]}` : ""
    const { message } = error
    writer.to(2).line(`tableflip: ${message}${message.endsWith("?") ? "" : "."} See tableflip${about} --help`)
    return UsageError.exitCode
  }
}
