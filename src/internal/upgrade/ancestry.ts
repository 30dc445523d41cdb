/**
 * The child's side of a hand-off: what an older process has left in the environment and on the stream of names, and how
 * this one learns that it has gone.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { FdName } from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import { ProtocolError } from "../../TableflipError.ts"
import { logWarning } from "../logging.ts"
import { fromResult } from "../seam.ts"
import type { Channel } from "../system/channel.ts"
import type { System } from "../system/env.ts"
import type { ByteReader } from "../system/stream.ts"
import { greeting } from "../wire/control.ts"
import * as exchange from "../wire/exchange.ts"
import * as protocol from "../wire/handOff.ts"
import * as listenFds from "../wire/listenFds.ts"
import * as activation from "./activation.ts"

/** The older generations, as this process sees them. */
export interface Ancestry {
  readonly hasParent: boolean
  /** 1 for a process that was started plainly. */
  readonly generation: number
  readonly inherited: ReadonlyArray<NamedDescriptor>
  /** What the parent knew and this process should know too. */
  readonly state: protocol.State
  /** Tells the parent that this process is ready; false if nobody took it. */
  readonly notifyReady: Effect.Effect<boolean>
  /** The streams that end with the older generations, the parent's first. */
  readonly lifelines: ReadonlyArray<ByteReader>
  /** Fails if the parent says anything more; completes with the end of its stream. */
  readonly parentSilence: Effect.Effect<void, ProtocolError>
  /** What the pool that this process is a worker of tells it. */
  readonly control: Option.Option<ByteReader>
  /** What the supervisor that this process is the command of tells it. */
  readonly supervisor: Option.Option<ByteReader>
  /** What the parent answers when it is asked for state that goes along. */
  readonly exchange: Option.Option<ByteReader>
  /** On which the parent's connections can come. */
  readonly channel: Option.Option<Channel>
}

export const none: Ancestry = {
  hasParent: false,
  generation: 1,
  inherited: [],
  state: new Map(),
  notifyReady: Effect.succeed(false),
  lifelines: [],
  parentSilence: Effect.void,
  control: Option.none(),
  supervisor: Option.none(),
  exchange: Option.none(),
  channel: Option.none()
}

/** A parent writes the names in the moment in which it starts the child. */
const namesTimeout = Duration.seconds(10)

/**
 * Reads the names. None if the parent has gone before it had written them all: there is no one left to inherit from,
 * and the child does what a first process does.
 */
const receiveNames = (reader: ByteReader): Effect.Effect<Option.Option<protocol.DecodedNames>, ProtocolError> => {
  const collect = (received: Uint8Array): Effect.Effect<Option.Option<Uint8Array>, ProtocolError> =>
    Effect.flatMap(fromResult(protocol.missingNames(received)), (missing) =>
      missing === 0
        ? Effect.succeedSome(received)
        : Effect.flatMap(readAtLeast(reader, missing), (chunk) =>
          Option.match(chunk, {
            onNone: () => Effect.succeedNone,
            onSome: (bytes) => collect(concat([received, bytes]))
          })))
  return collect(new Uint8Array(0)).pipe(
    Effect.flatMap(Option.match({
      onNone: () => Effect.succeedNone,
      onSome: (message) => Effect.asSome(fromResult(protocol.decodeNames(message)))
    })),
    Effect.timeoutFail({
      duration: namesTimeout,
      onTimeout: () =>
        new ProtocolError({
          source: "the stream of names",
          detail: `did not carry the names within ${Duration.format(namesTimeout)}`
        })
    })
  )
}

/** A parent that is killed while it sends leaves a child that does without. */
const receiveState = (
  env: System,
  descriptor: number
): Effect.Effect<Option.Option<protocol.State>, ProtocolError> =>
  env.reader(descriptor).pipe(
    Effect.mapError(namedByVariable),
    Effect.flatMap((reader) => readAll(reader, protocol.maxStateLength)),
    Effect.map(Option.flatMap(protocol.decodeState)),
    Effect.timeoutTo({
      duration: namesTimeout,
      onSuccess: (state) => state,
      onTimeout: () => Option.none<protocol.State>()
    }),
    Effect.tap((state) =>
      Option.isNone(state)
        ? logWarning("The state that the older process sent did not arrive whole; going on without it")
        : Effect.void
    ),
    Effect.scoped
  )

