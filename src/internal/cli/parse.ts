/**
 * Arguments by a table of flags. Node's own parser splits them; what is known and what is allowed is decided here, so that
 * an error names the flag as it was typed.
 *
 * @internal
 */
import { parseArgs } from "node:util"
import type { Flag, Flags, Given, Values } from "./flag.ts"
import { UsageError } from "./flag.ts"
import { didYouMean } from "./suggest.ts"

export interface Parsed<F extends Flags> {
  readonly values: Values<F>
  /** What is no flag, up to `--`. */
  readonly operands: ReadonlyArray<string>
  /** What follows `--`, if that is there. */
  readonly command: ReadonlyArray<string> | undefined
  /** A flag by its name, as it was typed if it was. */
  readonly typed: (name: keyof F & string) => string
}

const dashed = (name: string) => name.length === 1 ? `-${name}` : `--${name}`

/** Every spelling, without dashes. */
const spellings = (flags: Flags): ReadonlyMap<string, string> =>
  new Map(
    Object.entries(flags).flatMap(([name, { aliases, short }]) =>
      [name, ...aliases, ...short === undefined ? [] : [short]].map((spelling) => [spelling, name] as const)
    )
  )

export const typeable = (flags: Flags): ReadonlyArray<string> => [...spellings(flags).keys()].map(dashed)

/** A number may be negative, and is for the flag to judge. */
const isFlagLike = (text: string) => /^-(?![\d.])/.test(text)

const given = (
  flag: Flag,
  as: string,
  token: { readonly value: string | undefined; readonly inlineValue?: boolean | undefined }
): Given => {
  if (flag.placeholder === undefined) {
    if (token.value !== undefined) throw new UsageError(`${as} takes no value`)
    return { as, text: "" }
  }
  if (token.value === undefined || (token.inlineValue !== true && isFlagLike(token.value))) {
    throw new UsageError(`${as} lacks its value, ${flag.placeholder}`)
  }
  return { as, text: token.value }
}

export const parse = <F extends Flags>(args: ReadonlyArray<string>, flags: F): Parsed<F> => {
  const names = spellings(flags)
  const separator = args.indexOf("--")
  const own = separator < 0 ? args : args.slice(0, separator)
  const { tokens } = parseArgs({
    args: [...own],
    options: Object.fromEntries(Array.from(names, ([spelling, name]) => [
      spelling,
      {
        type: flags[name]!.placeholder === undefined ? "boolean" as const : "string" as const,
        ...spelling.length === 1 ? { short: spelling } : {}
      }
    ])),
    strict: false,
    tokens: true
  })
  const found = new Map<string, Array<Given>>()
  const operands: Array<string> = []
  for (const token of tokens) {
    if (token.kind === "positional") {
      if (token.value === "") throw new UsageError("an argument is empty")
      operands.push(token.value)
    } else if (token.kind === "option") {
      const name = names.get(token.name)
      if (name === undefined) {
        const typed = own[token.index]!.split("=")[0]!
        throw new UsageError(`there is no option ${typed}${didYouMean(typed, typeable(flags))}`)
      }
      const flag = flags[name]!
      const all = found.get(name) ?? []
      if (all.length > 0 && !flag.repeats) throw new UsageError(`${token.rawName} is given more than once`)
      found.set(name, [...all, given(flag, token.rawName, token)])
    }
  }
  return {
    values: Object.fromEntries(
      Object.entries(flags).map(([name, { read }]) => [name, read(found.get(name) ?? [])])
    ) as Values<F>,
    operands,
    command: separator < 0 ? undefined : args.slice(separator + 1),
    typed: (name) => found.get(name)?.at(-1)?.as ?? dashed(name)
  }
}
