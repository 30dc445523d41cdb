/**
 * Files of variables, by the rules of systemd's `EnvironmentFile=`: a value is what stands behind the first equals sign,
 * also where it has a `#` in it; quotes hold it together, over several lines too; a backslash takes the next character as
 * it is, or joins the next line to this one.
 *
 * @internal
 */
import * as Either from "effect/Either"

export interface Misunderstood {
  readonly line: number
  readonly detail: string
}

class Reader {
  #at = 0
  readonly text: string
  line = 1

  constructor(text: string) {
    this.text = text
  }

  get next(): string | undefined {
    return this.text[this.#at]
  }

  take(): string | undefined {
    const character = this.text[this.#at++]
    if (character === "\n") this.line += 1
    return character
  }

  /** What is left of the line, which ends with it. */
  takeLine(): string {
    const end = this.text.indexOf("\n", this.#at)
    const rest = this.text.slice(this.#at, end < 0 ? undefined : end)
    this.#at += rest.length
    this.take()
    return rest
  }
}

const fail = (line: number, detail: string) => Either.left<Misunderstood>({ line, detail })

const isBlank = (character: string | undefined) => character === " " || character === "\t" || character === "\r"

/** What a backslash keeps from its meaning in double quotes; it stands for itself in front of anything else. */
const escapable = new Set(["\"", "\\", "`", "$"])

/** The value, up to the end of its line. What is blank around it, and not quoted, is no part of it. */
const readValue = (reader: Reader): Either.Either<string, Misunderstood> => {
  let value = ""
  /** Up to where blanks at the end belong to it. */
  let kept = 0
  while (isBlank(reader.next)) reader.take()
  for (;;) {
    const quote = reader.next
    const { line } = reader
    const character = reader.take()
    if (character === undefined || character === "\n") {
      return Either.right(value.slice(0, kept) + value.slice(kept).trimEnd())
    }
    if (quote === "'" || quote === "\"") {
      for (;;) {
        const quoted = reader.take()
        if (quoted === undefined) return fail(line, `has a quote (${quote}) that is not closed`)
        if (quoted === quote) break
        if (quoted !== "\\" || quote === "'") {
          value += quoted
          continue
        }
        const escaped = reader.take() ?? ""
        if (escaped !== "\n") value += escapable.has(escaped) ? escaped : `\\${escaped}`
      }
      kept = value.length
    } else if (character === "\\") {
      const escaped = reader.take() ?? ""
      if (escaped !== "\n") value += escaped
      kept = value.length
    } else {
      value += character
    }
  }
}

export const parse = (content: string): Either.Either<Readonly<Record<string, string>>, Misunderstood> => {
  const reader = new Reader(content.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n"))
  const odd = /[\uFFFD\0]/.exec(reader.text)
  if (odd !== null) return fail(reader.text.slice(0, odd.index).split("\n").length, "is not text in UTF-8")
  const variables: Record<string, string> = {}
  while (reader.next !== undefined) {
    if (isBlank(reader.next) || reader.next === "\n") {
      reader.take()
      continue
    }
    const { line } = reader
    if (reader.next === "#" || reader.next === ";") {
      reader.takeLine()
      continue
    }
    let name = ""
    while (reader.next !== undefined && reader.next !== "=" && reader.next !== "\n") name += reader.take()
    if (reader.next !== "=") return fail(line, `is ${JSON.stringify(name.trim())}, without a = and a value`)
    reader.take()
    const bare = name.trim().replace(/^export\s+/, "")
    if (!/^[^\s=]+$/.test(bare)) return fail(line, `has the name ${JSON.stringify(name)}, which no variable can have`)
    const value = readValue(reader)
    if (Either.isLeft(value)) return Either.left(value.left)
    variables[bare] = value.right
  }
  return Either.right(variables)
}