const openExchange = (env: System, state: protocol.State) =>
  Effect.map(
    Effect.transposeMapOption(
      Option.flatMap(Option.fromNullable(state.get(exchange.stateName)), exchange.decodeDescriptor),
      (descriptor) => Effect.option(env.reader(descriptor))
    ),
    Option.flatten
  )

/** Up to the end, or none if that is further away than anything that is sent in earnest. */
const readAll = (
  reader: ByteReader,
  room: number,
  chunks: ReadonlyArray<Uint8Array> = []
): Effect.Effect<Option.Option<Uint8Array>> =>
  Effect.flatMap(
    reader.read,
    Option.match({
      onNone: () => Effect.succeedSome(concat(chunks)),
      onSome: (chunk) =>
        chunk.length > room ? Effect.succeedNone : readAll(reader, room - chunk.length, [...chunks, chunk])
    })
  )

const readAtLeast = (
  reader: ByteReader,
  length: number,
  chunks: ReadonlyArray<Uint8Array> = []
): Effect.Effect<Option.Option<Uint8Array>> =>
  Effect.flatMap(reader.read, (chunk) => {
    if (Option.isNone(chunk)) return Effect.succeedNone
    const all = [...chunks, chunk.value]
    return chunk.value.length >= length
      ? Effect.succeedSome(concat(all))
      : readAtLeast(reader, length - chunk.value.length, all)
  })

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let offset = 0
  for (const chunk of chunks) {
    all.set(chunk, offset)
    offset += chunk.length
  }
  return all
}

const pair = (
  names: ReadonlyArray<FdName>,
  descriptors: ReadonlyArray<number>
): Effect.Effect<ReadonlyArray<NamedDescriptor>, ProtocolError> =>
  names.length === descriptors.length
    ? Effect.succeed(names.map((name, index) => ({ name, descriptor: descriptors[index]! })))
    : Effect.fail(
      new ProtocolError({
        source: "the stream of names",
        detail: `has ${names.length} name(s) for the ${descriptors.length} descriptor(s) in TABLEFLIP_FDS`
      })
    )

const namedByVariable = (cause: unknown) =>
  new ProtocolError({
    source: "TABLEFLIP_FDS",
    detail: `does not name the streams of an upgrade: ${String(cause)}`,
    cause
  })

/** Closes nothing: numbers that were set by hand may be those of the descriptors that Node itself stands on. */
const checkStreams = (env: System, { control, lifelines, names, ready, state, supervisor }: protocol.HandOff) =>
  Effect.forEach(
    [ready, names, ...lifelines, ...[state, control, supervisor].flatMap(Option.toArray)],
    (descriptor) =>
      Effect.flatMap(env.isStream(descriptor), (isStream) =>
        isStream
          ? Effect.void
          : Effect.fail(namedByVariable(`descriptor ${descriptor} is not a stream from another process`))),
    { discard: true }
  )

/** Programs that stand in between, as npm does, pass on the variables of a supervisor and not its descriptors. */
const lostOnTheWay = Effect.as(
  logWarning(
    "A supervisor has started this program through another one, which has not passed on what the supervisor handed over; " +
      "starting as without a supervisor. Have it run the program itself"
  ),
  none
)

