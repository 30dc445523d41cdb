/**
 * One process that this one has started: what it inherits, whether it is ready, how it ended, signals.
 *
 * @since 3.0.0
 * @module
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { FdName } from "./Address.ts"
import type { ExitStatus } from "./ExitStatus.ts"
import { fromResult } from "./internal/seam.ts"
import type { Channel } from "./internal/system/channel.ts"
import { Env } from "./internal/system/env.ts"
import type { Command, Leading, Process } from "./internal/system/process.ts"
import type { ByteReader } from "./internal/system/stream.ts"
import * as exchange from "./internal/wire/exchange.ts"
import * as protocol from "./internal/wire/handOff.ts"
import { layoutOf } from "./internal/wire/layout.ts"
import type { ProtocolError, SpawnError } from "./TableflipError.ts"
import { ChildExitedError } from "./TableflipError.ts"

/**
 * What this module's own words are made of.
 *
 * @since 3.0.0
 * @category models
 */
export type { ByteReader, Channel, Command, Leading }

/**
 * A descriptor to pass on, under the name that the child asks for it by.
 *
 * @since 3.0.0
 * @category models
 */
export interface NamedDescriptor {
  /** What it is (`listener`, `packet`, `conn`, `fd`), its network (`tcp`, `unix`, `udp`) and its address or name. */
  readonly name: FdName
  /** Its number in this process. It stays open here. */
  readonly descriptor: number
}

/**
 * What to start and what it gets. A scope that closes ends the process.
 *
 * @since 3.0.0
 * @category models
 */
