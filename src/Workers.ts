/**
 * A pool of processes on the same sockets, for all the cores of a machine.
 *
 * The primary binds the sockets and never accepts; every worker inherits them and accepts for itself. Workers are
 * restarted when they end, replaced with no gap, and the primary itself is upgraded like any other process: its successor
 * starts workers of its own, and when all are ready, the old pool finishes what it serves.
 *
 * @since 3.0.0
 * @module
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.ts"
import * as Env from "./Env.ts"
import type { ExitStatus } from "./ExitStatus.ts"
import type { Fds } from "./Fds.ts"
import type { ProcessStatus } from "./internal/pool/status.ts"
import * as internal from "./internal/workers/workers.ts"
import type { MainContextError, PoolError, ProcessStartError, ReplaceError } from "./PoolError.ts"
import type { PoolEvent } from "./PoolEvent.ts"
import type {
  BuildError,
  InvalidOptionError,
  ListenError,
  NotReadyError,
  ReadyError,
  TerminatingError
} from "./TableflipError.ts"
import type * as Upgrader from "./Upgrader.ts"
import type { ExitReason } from "./UpgraderEvent.ts"
import type { WorkerInfo } from "./WorkerInfo.ts"

export {
  /**
   * The place of this process in its pool.
   *
   * @since 3.0.0
   * @category tags
   */
  WorkerInfo
} from "./WorkerInfo.ts"

export type {
  /**
   * One process of the pool, as `status` tells of it. `draining` is one that was told to finish and has not ended.
   *
   * @since 3.0.0
   * @category models
   */
  ProcessStatus
} from "./internal/pool/status.ts"

/**
 * When a process that has ended is started again.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface RestartOptions {
  /**
   * Given how the process ended. By default after 100 ms, then twice as long each time up to 30 seconds, with jitter, for
   * ever. When a worker's schedule is exhausted, the pool fails.
   */
  readonly schedule?: Schedule.Schedule<unknown, ExitStatus> | undefined
  /** A process that has lived this long begins the schedule anew; 1 minute by default. */
  readonly healthyAfter?: Duration.DurationInput | undefined
}

/**
 * How the pool is run. Every option has a default. Those of `Upgrader.Options` say how the primary is upgraded and how
 * every process drains.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface Options<I = never, E = never, R = never, P extends Processes = {}>
  extends Omit<Upgrader.Options, "stopTimeout">
{
  /** How many workers; by default `os.availableParallelism()`, or fewer where a control group (a container) allows fewer. */
  readonly size?: number | undefined
  /** The addresses that the primary binds for its workers. What a worker listens on and is not named here, is its own. */
  readonly listen?: ReadonlyArray<Address> | undefined
  readonly ready?: {
    /** How long a process may take until it is ready; 1 minute by default. `upgradeTimeout` is for the whole new pool. */
    readonly timeout?: Duration.DurationInput | undefined
  } | undefined
  readonly stop?: {
    /** Signals that stop the pool; SIGINT and SIGTERM by default. */
    readonly signals?: ReadonlyArray<NodeJS.Signals> | undefined
    /**
     * How long a process may take to finish before it gets SIGKILL; 45 seconds by default. More than `drainTimeout`. One
     * that has not come up has nothing to finish, and gets SIGKILL after 5 seconds at the latest.
     */
    readonly timeout?: Duration.DurationInput | undefined
  } | undefined
  readonly restart?: RestartOptions | undefined
  /**
   * Whether a server whose event loop stands still is killed and started again; `false` leaves it alone. One whose
   * inspector is open is left alone as well, since a debugger may hold it. Tasks may compute for as long as they like.
   */
  readonly heartbeat?: false | {
    /** For how long it may stand still; 1 minute by default. */
    readonly timeout?: Duration.DurationInput | undefined
  } | undefined
  /**
   * When a server asks for a new process in its place, besides when its program does (`WorkerInfo.recycle`). The new one
   * is ready first, and one is recycled at a time.
   */
  readonly recycle?: {
    /** From how many bytes of resident memory on, looked at once a second; by default never. */
    readonly maxMemory?: number | undefined
    /**
     * By which part of it the limit of each process is lower at most, as chance will have it, so that not all reach it at
     * the same time; 0.1 by default.
     */
    readonly jitter?: number | undefined
  } | undefined
  readonly replace?: {
    /** How many processes are replaced at a time; 1 by default. With `all`, every new one is ready before any old one stops. */
    readonly atOnce?: number | "all" | undefined
  } | undefined
  /** What lives in the primary from before the first worker starts until after the last one has ended. */
  readonly main?: Main<I, E, R> | undefined
  /** Processes besides the workers, by name. */
  readonly processes?: P | undefined
}

