/**
 * What a pool tells a process that it has started, on the control stream: one JSON object a line. A pool and its
 * processes are of one release, or of two that an upgrade brings together; a word that is not known is left alone.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

export type Word = Data.TaggedEnum<{
  /** A newer process has taken its place. */
  Replaced: { readonly pid: number; readonly generation: number }
  /** The pool stops, or becomes smaller. With `isLast`, no other process goes on accepting from its sockets. */
  Stopped: { readonly signal: NodeJS.Signals; readonly isLast?: boolean }
  /** Every older copy of it has ended, and every older generation of the pool. */
  OlderGone: {}
}>
export const Word = Data.taggedEnum<Word>()

/** Why a process should finish. */
export type Retirement = Exclude<Word, { readonly _tag: "OlderGone" }>

/** What a process that speaks this protocol says to its supervisor, as soon as it has read what was handed to it. */
export const greeting: Uint8Array = new TextEncoder().encode(`{"_tag":"Hello"}\n`)

export const encode = (word: Word): Uint8Array => new TextEncoder().encode(`${JSON.stringify(word)}\n`)

/** Longer lines are not ours. */
const maxLength = 4_096

const decodeLine = (line: string): Option.Option<Word> => {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    return Option.none()
  }
  if (typeof json !== "object" || json === null || !("_tag" in json)) return Option.none()
  const { _tag, generation, isLast, pid, signal } = json as {
    readonly _tag: unknown
    readonly generation?: unknown
    readonly isLast?: unknown
    readonly pid?: unknown
    readonly signal?: unknown
  }
  switch (_tag) {
    case "Replaced":
      return typeof pid === "number" && typeof generation === "number"
        ? Option.some(Word.Replaced({ pid, generation }))
        : Option.none()
    case "Stopped":
      return typeof signal === "string" && /^SIG[A-Z0-9]+$/.test(signal)
        ? Option.some(Word.Stopped({ signal: signal as NodeJS.Signals, isLast: isLast === true }))
        : Option.none()
    case "OlderGone":
      return Option.some(Word.OlderGone())
    default:
      return Option.none()
  }
}

/** One word, as `encode` made it. */
export const decode = (bytes: Uint8Array): Word => Option.getOrThrow(decodeLine(new TextDecoder().decode(bytes)))

/** What is read: a chunk at a time, and none at the end. */
interface Reader {
  readonly read: Effect.Effect<Option.Option<Uint8Array>>
}

/** Hands over every word until the stream ends. */
export const forEach = (reader: Reader, handle: (word: Word) => Effect.Effect<void>): Effect.Effect<void> => {
  const decoder = new TextDecoder()
  let rest = ""
  const next: Effect.Effect<void> = Effect.flatMap(
    reader.read,
    Option.match({
      onNone: () => Effect.void,
      onSome: (chunk) => {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
        rest = lines.pop() ?? ""
        if (rest.length > maxLength) rest = ""
        return Effect.zipRight(Effect.forEach(lines.flatMap((line) => Option.toArray(decodeLine(line))), handle), next)
      }
    })
  )
  return next
}
