/**
 * Generations of any command under one process that stays.
 *
 * The supervisor binds the sockets, starts the command, and at each reload starts it anew beside the old one, which is
 * told to stop once the new one is ready. A new one that fails costs nothing: the old one goes on. A command that crashes
 * is started again, and its clients wait in the meantime rather than being refused.
 *
 * @since 3.0.0
 * @module
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.ts"
import * as Env from "./Env.ts"
import type { ExitStatus } from "./ExitStatus.ts"
import type { ProcessStatus } from "./internal/pool/status.ts"
import * as run from "./internal/supervisor/run.ts"
import * as internal from "./internal/supervisor/supervisor.ts"
import type { PoolError, ProcessStartError, ReplaceError, RestartsExhaustedError } from "./PoolError.ts"
import type { PoolEvent } from "./PoolEvent.ts"
import type { Readiness } from "./Readiness.ts"
import type {
  InvalidOptionError,
  ListenError,
  NotReadyError,
  NotSupportedError,
  PidFileError,
  ProtocolError,
  TerminatingError
} from "./TableflipError.ts"

/**
 * What to run. The program is looked for at each start, symbolic links and all.
 *
 * @since 3.0.0
 * @category models
 */
export interface Command {
  /** A program in `PATH`, or a path. */
  readonly name: string
  readonly args?: ReadonlyArray<string> | undefined
  /** Where to start it, and where relative paths begin; by default where this process was started. */
  readonly directory?: string | undefined
}

/**
 * A socket that every generation of the command gets.
 *
 * @since 3.0.0
 * @category models
 */
export interface Listen {
  readonly address: Address
  /** What the command finds in `LISTEN_FDNAMES`. */
  readonly name?: string | undefined
}

/**
 * How a command is supervised. Every option but the command has a default.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface Options {
  readonly command: Command
  /** Sockets for the command, which finds them at descriptor 3, 4, … in this order, listening. */
  readonly listen?: ReadonlyArray<Listen> | undefined
  /** Passes on the sockets that systemd has opened for this process, before those of `listen`; true by default. */
  readonly activated?: boolean | undefined
  readonly ready?: {
    /** How the command shows that it serves; by default it has to be alive after 1 second. */
    readonly when?: Readiness | undefined
    /** How long it may take until then; 1 minute by default. Then it is ended. */
    readonly timeout?: Duration.DurationInput | undefined
  } | undefined
  readonly stop?: {
    /** What tells the command to stop; SIGTERM by default. */
    readonly signal?: NodeJS.Signals | undefined
    /** How long it may take to stop before it gets SIGKILL; 30 seconds by default. */
    readonly timeout?: Duration.DurationInput | undefined
  } | undefined
  readonly restart?: {
    /** Whether a command that ends by itself is started again; by default if it failed. */
    readonly policy?: "always" | "on-failure" | "never" | undefined
    /** The pause before it is started again; 100 milliseconds by default. It doubles with each further time. */
    readonly delay?: Duration.DurationInput | undefined
    /** The longest pause; 10 seconds by default. */
    readonly maxDelay?: Duration.DurationInput | undefined
    /** How many restarts there may be within how long before the supervisor gives up; any number by default. */
    readonly limit?: { readonly count: number; readonly within: Duration.DurationInput } | undefined
  } | undefined
  /** How many copies of the command run; 1 by default. */
  readonly workers?: number | undefined
  readonly replace?: {
    /** How many copies are replaced at a time; 1 by default. With `all`, every new one is ready before any old one stops. */
    readonly atOnce?: number | "all" | undefined
    /**
     * Whether a reload stops the old process before it starts the new one, for a program of which there can be only one at a
     * time; off by default. The sockets stay open meanwhile, so clients wait. A new one that does not come up is started again
     * as `restart.policy` says: there is no old one left to go on. Not together with `leaveRunning`.
     */
    readonly stopFirst?: boolean | undefined
  } | undefined
  /** Files of variables for the command (`NAME=value`), read at each start. They win over this process's own. */
  readonly environmentFiles?: ReadonlyArray<string> | undefined
  /**
   * Files and folders, with all that is in them. When one has changed, and goes on changing no more, `launch` reloads: after
   * one second to two. They have to be there at the start; what goes away later changes nothing until it is back.
   */
  readonly reloadOnChange?: ReadonlyArray<string> | undefined
  /**
   * Has the output of the command go through this process, which keeps the last lines for its errors; off by default. When
   * `"prefixed"`, each line begins with the generation it is of, and the copy where there are several.
   */
  readonly capture?: boolean | "prefixed" | undefined
  /** Leaves the command alone when this process ends; off by default. */
  readonly leaveRunning?: boolean | undefined
  /**
   * The soft limit of open files of the command; by default the one that this process was started with, as far as its
   * parent tells, and otherwise the hard limit, to which Node raises its own.
   */
  readonly openFiles?: number | undefined
  /** Where to write the id of this process. */
  readonly pidFile?: string | undefined
}