/**
 * A layer that lives in the primary, and the value of it that its workers get.
 *
 * @since 3.0.0
 * @category models
 */
export interface Main<I, E, R> {
  readonly layer: Layer.Layer<any, E, R>
  readonly shared: Option.Option<Shared<I>>
}

/**
 * A value that is passed to the workers, encoded by a schema.
 *
 * @since 3.0.0
 * @category models
 */
export interface Shared<I> {
  readonly tag: Context.Tag<I, any>
  readonly schema: Schema.Schema<any, any>
}

/**
 * The main context of a pool: a layer that is built in the primary before the first worker starts and released after the
 * last one has ended. It may use `Workers`, `Upgrader` and `Fds`, for an admin server for example.
 *
 * The value of one of its services can be passed to the workers. It is encoded by the schema and goes through a pipe; it
 * is neither in the environment of a worker nor on its command line, where others could read it (proc(5)).
 *
 * @since 3.0.0
 * @category constructors
 */
export const main: {
  <A, E, R>(layer: Layer.Layer<A, E, R>): Main<never, E, R>
  <A, E, R, I extends A, S, T>(
    layer: Layer.Layer<A, E, R>,
    tag: Context.Tag<I, S>,
    schema: Schema.Schema<S, T>
  ): Main<I, E, R>
} = (
  layer: Layer.Layer<any, any, any>,
  tag?: Context.Tag<any, any>,
  schema?: Schema.Schema<any, any>
): any => ({
  layer,
  shared: tag === undefined || schema === undefined ? Option.none() : Option.some({ tag, schema })
})

/**
 * A process besides the workers.
 *
 * @since 3.0.0
 * @category models
 */
export interface Process<out E, out R> {
  readonly work: internal.Work<E, R>
  readonly restart: "always" | "on-failure" | "never"
  readonly fatal: boolean
}

/**
 * Processes by name.
 *
 * @since 3.0.0
 * @category models
 */
export interface Processes {
  readonly [name: string]: Process<any, any>
}

/**
 * What becomes of the pool when a process ends by itself.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface ProcessOptions {
  /** Whether it is started again, by the schedule of the pool. */
  readonly restart?: "always" | "on-failure" | "never" | undefined
  /** Whether the pool fails when the process has failed and is not started again; by default it goes on. */
  readonly fatal?: boolean | undefined
}

/**
 * A process that runs a layer until the pool stops, such as a server of metrics. It is ready when the layer is built. By
 * default it is always started again.
 *
 * @since 3.0.0
 * @category constructors
 */
export const server = <A, E, R>(layer: Layer.Layer<A, E, R>, options?: ProcessOptions): Process<E, R> => ({
  work: { _tag: "Server", layer },
  restart: options?.restart ?? "always",
  fatal: options?.fatal ?? false
})

/**
 * A process that runs an effect. It is ready when the effect begins, and ends with it. By default it is started again if
 * it fails. It inherits none of the sockets.
 *
 * @since 3.0.0
 * @category constructors
 */
export const task = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: ProcessOptions): Process<E, R> => ({
  work: { _tag: "Task", effect },
  restart: options?.restart ?? "on-failure",
  fatal: options?.fatal ?? false
})

/**
 * The pool, as its primary sees it. Commands take their turns, and interrupting the caller does not stop them.
 *
 * @since 3.0.0
 * @category tags
 */
export class Workers extends Context.Tag("effect-tableflip/Workers")<Workers, {
  /** How many workers there are. */
  readonly size: Effect.Effect<number>
  /**
   * Makes the pool larger or smaller. Completes when the new workers serve, or the surplus ones have ended. If one does
   * not come up, the size stays as it was.
   */
  readonly resize: (
    size: number
  ) => Effect.Effect<void, InvalidOptionError | NotReadyError | ProcessStartError | TerminatingError>
  /**
   * Replaces every process by a new one, which runs the code that is on disk now. Stops at the first that does not come
   * up; what has not been replaced by then serves on.
   */
  readonly replace: Effect.Effect<void, NotReadyError | ReplaceError | TerminatingError>
  /** The same for one worker alone, by its index. The others are left as they are. */
  readonly replaceWorker: (
    index: number
  ) => Effect.Effect<void, InvalidOptionError | NotReadyError | ReplaceError | TerminatingError>
  readonly status: Effect.Effect<ReadonlyArray<ProcessStatus>>
  /** What happens from the moment of subscription on. Of what is not taken, the newest 1024 are kept. */
  readonly events: Effect.Effect<Queue.Dequeue<PoolEvent>, never, Scope.Scope>
}>() {}

