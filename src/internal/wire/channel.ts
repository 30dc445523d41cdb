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

/** What the newer process says. */
export type Answer = Data.TaggedEnum<{
  /** It takes connections, and is going to say where it serves. Without this word it is sent nothing. */
  Greeting: {}
  /** It serves there. */
  Serves: { readonly places: ReadonlyArray<Place> }
  /** From here on a connection is its own: it has read nothing of it before it says so. */
  Taken: { readonly id: number }
  /** It has let go of a connection, and has read nothing of it. */
  Refused: { readonly id: number }
}>
export const Answer = Data.taggedEnum<Answer>()

/** What comes along with a connection. */
export interface Passing {
  readonly _tag: "Passing"
  readonly id: number
  readonly place: Place
  /** Whether it has had a request before. */
  readonly isUsed: boolean
}

const fieldsOf = (words: unknown): Readonly<Record<string, unknown>> =>
  typeof words === "object" && words !== null ? words as Record<string, unknown> : {}

const isPlace = (value: unknown): value is Place =>
  Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === "string")

const isId = (value: unknown): value is number => Number.isSafeInteger(value)

export const decodeAnswer = (words: unknown): Option.Option<Answer> => {
  const { _tag, id, places } = fieldsOf(words)
  switch (_tag) {
    case "Greeting":
      return Option.some(Answer.Greeting())
    case "Serves":
      return Array.isArray(places) && places.every(isPlace) ? Option.some(Answer.Serves({ places })) : Option.none()
    case "Taken":
      return isId(id) ? Option.some(Answer.Taken({ id })) : Option.none()
    case "Refused":
      return isId(id) ? Option.some(Answer.Refused({ id })) : Option.none()
    default:
      return Option.none()
  }
}

export const decodePassing = (words: unknown): Option.Option<Passing> => {
  const { _tag, id, isUsed, place } = fieldsOf(words)
  return _tag === "Passing" && isId(id) && isPlace(place)
    ? Option.some({ _tag, id, place, isUsed: isUsed === true })
    : Option.none()
}