/** Takes what was handed off, and with it the ownership of every descriptor. */
export const receive: (env: System) => Effect.Effect<Ancestry, ProtocolError, Scope.Scope> = Effect.fnUntraced(
  function*(env) {
    const variables = { ...yield* env.variables }
    const decoded = protocol.decodeHandOff(variables)
    yield* env.removeVariables(protocol.variables)
    const handOff = yield* fromResult(decoded)
    // Those of the first process mean nothing to its successors, which get the sockets by the hand-off.
    if (Option.isSome(handOff)) yield* env.removeVariables(listenFds.variables)
    else return { ...none, ...yield* activation.receive(env) }
    const isSupervised = Option.isSome(handOff.value.supervisor)
    // Several programs that a command starts may have got the same one.
    const isShared = isSupervised && !listenFds.isMeantFor(variables, env.pid)
    const checked = yield* Effect.either(checkStreams(env, handOff.value))
    if (Either.isLeft(checked) && isSupervised) return yield* lostOnTheWay
    const channel = isShared ? Option.none() : yield* takeChannel(env, handOff.value)
    yield* fromResult(checked)
    return yield* receiveFrom(env, handOff.value, channel, protocol.untoldExchange(variables, handOff.value)).pipe(
      Effect.onError(() => Effect.forEach(handOff.value.descriptors, env.closeDescriptor, { discard: true }))
    )
  }
)

/** Before the app can come upon it. */
const takeChannel = (env: System, handOff: protocol.HandOff) =>
  Effect.acquireRelease(
    Effect.map(Effect.transposeMapOption(handOff.channel, env.takeChannel), Option.flatten),
    Option.match({ onNone: () => Effect.void, onSome: (channel) => Effect.sync(channel.close) })
  )

const receiveFrom = Effect.fnUntraced(function*(
  env: System,
  handOff: protocol.HandOff,
  channel: Option.Option<Channel>,
  untoldExchange: Option.Option<number>
) {
  const { descriptors, generation, ready } = handOff
  let told = false
  yield* Effect.addFinalizer(() => told ? Effect.void : env.closeDescriptor(ready))
  const reader = yield* Effect.mapError(env.reader(handOff.names), namedByVariable)
  const older = yield* Effect.mapError(Effect.forEach(handOff.lifelines, env.reader), namedByVariable)
  const control = yield* Effect.mapError(Effect.transposeMapOption(handOff.control, env.reader), namedByVariable)
  const supervisor = yield* Effect.mapError(Effect.transposeMapOption(handOff.supervisor, env.reader), namedByVariable)
  if (Option.isSome(handOff.supervisor)) yield* env.write(handOff.supervisor.value, greeting)

  const received = yield* receiveNames(reader)
  if (Option.isNone(received)) {
    yield* logWarning("The process that started this one is gone before it had handed over; starting afresh")
    told = true
    const useless = [ready, ...descriptors, ...[handOff.state, untoldExchange].flatMap(Option.toArray)]
    yield* Effect.forEach(useless, env.closeDescriptor, { discard: true })
    if (Option.isSome(channel)) channel.value.close()
    return { ...none, generation, lifelines: older, control, supervisor }
  }
  const inherited = yield* pair(received.value.names, descriptors)
  const state = Option.getOrElse(
    Option.flatten(yield* Effect.transposeMapOption(handOff.state, (descriptor) => receiveState(env, descriptor))),
    () => none.state
  )

  const silence = yield* Deferred.make<void, ProtocolError>()
  if (received.value.rest.length > 0) yield* Deferred.fail(silence, tooMuch)
  const watched: ByteReader = {
    ...reader,
    read: Effect.tap(
      reader.read,
      (chunk) => Option.isSome(chunk) ? Deferred.fail(silence, tooMuch) : Deferred.succeed(silence, void 0)
    )
  }

  const ancestry: Ancestry = {
    hasParent: true,
    generation,
    inherited,
    state,
    notifyReady: Effect.suspend(() => {
      if (told) return Effect.succeed(false)
      told = true
      return env.writeAndClose(ready, Uint8Array.of(protocol.readyByte))
    }),
    lifelines: [watched, ...older],
    parentSilence: Deferred.await(silence),
    control,
    supervisor,
    exchange: yield* openExchange(env, state),
    channel
  }
  return ancestry
})

const tooMuch = new ProtocolError({
  source: "the stream of names",
  detail: "goes on after the names; the older process speaks another protocol"
})