/**
 * Why a pool has ended otherwise than it was told to.
 *
 * @since 3.0.0
 * @category errors
 */
export type LaunchError = BuildError | ReadyError | ListenError | PoolError | MainContextError

/**
 * What every process of a pool finds.
 *
 * @since 3.0.0
 * @category models
 */
export type Provided = Upgrader.Upgrader | Fds | WorkerInfo | Scope.Scope

type ErrorsOf<P extends Processes> = [keyof P] extends [never] ? never
  : P[keyof P] extends Process<infer E, any> ? E
  : never
type ContextOf<P extends Processes> = [keyof P] extends [never] ? never
  : P[keyof P] extends Process<any, infer R> ? R
  : never
type Requirements<R, I, MR, P extends Processes> =
  | Exclude<R | ContextOf<P>, Provided | I>
  | Exclude<MR, Workers | Upgrader.Upgrader | Fds | Scope.Scope>

/**
 * The same as `launch` on an `Env` of the caller's: `Testing.TestEnv` in tests.
 *
 * @since 3.0.0
 * @category running
 */
export const launchWithoutEnv: <A, E, R, I = never, ME = never, MR = never, P extends Processes = {}>(
  worker: Layer.Layer<A, E, R>,
  options?: Options<I, ME, MR, P>
) => Effect.Effect<
  ExitReason,
  E | ME | ErrorsOf<P> | LaunchError,
  Requirements<R, I, MR, P> | Env.Env
> = (worker, options) => internal.launch(Workers, { _tag: "Server", layer: worker }, options ?? {}) as any

/**
 * Runs a layer in as many processes as the machine has cores, for as long as this process is the one to serve. It is the
 * same layer that `Upgrader.launch` runs alone. The program is started again for every worker, so this is to be its last
 * line, in the primary and in the workers alike.
 *
 * If a worker does not come up during the first start, the pool ends with `ProcessStartError` and the exit code of that
 * worker.
 *
 * @since 3.0.0
 * @category running
 */
export const launch = <A, E, R, I = never, ME = never, MR = never, P extends Processes = {}>(
  worker: Layer.Layer<A, E, R>,
  options?: Options<I, ME, MR, P>
): Effect.Effect<
  ExitReason,
  E | ME | ErrorsOf<P> | LaunchError,
  Exclude<Requirements<R, I, MR, P> | Env.Env, Env.Env>
> => Effect.provide(launchWithoutEnv(worker, options), Env.layer)

/**
 * How a process of a pool has ended.
 *
 * @since 3.0.0
 * @category models
 */
export interface ProcessExit {
  readonly name: string
  readonly index: number
  readonly pid: number
  readonly status: ExitStatus
}

/**
 * How a pool is run until its work is done.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface RunOptions<I = never, E = never, R = never, P extends Processes = {}>
  extends Omit<Options<I, E, R, P>, "restart" | "signals">
{
  readonly restart?:
    | RestartOptions & {
      /** Whether a worker that fails is started again; by default it is not. */
      readonly policy?: "on-failure" | "never" | undefined
    }
    | undefined
}

/**
 * Runs an effect in as many processes as the machine has cores until the work is done: the pool ends when every worker
 * has, and tells how each process ended. A worker that fails is not started again, unless `restart.policy` says so; then
 * each of its exits is in the list. There is nothing to upgrade, so no signal asks for it.
 *
 * In a worker it completes with an empty list when its work is done.
 *
 * @since 3.0.0
 * @category running
 */
export const run = <A, E, R, I = never, ME = never, MR = never, P extends Processes = {}>(
  work: Effect.Effect<A, E, R>,
  options?: RunOptions<I, ME, MR, P>
): Effect.Effect<
  ReadonlyArray<ProcessExit>,
  E | ME | ErrorsOf<P> | LaunchError,
  Requirements<R, I, MR, P>
> => Effect.provide(internal.run(Workers, { _tag: "Task", effect: work }, options ?? {}), Env.layer) as any