export interface Options {
  /** What to run; by default this program, as it was started. */
  readonly command?: Command | undefined
  /** What to add to the environment of the child, or with `undefined` to remove from it. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  /** What that adds to: the environment of this process as it is now, by default, or as this process was started. */
  readonly baseEnvironment?: "current" | "start" | undefined
  readonly descriptors?: ReadonlyArray<NamedDescriptor> | undefined
  /**
   * Descriptors at 3, 4, … for readers of other protocols, such as LISTEN_FDS. One that has a name is handed over under
   * it as well, with the same number.
   */
  readonly leading?:
    | ReadonlyArray<{ readonly descriptor: Leading; readonly name?: FdName | undefined }>
    | undefined
  /** Keeps the last lines that the child prints, which pass through this process then. */
  readonly capture?: boolean | undefined
  /** What each of these lines begins with when it is passed on. */
  readonly linePrefix?: string | undefined
  /**
   * Makes the child the head of a whole tree of processes: SIGKILL goes to all that descend from it. In a session of its
   * `"own"`, a signal to the group of this process does not reach the tree, and what the child leaves behind can be found.
   */
  readonly tree?: "own" | "shared" | undefined
  /** The number of the child's generation; 2 by default, the first one after a plain start. */
  readonly generation?: number | undefined
  /** Streams that end when still older generations exit, for the child to watch. */
  readonly lifelines?: ReadonlyArray<number> | undefined
  /** What the child should know that does not belong in its environment, by name. */
  readonly state?: ReadonlyMap<string, Uint8Array> | undefined
  /**
   * Whether it has a stream on which it can be told things; not by default. One that is `"supervised"` may be any
   * program, and says on that stream whether it speaks this protocol. A `"successor"` learns of it by its state alone, so
   * that to a program that does not speak of it nothing is different.
   */
  readonly control?: boolean | "supervised" | "successor" | undefined
  /** Whether connections can go to it later, if it is Node; not by default. */
  readonly channel?: boolean | undefined
  /** What a child that is ended with the scope gets first; SIGTERM by default. */
  readonly stopSignal?: NodeJS.Signals | undefined
  /** How long it may take to end after that before it gets SIGKILL; 5 seconds by default. */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

/**
 * How a process is ended.
 *
 * @since 3.0.0
 * @category models
 */
export interface KillOptions {
  /** What to send first; SIGTERM by default. */
  readonly signal?: NodeJS.Signals | undefined
  /** How long it may take to end before it gets SIGKILL; by default what `stopTimeout` said at its start. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * A process that was started. It is ended when the scope closes, unless it was released.
 *
 * @since 3.0.0
 * @category models
 */
export interface ChildProcess {
  readonly pid: number
  /** Completes when the child has said that it is ready; fails as soon as it is known that it will not. */
  readonly ready: Effect.Effect<void, ChildExitedError | ProtocolError>
  /** How it ended. Never lost, also when nobody was waiting. */
  readonly exit: Effect.Effect<ExitStatus>
  /** What it says on the stream that was asked for as `"notification"` in `leading`. */
  readonly notification: Option.Option<ByteReader>
  /** The last lines that it printed, if they are captured. */
  readonly lastLines: Effect.Effect<ReadonlyArray<string>>
  /** Completes when all that it printed has been passed on, if it is captured. */
  readonly outputEnd: Effect.Effect<void>
  /** Sends a signal; false if the child has ended. It can never reach a stranger that got the same process id. */
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<boolean>
  /** Signals what is left of its session after its end, 0 only to look, and tells which processes that were. */
  readonly signalLeft: (signal: NodeJS.Signals | 0) => Effect.Effect<ReadonlyArray<number>>
  /** Completes when a child that is `"supervised"` has said that it speaks this protocol. It may never do. */
  readonly greeting: Effect.Effect<void>
  /** What a child that has a control stream says on it. Of what a `"supervised"` one says and nobody reads, little is kept. */
  readonly answers: Option.Option<ByteReader>
  /** On which connections can go to it, if that was asked for. */
  readonly channel: Option.Option<Channel>
  /** Tells the child something on its control stream; false if it has none or nobody is there to read it. */
  readonly tell: (bytes: Uint8Array) => Effect.Effect<boolean>
  /** Asks the child to end, and after the timeout makes it. Completes when it has ended. */
  readonly kill: (options?: KillOptions) => Effect.Effect<ExitStatus>
  /** Gives the child up: it outlives the scope, and this process may end before it. */
  readonly release: Effect.Effect<void>
}

// A process that ends closes its streams before the system tells how it ended; and one whose start-up fails, before it
// has released the rest. How it ended says more than that it said nothing.
const exitDelay = Duration.seconds(3)

/** Chunks of what a program says that may be any program, until somebody reads them. */
const keptChunks = 16

// Only a process that the kernel cannot end (waiting for a broken disk, say) outlives SIGKILL by that much.
const killDelay = Duration.seconds(10)

const childEnvironment = (
  own: Readonly<Record<string, string | undefined>>,
  changes: Readonly<Record<string, string | undefined>>
): Record<string, string> => {
  const environment: Record<string, string> = {}
  for (const [name, value] of Object.entries({ ...own, ...changes })) {
    if (value !== undefined) environment[name] = value
  }
  return environment
}

/**
 * Starts a process. It inherits standard input, output and error, and besides them only what is named here.
 *
 * @since 3.0.0
 * @category constructors
 */
export const spawn: (options?: Options) => Effect.Effect<ChildProcess, SpawnError, Env | Scope.Scope> = Effect
  .fnUntraced(
    function*(options = {}) {
      const env = yield* Env
      const command = options.command ?? (yield* env.start)
      const descriptors = options.descriptors ?? []
      const lifelines = options.lifelines ?? []
      const isSuccessor = options.control === "successor"
      const hasState = isSuccessor || (options.state !== undefined && options.state.size > 0)
      const control = options.control !== undefined && options.control !== false
      const channel = options.channel === true
      const leading = options.leading ?? []
      const layout = layoutOf({
        leading: leading.length,
        inherit: descriptors.length + lifelines.length,
        state: hasState,
        control,
        channel
      })
      const state = new Map(options.state)
      if (isSuccessor) state.set(exchange.stateName, exchange.encodeDescriptor(layout.control!))
      const named = leading.flatMap(({ name }, index) =>
        name === undefined ? [] : [{ name, number: layout.leading[index]! }]
      )
      const controlFor = (kind: true | "supervised") =>
        options.control === kind ? Option.fromNullable(layout.control) : Option.none()
      const handOff = protocol.encodeHandOff({
        ready: layout.ready,
        names: layout.names,
        descriptors: [...named.map(({ number }) => number), ...layout.inherit.slice(0, descriptors.length)],
        generation: options.generation ?? 2,
        lifelines: layout.inherit.slice(descriptors.length),
        state: Option.fromNullable(layout.state),
        control: controlFor(true),
        supervisor: controlFor("supervised"),
        channel: Option.fromNullable(layout.channel)
      })
      const base = options.baseEnvironment === "start" ? env.startVariables : env.variables
      const environment = childEnvironment(yield* base, {
        PWD: command.directory,
        ...options.environment,
        ...handOff
      })
      const stopTimeout = Duration.decode(options.stopTimeout ?? "5 seconds")
      let released = false

      const within = (process: Process, duration: Duration.Duration) =>
        Effect.timeoutOption(Effect.interruptible(process.exit), duration)

      const kill = Effect.fnUntraced(
        function*(
          process: Process,
          { signal = options.stopSignal ?? "SIGTERM", timeout = stopTimeout }: KillOptions = {}
        ) {
          yield* process.signal(signal)
          const status = yield* within(process, Duration.decode(timeout))
          if (Option.isSome(status)) return status.value
          yield* process.signal("SIGKILL")
          return yield* process.exit
        }
      )

      const endForSure = (process: Process): Effect.Effect<void> =>
        Effect.asVoid(
          Effect.timeoutOption(Effect.interruptible(kill(process)), Duration.sum(stopTimeout, killDelay))
        )

      // Whoever is interrupted meanwhile comes no further than this, and the process is ended all the same.
      const process = yield* Effect.acquireRelease(
        env.spawn({
          command,
          environment,
          names: protocol.encodeNames([...named, ...descriptors].map(({ name }) => name)),
          state: hasState ? Option.some(protocol.encodeState(state)) : Option.none(),
          control,
          channel,
          leading: leading.map(({ descriptor }) => descriptor),
          capture: options.capture,
          linePrefix: options.linePrefix,
          tree: options.tree,
          inherit: [...descriptors.map(({ descriptor }) => descriptor), ...lifelines]
        }),
        (process) => Effect.suspend(() => released ? Effect.void : Effect.ensuring(endForSure(process), process.close))
      )

      const exited = (status: ExitStatus) => new ChildExitedError({ pid: process.pid, status, ready: false })
      const word = Effect.gen(function*() {
        const chunk = yield* process.ready.read
        const status = Option.isSome(chunk) ? Option.none() : yield* within(process, exitDelay)
        return Option.isSome(status)
          ? yield* Effect.fail(exited(status.value))
          : yield* fromResult(protocol.decodeReady(chunk))
      }).pipe(Effect.ensuring(process.ready.discard))
      const outcome = yield* Deferred.make<void, ChildExitedError | ProtocolError>()
      yield* Effect.raceFirst(word, Effect.flatMap(process.exit, exited)).pipe(
        Effect.intoDeferred(outcome),
        Effect.interruptible,
        Effect.forkScoped
      )

      const greeting = yield* Deferred.make<void>()
      const isSupervised = options.control === "supervised"
      const said = yield* Queue.sliding<Option.Option<Uint8Array>>(keptChunks)
      yield* Effect.transposeMapOption(
        isSupervised ? process.answers : Option.none(),
        ({ read }) =>
          read.pipe(
            Effect.tap((chunk) => Option.isSome(chunk) ? Deferred.succeed(greeting, void 0) : Effect.void),
            Effect.tap((chunk) => Queue.offer(said, chunk)),
            Effect.repeat({ until: Option.isNone })
          )
      ).pipe(
        Effect.interruptible,
        Effect.forkScoped
      )

      return {
        pid: process.pid,
        ready: Deferred.await(outcome),
        exit: process.exit,
        notification: process.notification,
        lastLines: process.lastLines,
        outputEnd: process.outputEnd,
        signal: process.signal,
        signalLeft: process.signalLeft,
        greeting: Deferred.await(greeting),
        answers: isSupervised
          ? Option.map(process.answers, (reader): ByteReader => ({ ...reader, read: Queue.take(said) }))
          : process.answers,
        channel: process.channel,
        tell: process.tell,
        kill: (how) => kill(process, how),
        release: Effect.suspend(() => {
          released = true
          return process.unref
        })
      }
    }
  )
