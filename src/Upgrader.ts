/**
 * Replaces this process by a new copy of its program, with no gap and nothing lost.
 *
 * The upgrader starts the program again, hands it the listening sockets, waits until it is ready, and only then stops
 * accepting. A new process that crashes, hangs or lies costs nothing: this one goes on serving.
 *
 * @since 3.0.0
 * @module
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Drain from "./Drain.ts"
import * as Env from "./Env.ts"
import { Fds } from "./Fds.ts"
import { runUntil } from "./internal/runUntil.ts"
import { endWell } from "./internal/seam.ts"
import * as internal from "./internal/upgrade/upgrader.ts"
import type {
  BuildError,
  HandOverError,
  InvalidOptionError,
  ProtocolError,
  ReadyError,
  UpgradeError
} from "./TableflipError.ts"
import type { DrainHook, DrainReport, ExitReason, UpgraderEvent, UpgraderStatus } from "./UpgraderEvent.ts"

/**
 * A program to run in place of this one. What is not given is taken from how this process was started.
 *
 * @since 3.0.0
 * @category models
 */
export interface CommandOptions {
  /** The program; by default the Node that runs this process. */
  readonly executable?: string | undefined
  /** Everything after the program: Node's own flags, the script, its arguments. */
  readonly args?: ReadonlyArray<string> | undefined
  /** The directory to start in. */
  readonly directory?: string | undefined
}

/**
 * How this process is upgraded and how it ends. Every option has a default.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface Options {
  /** How long the new process may take until it is ready; 1 minute by default. Finite and above zero. */
  readonly upgradeTimeout?: Duration.DurationInput | undefined
  /** How long open connections may take to finish; 30 seconds by default. Then they are closed by force. */
  readonly drainTimeout?: Duration.DurationInput | undefined
  /** How connections are drained: see `Drain.Options`. `hookTimeout` is for each hook of `Upgrader.onDrain`. */
  readonly drain?:
    | Pick<Drain.Options, "hookTimeout" | "idleTimeout" | "lingerTimeout" | "webSocketCloseCode" | "webSocketSpread">
    | undefined
  /**
   * Whether open connections go to the new process at an upgrade, so that their clients notice nothing: HTTP/1 without TLS,
   * between two requests; all others are drained. True by default. Also for one server: see `Fds.listen`.
   */
  readonly handOver?: boolean | undefined
  /** The exit code of this process if connections had to be closed by force; 0 by default, as without force. */
  readonly forcedExitCode?: number | undefined
  /**
   * Where to write the process id when this process is ready; nowhere by default. It is put back when an upgrade fails
   * after the new process has written it, and removed at the final stop. A relative path starts at the directory in
   * which this process was started.
   */
  readonly pidFile?: string | undefined
  /**
   * Signals that ask for an upgrade; SIGHUP by default, `false` for none. SIGUSR1 belongs to Node's debugger. A SIGHUP that
   * comes because the terminal of this process is gone stops it.
   */
  readonly signals?: ReadonlyArray<NodeJS.Signals> | false | undefined
  /**
   * How many older generations may still be draining when an upgrade begins, 1 or more. With 1, the default, the parent
   * must be gone: `upgrade` fails with `ParentRunningError` while it drains. With n, n processes may be draining at once.
   */
  readonly maxDraining?: number | undefined
  /**
   * How long this process goes on accepting after the new one has said that it is ready; zero by default. If the new
   * process ends within that time, the upgrade has failed and this process simply goes on.
   */
  readonly probation?: Duration.DurationInput | undefined
  /** How long a new process that has failed may take to end after SIGTERM before it gets SIGKILL; 5 seconds by default. */
  readonly stopTimeout?: Duration.DurationInput | undefined
  /**
   * How long this process may live on after it has handed over and released everything; 10 seconds by default. Something
   * that the app left open (a timer, a connection pool) would keep it, and with it block the next upgrade. Then it is
   * ended, and a warning names what was open. `Infinity` for never.
   */
  readonly exitTimeout?: Duration.DurationInput | undefined
  /** What to run; by default this program, in the way it was started. */
  readonly command?: CommandOptions | undefined
  /** What to add to the environment of the new process, or with `undefined` to remove from it. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * What that adds to. By default the environment in which this process was started (`"start"`): what the app has read from
   * a file, removed or changed since, the new process reads, removes or changes anew. With `"current"` it gets what the
   * environment of this process has become.
   */
  readonly baseEnvironment?: "current" | "start" | undefined
}

