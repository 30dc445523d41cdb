/**
 * The wire between a process and its successor: pure functions from and to bytes and environment variables.
 * What is read here comes from outside and is believed only after every shape has been checked. The checks are
 * written out because a schema library would add its import time to every upgrade.
 *
 * @internal
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { FdName } from "../../Address.ts"
import { ProtocolError } from "../../TableflipError.ts"

/** The whole message of the ready stream. */
export const readyByte = 42

/** Longer messages are refused before they are read. 100,000 listeners with long names stay below it. */
export const maxNamesLength = 16 * 1024 * 1024

/** The keys of 100,000 TLS listeners stay below it. */
export const maxStateLength = 16 * 1024 * 1024

/** What the environment tells a process that was started by an upgrade: descriptor numbers as they are in it. */
export interface HandOff {
  readonly ready: number
  readonly names: number
  readonly descriptors: ReadonlyArray<number>
  readonly generation: number
  /** Streams that end when an older generation than the parent exits. */
  readonly lifelines: ReadonlyArray<number>
  /** The stream of what the parent knows and the child should know too, if there is anything. */
  readonly state: Option.Option<number>
  /** The stream on which a pool tells its worker things. Only a worker has one. */
  readonly control: Option.Option<number>
  /** The stream between a supervisor and a command that it has started. It may or may not speak the wire: who does, says so here. */
  readonly supervisor: Option.Option<number>
  /** The stream on which connections can come later. A program that passes variables on may have passed this one on too. */
  readonly channel: Option.Option<number>
}

const hasParentVariable = "TABLEFLIP_HAS_PARENT_7DIU3"
const fdsVariable = "TABLEFLIP_FDS"
const generationVariable = "TABLEFLIP_GENERATION"
const lifelinesVariable = "TABLEFLIP_LIFELINES"
const stateVariable = "TABLEFLIP_STATE"
const controlVariable = "TABLEFLIP_CONTROL"
const supervisorVariable = "TABLEFLIP_SUPERVISOR"
const channelVariable = "TABLEFLIP_CHANNEL"
/** Of a process of a pool: which process has started it, so that one that is left over can be told from others. */
export const primaryVariable = "TABLEFLIP_PRIMARY"
/** To which hand-off the extensions belong. */
const extensionsOfVariable = "TABLEFLIP_EXTENSIONS_OF"

/** Every variable that this library gives to a child. */
export const variables = [
  hasParentVariable,
  fdsVariable,
  generationVariable,
  lifelinesVariable,
  stateVariable,
  controlVariable,
  supervisorVariable,
  channelVariable,
  primaryVariable,
  extensionsOfVariable
]

const extensionsOf = (generation = "", fds = ""): string => `${generation}:${fds}`

