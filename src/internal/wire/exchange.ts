/**
 * What a process and its successor say to each other about state that goes along: the successor asks, the older process
 * answers, and says the last of it when it has drained. Each message is a header in JSON and the bytes that follow it.
 * Both may be of different releases: what is not known is left alone.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** One value has at most that many bytes. */
export const maxLength = 16 * 1024 * 1024

/** Under which name the state of a hand-off says which descriptor is the child's end of this stream. */
export const stateName = "exchange"

export const encodeDescriptor = (descriptor: number): Uint8Array => new TextEncoder().encode(String(descriptor))

export const decodeDescriptor = (bytes: Uint8Array): Option.Option<number> => {
  const text = new TextDecoder().decode(bytes)
  return /^\d{1,9}$/.test(text) ? Option.some(Number(text)) : Option.none()
}

/** Why a value could not be given. */
export interface Reason {
  readonly reason: string
  readonly detail: string
}

/** From the new process to the older one. */
export type Question = Data.TaggedEnum<{
  /** It reads what it is sent; one that has not said so is sent nothing. */
  Hello: {}
  Ask: { readonly id: number; readonly key: string }
  /** It waits for what this process runs alone under that name. */
  Lock: { readonly name: string }
  /** All that was sent last has arrived. */
  Arrived: {}
  /** It is about to be ready, and does not accept at these, which it has inherited. */
  Unclaimed: { readonly names: ReadonlyArray<string> }
}>
export const Question = Data.taggedEnum<Question>()

/** From the older process to the new one. */
export type Answer = Data.TaggedEnum<{
  Given: { readonly id: number; readonly bytes: Uint8Array }
  Nothing: { readonly id: number }
  Failed: { readonly id: number } & Reason
  Last: { readonly key: string; readonly bytes: Uint8Array }
  LastFailed: { readonly key: string } & Reason
  /** Nothing of this process runs under that name any more. */
  Unlocked: { readonly name: string }
  /** Nothing more is sent. */
  End: {}
}>
export const Answer = Data.taggedEnum<Answer>()

const nothing = new Uint8Array(0)

const frame = (header: object, body: Uint8Array): Uint8Array => {
  const json = new TextEncoder().encode(JSON.stringify({ ...header, length: body.length }))
  const bytes = new Uint8Array(4 + json.length + body.length)
  new DataView(bytes.buffer).setUint32(0, json.length)
  bytes.set(json, 4)
  bytes.set(body, 4 + json.length)
  return bytes
}

export const encodeQuestion = (question: Question): Uint8Array => frame(question, nothing)

export const encodeAnswer = (answer: Answer): Uint8Array => {
  if (answer._tag !== "Given" && answer._tag !== "Last") return frame(answer, nothing)
  const { bytes, ...header } = answer
  return frame(header, bytes)
}

type Header = Readonly<Record<string, unknown>>

const decodeQuestion = ({ _tag, id, key, name, names }: Header): Option.Option<Question> => {
  switch (_tag) {
    case "Hello":
      return Option.some(Question.Hello())
    case "Ask":
      return typeof id === "number" && typeof key === "string" ? Option.some(Question.Ask({ id, key })) : Option.none()
    case "Lock":
      return typeof name === "string" ? Option.some(Question.Lock({ name })) : Option.none()
    case "Arrived":
      return Option.some(Question.Arrived())
    case "Unclaimed":
      return Array.isArray(names) ? Option.some(Question.Unclaimed({ names: names.map(String) })) : Option.none()
    default:
      return Option.none()
  }
}

const decodeAnswer = ({ _tag, detail, id, key, name, reason }: Header, bytes: Uint8Array): Option.Option<Answer> => {
  const why = { reason: String(reason), detail: String(detail) }
  if (_tag === "End") return Option.some(Answer.End())
  if (_tag === "Unlocked" && typeof name === "string") return Option.some(Answer.Unlocked({ name }))
  if (typeof id === "number") {
    if (_tag === "Given") return Option.some(Answer.Given({ id, bytes }))
    if (_tag === "Nothing") return Option.some(Answer.Nothing({ id }))
    if (_tag === "Failed") return Option.some(Answer.Failed({ id, ...why }))
  }
  if (typeof key === "string") {
    if (_tag === "Last") return Option.some(Answer.Last({ key, bytes }))
    if (_tag === "LastFailed") return Option.some(Answer.LastFailed({ key, ...why }))
  }
  return Option.none()
}

/** Longer headers are not ours. */
const maxHeaderLength = 64 * 1024

const parse = (json: Uint8Array): (Header & { readonly length: number }) | undefined => {
  try {
    const header: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json))
    if (typeof header !== "object" || header === null) return undefined
    const length: unknown = Reflect.get(header, "length")
    return typeof length === "number" && Number.isSafeInteger(length) && length >= 0 && length <= maxLength
      ? { ...header, length }
      : undefined
  } catch {
    return undefined
  }
}

/** What is read: a chunk at a time, and none at the end. */
interface Reader {
  readonly read: Effect.Effect<Option.Option<Uint8Array>>
}

interface Progress {
  readonly message: readonly [header: Header, body: Uint8Array] | undefined
  /** How many bytes there must be before there is more to say. */
  readonly needed: number
}

/** Looks at the start of what has come; undefined if that is no message. */
const look = (received: Uint8Array): Progress | undefined => {
  if (received.length < 4) return { message: undefined, needed: 4 }
  const headerLength = new DataView(received.buffer, received.byteOffset).getUint32(0)
  if (headerLength > maxHeaderLength) return undefined
  const start = 4 + headerLength
  if (received.length < start) return { message: undefined, needed: start }
  const header = parse(received.subarray(4, start))
  if (header === undefined) return undefined
  const end = start + header.length
  return received.length < end
    ? { message: undefined, needed: end }
    : { message: [header, received.slice(start, end)], needed: end }
}

/** Hands over every message until the stream ends, or says what is none. */
const forEachOf =
  <A>(decode: (header: Header, body: Uint8Array) => Option.Option<A>) =>
  (reader: Reader, handle: (message: A) => Effect.Effect<void>): Effect.Effect<void> => {
    const step = (chunks: ReadonlyArray<Uint8Array>, length: number, needed: number): Effect.Effect<void> => {
      if (length < needed) {
        return Effect.flatMap(reader.read, (chunk) =>
          Option.isNone(chunk)
            ? Effect.void
            : step([...chunks, chunk.value], length + chunk.value.length, needed))
      }
      const received = Buffer.concat(chunks)
      const progress = look(received)
      if (progress === undefined) return Effect.void
      if (progress.message === undefined) return step([received], received.length, progress.needed)
      const rest = received.subarray(progress.needed)
      return Effect.zipRight(
        Effect.forEach(Option.toArray(decode(...progress.message)), handle, { discard: true }),
        Effect.suspend(() => step([rest], rest.length, 4))
      )
    }
    return Effect.suspend(() => step([], 0, 4))
  }

export const forEachQuestion = forEachOf(decodeQuestion)

export const forEachAnswer = forEachOf(decodeAnswer)
