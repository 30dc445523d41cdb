/**
 * What a process and its successor tell each other on the channel on which connections go. An older release may be at its
 * other end, or an app that sends words of its own: what is not known is left alone.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"

/** Where connections are made to, as the names of descriptors say it. */
export type Place = readonly [network: string, address: string]

/** Connections of a protocol of the app's own which a server takes: those that are given under this key. */
export type Taking = readonly [network: string, address: string, key: string]

/** What the newer process says. */
export type Answer = Data.TaggedEnum<{
  /** It takes connections, and is going to say where it serves. Without this word it is sent nothing. */
  Greeting: {}
  /** It serves there. */
  Serves: { readonly places: ReadonlyArray<Place>; readonly takes: ReadonlyArray<Taking> }
  /**
   * From here on a connection is its own: it has read nothing of it before it says so. One with a key it holds, and leaves
   * alone, until it is told more.
   */
  Taken: { readonly id: number }
  /** It has let go of a connection, and has read nothing of it. */
  Refused: { readonly id: number }
  /** Whoever relays cannot know what has become of a connection: one who has it reads it, unless it has a key. */
  Lost: { readonly id: number }
}>
export const Answer = Data.taggedEnum<Answer>()

/** What comes along with a connection. */
export interface Passing {
  readonly _tag: "Passing"
  readonly id: number
  readonly place: Place
  /** Whether it has had a request before. */
  readonly isUsed: boolean
  /** It is given by the app, under this key, and the older process may still write to it. */
  readonly key?: string | undefined
}

/** The request that has opened a WebSocket. */
export interface Opening {
  readonly method: string
  readonly url: string
  /** Names and values in turn, as they came. */
  readonly headers: ReadonlyArray<string>
  /** The protocol that was agreed on; none is empty. */
  readonly protocol: string
}

/** The older process has let go of a connection with a key, and leaves this state. */
export interface Left {
  readonly _tag: "Left"
  readonly id: number
  readonly state: Uint8Array
  readonly opening?: Opening | undefined
}

/** A connection with a key stays with the older process. */
export interface Kept {
  readonly _tag: "Kept"
  readonly id: number
}

/** The older process sends no more connections; what becomes of those that it has sent is still to be said. */
export interface Done {
  readonly _tag: "Done"
}

/** What the older process says. */
export type Word = Passing | Left | Kept | Done

const fieldsOf = (words: unknown): Readonly<Record<string, unknown>> =>
  typeof words === "object" && words !== null ? words as Record<string, unknown> : {}

const isPlace = (value: unknown): value is Place =>
  Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === "string")

const isTaking = (value: unknown): value is Taking =>
  Array.isArray(value) && value.length === 3 && value.every((part) => typeof part === "string")

const isId = (value: unknown): value is number => Number.isSafeInteger(value)

export const decodeAnswer = (words: unknown): Option.Option<Answer> => {
  // An older release says nothing of what it takes.
  const { _tag, id, places, takes = [] } = fieldsOf(words)
  switch (_tag) {
    case "Greeting":
      return Option.some(Answer.Greeting())
    case "Serves":
      return Array.isArray(places) && places.every(isPlace) && Array.isArray(takes) && takes.every(isTaking)
        ? Option.some(Answer.Serves({ places, takes }))
        : Option.none()
    case "Taken":
      return isId(id) ? Option.some(Answer.Taken({ id })) : Option.none()
    case "Refused":
      return isId(id) ? Option.some(Answer.Refused({ id })) : Option.none()
    case "Lost":
      return isId(id) ? Option.some(Answer.Lost({ id })) : Option.none()
    default:
      return Option.none()
  }
}

const isOpening = (value: unknown): value is Opening => {
  const { headers, method, protocol, url } = fieldsOf(value)
  return Array.isArray(headers) && [...headers, method, protocol, url].every((part) => typeof part === "string")
}

const isBase64 = (value: unknown): value is string => typeof value === "string" && /^[A-Za-z0-9+/]*=*$/.test(value)

/** Words of the processes that two primaries have started, or for them. */
export const encodeRelayed = (words: object): object => ({ _tag: "Relayed", words })

export const decodeRelayed = (words: unknown): Option.Option<unknown> => {
  const { _tag, words: inner } = fieldsOf(words)
  return _tag === "Relayed" ? Option.some(inner) : Option.none()
}

/** As JSON. */
export const encodeWord = (word: Word): object =>
  word._tag === "Left" ? { ...word, state: Buffer.from(word.state).toString("base64") } : word

export const decodeWord = (words: unknown): Option.Option<Word> => {
  const { _tag, id, isUsed, key, opening, place, state } = fieldsOf(words)
  if (_tag === "Done") return Option.some({ _tag })
  if (!isId(id)) return Option.none()
  switch (_tag) {
    case "Passing":
      return isPlace(place) && (key === undefined || typeof key === "string")
        ? Option.some({ _tag, id, place, isUsed: isUsed === true, ...key === undefined ? {} : { key } })
        : Option.none()
    case "Left":
      return isBase64(state) && (opening === undefined || isOpening(opening))
        ? Option.some({
          _tag,
          id,
          state: Buffer.from(state, "base64"),
          ...opening === undefined ? {} : { opening }
        })
        : Option.none()
    case "Kept":
      return Option.some({ _tag, id })
    default:
      return Option.none()
  }
}