export const encodeHandOff = (handOff: HandOff): Record<string, string | undefined> => {
  const fds = [handOff.ready, handOff.names, ...handOff.descriptors].join(",")
  const generation = String(handOff.generation)
  return {
    [hasParentVariable]: "yes",
    [fdsVariable]: fds,
    [generationVariable]: generation,
    [extensionsOfVariable]: extensionsOf(generation, fds),
    [lifelinesVariable]: handOff.lifelines.length > 0 ? handOff.lifelines.join(",") : undefined,
    [stateVariable]: Option.getOrUndefined(Option.map(handOff.state, String)),
    [controlVariable]: Option.getOrUndefined(Option.map(handOff.control, String)),
    [supervisorVariable]: Option.getOrUndefined(Option.map(handOff.supervisor, String)),
    [channelVariable]: Option.getOrUndefined(Option.map(handOff.channel, String))
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** Whether the extensions are those of this hand-off. */
const isOfThis = (environment: Environment, fds: string | undefined): boolean =>
  environment[extensionsOfVariable] === extensionsOf(environment[generationVariable], fds)

/**
 * A parent that knows nothing of extensions passes on those that it has got itself: they name descriptors that are something
 * else by now. It does not count the generation either, by which it shows.
 */
const withoutStale = (environment: Environment, fds: string): Environment => {
  const generation = environment[generationVariable]
  const of = environment[extensionsOfVariable]
  const isStale = of !== undefined && of !== extensionsOf(generation, fds) &&
    of.startsWith(extensionsOf(generation))
  return isStale ? { [generationVariable]: String(Number(generation) + 1) } : environment
}

/**
 * The descriptor behind that of the state, for a process that starts afresh because it has not been told which one it is: a
 * successor always has that stream, of a release that says to which hand-off the extensions belong.
 */
export const untoldExchange = (
  environment: Environment,
  { control, state, supervisor }: HandOff
): Option.Option<number> =>
  isOfThis(environment, environment[fdsVariable]) && Option.isNone(control) && Option.isNone(supervisor)
    ? Option.map(state, (descriptor) => descriptor + 1)
    : Option.none()

export const decodeHandOff = (
  environment: Environment
): Either.Either<Option.Option<HandOff>, ProtocolError> =>
  Either.gen(function*() {
    const hasParent = environment[hasParentVariable]
    const fds = environment[fdsVariable]
    if (hasParent === undefined) {
      if (fds === undefined) return Option.none()
      return yield* invalid(fdsVariable, `is set, but ${hasParentVariable} is not; only an upgrade may set them`)
    }
    if (hasParent !== "yes") {
      return yield* invalid(hasParentVariable, `is ${quote(hasParent)}; only an upgrade may set it, to "yes"`)
    }
    if (fds === undefined) {
      return yield* invalid(fdsVariable, `is not set, but ${hasParentVariable} is; only an upgrade may set them`)
    }
    const numbers = yield* decodeNumbers(fdsVariable, fds)
    const [ready, names, ...descriptors] = numbers
    if (ready === undefined || names === undefined) {
      return yield* invalid(fdsVariable, `is ${quote(fds)}; it must name two descriptors or more`)
    }
    const extensions = withoutStale(environment, fds)
    const lifelines = yield* decodeOptional(lifelinesVariable, extensions)
    const state = yield* decodeSingle(stateVariable, extensions)
    const control = yield* decodeSingle(controlVariable, extensions)
    const supervisor = yield* decodeSingle(supervisorVariable, extensions)
    // An older release does not remove it, and its child finds the number of what is something else by now.
    const channel = isOfThis(environment, fds)
      ? Option.flatten(Either.getRight(decodeSingle(channelVariable, extensions)))
      : Option.none()
    const all = [...numbers, ...lifelines, ...[state, control, supervisor].flatMap(Option.toArray)]
    if (new Set(all).size !== all.length) {
      return yield* invalid(fdsVariable, `is ${quote(fds)}; it names a descriptor twice`)
    }
    const generation = yield* decodeGeneration(extensions[generationVariable])
    return Option.some({ ready, names, descriptors, generation, lifelines, state, control, supervisor, channel })
  })

// A parent in another language does not count generations: its child is at least the second.
const decodeGeneration = (text: string | undefined): Either.Either<number, ProtocolError> =>
  text === undefined
    ? Either.right(2)
    : /^[1-9]\d{0,14}$/.test(text)
    ? Either.right(Number(text))
    : invalid(generationVariable, `is ${quote(text)}; it must be a positive whole number`)

const decodeOptional = (variable: string, environment: Environment) => {
  const text = environment[variable]
  return text === undefined ? Either.right([]) : decodeNumbers(variable, text)
}

const decodeSingle = (variable: string, environment: Environment) =>
  Either.flatMap(
    decodeOptional(variable, environment),
    (numbers) =>
      numbers.length > 1 ? invalid(variable, "must name one descriptor") : Either.right(Option.fromNullable(numbers[0]))
  )

const decodeNumbers = (variable: string, text: string): Either.Either<Array<number>, ProtocolError> =>
  Either.all(
    text.split(",").map((part) =>
      /^\d{1,9}$/.test(part) && Number(part) > 2
        ? Either.right(Number(part))
        : invalid(variable, `is ${quote(text)}; it must be a list of descriptor numbers above 2`)
    )
  )

const invalid = (source: string, detail: string) => Either.left(new ProtocolError({ source, detail }))

const quote = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

export const encodeNames = (names: ReadonlyArray<FdName>): Uint8Array => {
  const json = new TextEncoder().encode(JSON.stringify(names.map((name) => [name.kind, name.network, name.address])))
  const message = new Uint8Array(4 + json.length)
  new DataView(message.buffer).setUint32(0, json.length)
  message.set(json, 4)
  return message
}

/** The names, and whatever was sent behind them, which is nothing if the sender keeps to the protocol. */
export interface DecodedNames {
  readonly names: ReadonlyArray<FdName>
  readonly rest: Uint8Array
}

const namesStream = "the stream of names"

/** Bytes from the start of the names stream that are still missing before `decodeNames` can say more. */
export const missingNames = (received: Uint8Array): Either.Either<number, ProtocolError> => {
  if (received.length < 4) return Either.right(4 - received.length)
  const length = new DataView(received.buffer, received.byteOffset).getUint32(0)
  return length > maxNamesLength
    ? invalid(namesStream, `announces ${length} bytes; at most ${maxNamesLength} are taken`)
    : Either.right(Math.max(0, 4 + length - received.length))
}

/** Decodes the message that `received` starts with. It must be complete. */
export const decodeNames = (received: Uint8Array): Either.Either<DecodedNames, ProtocolError> =>
  Either.gen(function*() {
    const missing = yield* missingNames(received)
    if (missing > 0) return yield* invalid(namesStream, `ends ${missing} byte(s) too early`)
    const end = 4 + new DataView(received.buffer, received.byteOffset).getUint32(0)
    const json = yield* parseJson(received.subarray(4, end))
    if (!Array.isArray(json)) return yield* invalid(namesStream, "is not a list")
    const names = yield* Either.all(json.map(decodeName))
    const keys = names.map((name) => JSON.stringify([name.kind, name.network, name.address]))
    if (new Set(keys).size !== keys.length) return yield* invalid(namesStream, "names a descriptor twice")
    return { names, rest: received.subarray(end) }
  })

const parseJson = (bytes: Uint8Array): Either.Either<unknown, ProtocolError> =>
  Either.try({
    try: () => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown,
    catch: (cause) => new ProtocolError({ source: namesStream, detail: "is not JSON", cause })
  })

// An unknown kind is kept: a newer release may send one, and going back to this one must stay possible.
const decodeName = (value: unknown): Either.Either<FdName, ProtocolError> => {
  if (!Array.isArray(value) || value.length !== 3) {
    return invalid(namesStream, "holds a name that is not [kind, network, address]")
  }
  const [kind, network, address]: Array<unknown> = value
  return typeof kind === "string" && typeof network === "string" && typeof address === "string"
    ? Either.right({ kind, network, address })
    : invalid(namesStream, "holds a name that is not made of three strings")
}

/** State by name. It is not for the environment, which others can read (proc(5)), nor for the names, which old peers read. */
export type State = ReadonlyMap<string, Uint8Array>

export const encodeState = (state: State): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify(Array.from(state, ([name, bytes]) => [name, Buffer.from(bytes).toString("base64")]))
  )

/** None for anything but a whole message: a parent that was killed while it sent. */
export const decodeState = (bytes: Uint8Array): Option.Option<State> =>
  Option.flatMap(Either.getRight(parseJson(bytes)), (json) => {
    if (!Array.isArray(json)) return Option.none()
    const state = new Map<string, Uint8Array>()
    for (const item of json) {
      if (!Array.isArray(item)) return Option.none()
      const [name, value]: Array<unknown> = item
      if (typeof name !== "string" || typeof value !== "string") return Option.none()
      state.set(name, Buffer.from(value, "base64"))
    }
    return Option.some(state)
  })

/** Reads the first chunk of the ready stream; none is its end. */
export const decodeReady = (chunk: Option.Option<Uint8Array>): Either.Either<void, ProtocolError> =>
  Option.match(chunk, {
    onNone: () => invalid("the ready stream", "ended without a word; the new process closed it before it was ready"),
    onSome: (bytes) =>
      bytes.length === 1 && bytes[0] === readyByte
        ? Either.void
        : invalid("the ready stream", `carried ${bytes.length} byte(s) that are not the ready signal`)
  })
