/**
 * The flags of a subcommand: what each is called, what it takes, what help says of it, what it gives.
 *
 * @internal
 */
import { constants } from "node:os"
import * as listenSpec from "./listenSpec.ts"

/** What is wrong with the arguments, in the words that were typed. */
export class UsageError extends Error {
  static readonly exitCode = 2
}

/** As in "a, b or c". */
export const listed = (words: ReadonlyArray<string>, last: string): string =>
  words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`

/** A flag as it was typed, and its value. */
export interface Given {
  readonly as: string
  readonly text: string
}

export interface Flag<A = unknown> {
  readonly about: string
  /** What stands for its value in help; a switch has none. */
  readonly placeholder: string | undefined
  readonly short: string | undefined
  /** Further names, which help does not show. */
  readonly aliases: ReadonlyArray<string>
  readonly repeats: boolean
  readonly completes: Completes
  readonly read: (given: ReadonlyArray<Given>) => A
}

/** By name, without the dashes. */
export type Flags = Readonly<Record<string, Flag>>

export type Values<F extends Flags> = { readonly [Name in keyof F]: ReturnType<F[Name]["read"]> }

/** What a shell offers for a value. */
export type Completes = "file" | "directory" | ReadonlyArray<string>

/** Values of one kind; `parse` has no answer for text that is none. */
export interface Kind<A> {
  readonly placeholder: string
  readonly expected: string
  readonly completes?: Completes
  readonly parse: (text: string) => A | undefined
}

const valueOf = <A>({ expected, parse }: Kind<A>, { as, text }: Given): A => {
  const value = parse(text)
  if (value === undefined) throw new UsageError(`${as} is ${JSON.stringify(text)}; it must be ${expected}`)
  return value
}

interface Names {
  readonly short?: string
  readonly aliases?: ReadonlyArray<string>
}

const make = <A>(
  about: string,
  { aliases = [], short }: Names,
  rest: Pick<Flag<A>, "read"> & Partial<Flag>
): Flag<A> => ({
  placeholder: undefined,
  repeats: false,
  completes: [],
  ...rest,
  about,
  aliases,
  short
})

/** At most once. */
export const value = <A>(kind: Kind<A>, about: string, names: Names = {}): Flag<A | undefined> =>
  make(about, names, {
    placeholder: kind.placeholder,
    completes: kind.completes ?? [],
    read: ([given]) => given === undefined ? undefined : valueOf(kind, given)
  })

/** Any number of times. */
export const values = <A>(kind: Kind<A>, about: string, names: Names = {}): Flag<ReadonlyArray<A>> =>
  make(about, names, {
    placeholder: kind.placeholder,
    completes: kind.completes ?? [],
    repeats: true,
    read: (given) => given.map((each) => valueOf(kind, each))
  })

export const toggle = (about: string, names: Names = {}): Flag<boolean> =>
  make(about, names, { repeats: true, read: (given) => given.length > 0 })

/** How many times it is there. */
export const count = (about: string, names: Names = {}): Flag<number> =>
  make(about, names, { repeats: true, read: (given) => given.length })

const notEmpty = (text: string) => text === "" ? undefined : text

export const text = (placeholder: string, expected: string): Kind<string> => ({
  placeholder,
  expected,
  parse: notEmpty
})

export const file: Kind<string> = { ...text("PATH", "a path"), completes: "file" }

export const directory: Kind<string> = { ...text("DIRECTORY", "a path"), completes: "directory" }

const number = (text: string) => /^(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : undefined

/** Read as milliseconds. */
export const seconds: Kind<number> = {
  placeholder: "SECONDS",
  expected: "a number of seconds from 0",
  parse: (text) => {
    const seconds = number(text)
    return seconds !== undefined && Number.isFinite(seconds) ? seconds * 1_000 : undefined
  }
}

export const wholeNumber = (least: number): Kind<number> => ({
  placeholder: "N",
  expected: `a whole number from ${least}`,
  parse: (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    return Number.isSafeInteger(value) && value >= least ? value : undefined
  }
})

export const countOrAll: Kind<number | "all"> = {
  placeholder: "N|all",
  expected: "all or a whole number from 1",
  completes: ["all"],
  parse: (text) => text === "all" ? text : wholeNumber(1).parse(text)
}

export const oneOf = <const A extends string>(placeholder: string, choices: ReadonlyArray<A>): Kind<A> => ({
  placeholder,
  expected: listed(choices, "or"),
  completes: choices,
  parse: (text) => choices.find((choice) => choice === text)
})

export const mode: Kind<number> = {
  placeholder: "OCTAL",
  expected: "permissions in octal, such as 660",
  parse: (text) => /^[0-7]{3,4}$/.test(text) ? Number.parseInt(text, 8) : undefined
}

const signals = Object.entries(constants.signals) as ReadonlyArray<[NodeJS.Signals, number]>

/** By name, with or without SIG, or by number. */
export const signal: Kind<NodeJS.Signals> = {
  placeholder: "SIGNAL",
  expected: "a signal, such as TERM or QUIT",
  completes: signals.map(([name]) => name.slice("SIG".length)),
  parse: (text) =>
    signals.find(([name, number]) => name === `SIG${text.toUpperCase().replace(/^SIG/, "")}` || text === String(number))
      ?.[0]
}

export const restarts: Kind<{ readonly count: number; readonly within: number }> = {
  placeholder: "N/SECONDS",
  expected: "a number of restarts and of seconds, such as 5/60",
  parse: (text) => {
    const [count, within, ...rest] = text.split("/")
    const parsed = {
      count: wholeNumber(1).parse(count ?? ""),
      within: seconds.parse(within ?? "")
    }
    return parsed.count === undefined || !parsed.within || rest.length > 0
      ? undefined
      : { count: parsed.count, within: parsed.within }
  }
}

export const httpUrl: Kind<URL> = {
  placeholder: "URL",
  expected: "a URL, such as http://127.0.0.1:8080/health",
  parse: (text) => URL.canParse(text) && /^https?:/i.test(text) ? new URL(text) : undefined
}

export const hostPort: Kind<{ readonly host: string; readonly port: number }> = {
  placeholder: "HOST:PORT",
  expected: "a host and a port, such as 127.0.0.1:8080",
  parse: (text) => {
    const target = listenSpec.parseHostPort(text)
    return target?.host === "" ? undefined : target
  }
}

export const address = {
  placeholder: "ADDRESS",
  expected: "like 8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/app.sock, with a name in front where it is wanted: " +
    "web=8080",
  parse: listenSpec.parse
} satisfies Kind<unknown>