/**
 * State that this process gives to the one that takes over. Each value has 16 MiB at most and may take 5 seconds.
 *
 * @since 3.0.0
 * @category models
 */
export interface GivenState<E, R> {
  /** Run when the new process asks, before it is ready: this one still serves, and what comes after is not in it. */
  readonly now: Effect.Effect<Uint8Array, E, R>
  /** Run when this process has drained, and so exact. Nothing is sent last if it is not given. */
  readonly last?: Effect.Effect<Uint8Array, E, R> | undefined
}

/**
 * The upgrader of this process.
 *
 * @since 3.0.0
 * @category tags
 */
export class Upgrader extends Context.Tag("effect-tableflip/Upgrader")<Upgrader, {
  /** Whether this process was started by an upgrade. */
  readonly hasParent: boolean
  /** 1 for a process that was started plainly; each upgrade counts one up. */
  readonly generation: number
  /**
   * Says that this process can serve: starts accepting on every socket, writes the PID file, tells the parent, and
   * closes what was inherited and not claimed. Doing it again does nothing. When it has completed, the next `upgrade`
   * is accepted.
   */
  readonly ready: Effect.Effect<void, ReadyError>
  /**
   * Starts the new process and completes when it has taken over, or fails with the reason why it has not. It always
   * ends. Interrupting the caller does not stop the upgrade; `stop` does.
   */
  readonly upgrade: Effect.Effect<{ readonly pid: number; readonly generation: number }, UpgradeError>
  /** Ends an upgrade that is going on and completes `exit`. Closing the scope of the layer does the same. */
  readonly stop: Effect.Effect<void>
  /** Completes when this process should finish what it serves and end, with the reason. */
  readonly exit: Effect.Effect<ExitReason>
  /**
   * The same if it has been decided, and None until then. It never waits, so a finalizer can ask whether another process
   * goes on with what it releases.
   */
  readonly exitReason: Effect.Effect<Option.Option<ExitReason>>
  /**
   * Completes when every older generation has ended, at once if there is none. Fails if the parent breaks the protocol.
   * What must not run twice, and not before the last request of the older one has been answered, waits for this.
   */
  readonly waitForParent: Effect.Effect<void, ProtocolError>
  /**
   * Runs an effect in one process at a time, as far as generations and the workers of a pool go: a queue consumer, a
   * scheduler. It begins when nobody else runs under that name. When this process is replaced or stopped, it is interrupted,
   * and the next generation begins as soon as it has ended, while this process may still drain. None if it was
   * interrupted so, or has not begun. A new process begins when it has taken over: `ready` must not wait for this.
   */
  readonly exclusive: <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | InvalidOptionError | ProtocolError, R>
  /**
   * Stops accepting, lets open connections finish for `drainTimeout` at the longest, and tells what it did. It happens
   * once, and goes on if the caller is interrupted. While it runs, a further SIGTERM or SIGINT closes what is left.
   * `launch` does this.
   */
  readonly drain: Effect.Effect<DrainReport>
  /**
   * Has something done first when this process drains. After an upgrade this process has stopped accepting by then; when
   * it is stopped it still accepts, so that whoever sends clients here can be told before they are refused. A hook that
   * fails or takes longer than `drain.hookTimeout` is logged and left.
   */
  readonly onDrain: (hook: DrainHook) => Effect.Effect<void, never, Scope.Scope>
  /**
   * State that goes along with an upgrade, as bytes under a key: `HandOver` makes typed values of them. `take` asks the
   * older process for what it gives `now`, at the longest for 10 seconds; `takeLast` waits until the older process has
   * drained. None in a first process, if the older one gives nothing under that key, and if it is gone.
   */
  readonly state: {
    readonly give: <E, R>(
      key: string,
      what: GivenState<E, R>
    ) => Effect.Effect<void, HandOverError, R | Scope.Scope>
    readonly take: (key: string) => Effect.Effect<Option.Option<Uint8Array>, HandOverError>
    readonly takeLast: (key: string) => Effect.Effect<Option.Option<Uint8Array>, HandOverError>
  }
  /** What this process is doing now. */
  readonly status: Effect.Effect<UpgraderStatus>
  /** What happens from the moment of subscription on. Of what is not taken, the newest 1024 are kept. */
  readonly events: Effect.Effect<Queue.Dequeue<UpgraderEvent>, never, Scope.Scope>
}>() {}

