/**
 * What a pool and a process that it has started tell each other on the control stream: one JSON object a line. A pool and
 * its processes are of one release, or of two that an upgrade brings together; what is not known is left alone.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

export type Word = Data.TaggedEnum<{
  /**
   * A newer process has taken its place. With `takes`, connections can go to it on the channel. What is `unclaimed` by its
   * name, nobody goes on accepting from.
   */
  Replaced: {
    readonly pid: number
    readonly generation: number
    readonly takes?: boolean
    readonly unclaimed?: ReadonlyArray<string>
  }
  /**
   * The pool stops, or becomes smaller. With `isLast`, no other process goes on accepting from its sockets, but for those
   * that are `kept`, by their names; with `takes`, connections can go to those that stay.
   */
  Stopped: {
    readonly signal: NodeJS.Signals
    readonly isLast?: boolean
    readonly kept?: ReadonlyArray<string>
    readonly takes?: boolean
  }
  /** Every older copy of it has ended, and every older generation of the pool. */
  OlderGone: {}
  /** What it waits for with that id is its turn now. */
  Locked: { readonly id: number }
}>
export const Word = Data.taggedEnum<Word>()

/** Why a process should finish. */
export type Retirement = Exclude<Word, { readonly _tag: "OlderGone" | "Locked" }>

/** Why a process asks to be replaced: because its program has said so, or because it has grown. */
export type RecycleReason = "Asked" | "Memory"

/** What a process of a pool tells the pool. */
export type Answer = Data.TaggedEnum<{
  /** Its event loop turns. One that a debugger may hold says so, and is not missed when it says nothing more. */
  Heartbeat: { readonly debugged: boolean }
  /** It asks for a new process in its place, and serves until that is ready. */
  Recycle: { readonly reason: RecycleReason }
  /** It waits until nobody else runs under that name. */
  Lock: { readonly id: number; readonly name: string }
  /** It does no longer wait or run. */
  Unlock: { readonly id: number }
}>
export const Answer = Data.taggedEnum<Answer>()

/** What a process that speaks this protocol says to its supervisor, as soon as it has read what was handed to it. */
export const greeting: Uint8Array = new TextEncoder().encode(`{"_tag":"Hello"}\n`)

export const encode = (word: { readonly _tag: string }): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(word)}\n`)

/** Longer lines are not ours. */
const maxLength = 64 * 1024

/** The fields of a line; none of one that is none of ours. */
export const parse = (line: string): Readonly<Record<string, unknown>> => {
  try {
    const json: unknown = JSON.parse(line)
    return typeof json === "object" && json !== null ? json as Record<string, unknown> : {}
  } catch {
    return {}
  }
}

export const decodeWord = (line: string): Option.Option<Word> => {
  const { _tag, generation, id, isLast, kept, pid, signal, takes, unclaimed } = parse(line)
  switch (_tag) {
    case "Replaced":
      return typeof pid === "number" && typeof generation === "number"
        ? Option.some(Word.Replaced({
          pid,
          generation,
          ...takes === true ? { takes } : {},
          ...Array.isArray(unclaimed) ? { unclaimed: unclaimed.map(String) } : {}
        }))
        : Option.none()
    case "Stopped":
      return typeof signal === "string" && /^SIG[A-Z0-9]+$/.test(signal)
        ? Option.some(Word.Stopped({
          signal: signal as NodeJS.Signals,
          isLast: isLast === true,
          ...Array.isArray(kept) ? { kept: kept.map(String) } : {},
          ...takes === true ? { takes } : {}
        }))
        : Option.none()
    case "OlderGone":
      return Option.some(Word.OlderGone())
    case "Locked":
      return typeof id === "number" ? Option.some(Word.Locked({ id })) : Option.none()
    default:
      return Option.none()
  }
}

const decodeAnswer = (line: string): Option.Option<Answer> => {
  const { _tag, debugged, id, name, reason } = parse(line)
  switch (_tag) {
    case "Heartbeat":
      return Option.some(Answer.Heartbeat({ debugged: debugged === true }))
    case "Recycle":
      return Option.some(Answer.Recycle({ reason: reason === "Memory" ? "Memory" : "Asked" }))
    case "Lock":
      return typeof id === "number" && typeof name === "string" ? Option.some(Answer.Lock({ id, name })) : Option.none()
    case "Unlock":
      return typeof id === "number" ? Option.some(Answer.Unlock({ id })) : Option.none()
    default:
      return Option.none()
  }
}

/** One word, as `encode` made it. */
export const decode = (bytes: Uint8Array): Word => Option.getOrThrow(decodeWord(new TextDecoder().decode(bytes)))

/** What is read: a chunk at a time, and none at the end. */
interface Reader {
  readonly read: Effect.Effect<Option.Option<Uint8Array>>
}

/** Hands over what each line says, until the stream ends. */
export const forEachOf = <A>(decodeLine: (line: string) => Option.Option<A>) =>
(
  reader: Reader,
  handle: (message: A) => Effect.Effect<void>
): Effect.Effect<void> => {
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

/** Hands over every word until the stream ends. */
export const forEach = forEachOf(decodeWord)

/** Hands over every answer until the stream ends. */
export const forEachAnswer = forEachOf(decodeAnswer)