/**
 * Why a supervisor could not be built.
 *
 * @since 3.0.0
 * @category errors
 */
export type BuildError = NotSupportedError | InvalidOptionError | ListenError | ProtocolError | PidFileError

/**
 * The supervisor of a command.
 *
 * @since 3.0.0
 * @category tags
 */
export class Supervisor extends Context.Tag("effect-tableflip/Supervisor")<Supervisor, {
  /**
   * Starts the command and completes when it is ready. One that crashes before is started again, as `restart.policy` says.
   * Once it has succeeded it does nothing more.
   */
  readonly start: Effect.Effect<void, ProcessStartError | RestartsExhaustedError | TerminatingError>
  /**
   * Replaces the command by a new generation of itself and completes when the old one has ended, and the new one is ready.
   * While a reload is going on, one more is kept for after it; whoever asks for yet another waits for that one. While the
   * command is being started for the first time, it waits for that; before, it fails with `NotReadyError`.
   */
  readonly reload: Effect.Effect<void, NotReadyError | ReplaceError | TerminatingError>
  /** Completes when something of `reloadOnChange` has changed since the last time, and names it. `launch` reloads then. */
  readonly changed: Effect.Effect<ReadonlyArray<string>>
  readonly status: Effect.Effect<ReadonlyArray<ProcessStatus>>
  /** Sends a signal to the current generation. */
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /**
   * Tells every process to stop, unless it has heard that from a terminal already, waits until it has, and completes with
   * the status of the current generation.
   */
  readonly stop: (options?: { readonly byTerminal?: boolean | undefined }) => Effect.Effect<ExitStatus>
  /** Ends what is left of every process at once, with SIGKILL. */
  readonly hasten: Effect.Effect<void>
  /**
   * Gives every process up: none is ended with the scope. It completes when the connections that are on their way from one
   * to another have arrived, which takes a second at the longest.
   */
  readonly leave: Effect.Effect<void>
  /** Whether the command is left alone when the scope is closed, and when `launch` is told to stop. */
  readonly leaveRunning: boolean
  /** The socket by which `launch` tells a service manager how this process does, if that has opened it (`OpenFile=`). */
  readonly notifySocket: Option.Option<number>
  /**
   * Completes with its status when the command has ended and is not started again, or has been stopped, and with status 0
   * when it has been left running; fails when it is given up.
   */
  readonly exit: Effect.Effect<ExitStatus, PoolError>
  /** What happens from the moment of subscription on. Of what is not taken, the newest 1024 are kept. */
  readonly events: Effect.Effect<Queue.Dequeue<PoolEvent>, never, Scope.Scope>
}>() {}

/**
 * A supervisor that has bound its sockets and started nothing yet. Closing the scope ends the command.
 *
 * @since 3.0.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<Supervisor["Type"], BuildError, Env.Env | Scope.Scope> = internal.make

/**
 * The supervisor of a command, on an `Env` of the caller's: `Testing.TestEnv` in tests.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerWithoutEnv = (options: Options): Layer.Layer<Supervisor, BuildError, Env.Env> =>
  Layer.scoped(Supervisor, make(options))

/**
 * The supervisor of a command, which has bound its sockets and started nothing yet. Closing its scope ends the command.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Supervisor, BuildError> =>
  Layer.provide(layerWithoutEnv(options), Env.layer)

/**
 * Runs the command until it has ended, as the main thing of this process: SIGHUP and a change of `reloadOnChange` reload,
 * SIGTERM and SIGINT stop, a second one hastens that, and other signals are passed on. Completes with the status that this
 * process should end with.
 *
 * @since 3.0.0
 * @category running
 */
export const launch: (
  options?: { readonly leaveRunning?: boolean | undefined }
) => Effect.Effect<
  ExitStatus,
  ProcessStartError | PoolError,
  Env.Env | Supervisor
> = (options = {}) => Effect.flatMap(Supervisor, (supervisor) => run.launch(supervisor, options))