const inContext = ({ fds, upgrader }: internal.Services): Context.Context<Upgrader | Fds> =>
  Context.make(Upgrader, upgrader).pipe(Context.add(Fds, fds))

/**
 * The upgrader and the registry of descriptors, on an `Env` of the caller's: `Testing.TestEnv` in tests.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerWithoutEnv = (options?: Options): Layer.Layer<Upgrader | Fds, BuildError, Env.Env> =>
  Layer.scopedContext(Effect.map(internal.make(options ?? {}), inContext))

/**
 * The upgrader of this process and its registry of descriptors. Bind the layer to one constant: a process has one
 * upgrader, and a second one fails with `UpgraderExistsError`.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Upgrader | Fds, BuildError> =>
  Layer.provide(layerWithoutEnv(options), Env.layer)

/**
 * The same with options from `Config`.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Upgrader | Fds, BuildError | ConfigError> =>
  Layer.unwrapEffect(
    // Loaded only where it is used: start-up time is upgrade time.
    Effect.promise(() => import("effect/Config")).pipe(
      Effect.flatMap((config) => config.unwrap(options)),
      Effect.map(layer)
    )
  )

/**
 * An upgrader that never upgrades, for platforms that cannot and for unit tests: `upgrade` fails with
 * `NotSupportedError`, signals are left alone, and everything else works as in a first process.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerStub: Layer.Layer<Upgrader | Fds> = Layer.provide(
  Layer.scopedContext(Effect.map(internal.makeStub, inContext)),
  Env.layer
)

/**
 * Runs an app for as long as this process is the one to serve: builds the layer, says `ready`, waits for `exit`, drains,
 * releases the layer. Interruption (SIGTERM and SIGINT under `NodeRuntime.runMain`) stops and drains the same way. The
 * exit code of the process is 0 in both cases, unless `forcedExitCode` says otherwise.
 *
 * @since 3.0.0
 * @category running
 */
export const launch: <A, E, R>(
  app: Layer.Layer<A, E, R>
) => Effect.Effect<ExitReason, E | ReadyError, Exclude<R, Scope.Scope> | Upgrader> = Effect.fnUntraced(
  function*<A, E, R>(
    app: Layer.Layer<A, E, R>
  ) {
    const upgrader = yield* Upgrader
    let isStarting = true
    const run = Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(app)
      // Runs before the app is released, on every way out: its handlers still have their services.
      yield* Effect.addFinalizer(() => Effect.zipRight(upgrader.stop, upgrader.drain))
      yield* upgrader.ready.pipe(
        // A failure to become ready is the answer, and not the stop that follows from it.
        Effect.ensuring(Effect.sync(() => {
          isStarting = false
        })),
        Effect.catchTag("TerminatingError", () => Effect.void)
      )
      return yield* upgrader.exit
    }))
    // An app that is told to stop while it starts need not come up first.
    const stoppedEarly = Effect.flatMap(upgrader.exit, (reason) => isStarting ? Effect.succeed(reason) : Effect.never)
    return yield* Effect.onInterrupt(runUntil(run, stoppedEarly), () => endWell)
  }
)
