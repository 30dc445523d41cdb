/**
 * One process of a pool: it is started and ready in time, or nothing is left of it; and once it has been told to finish,
 * it has ended in time.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { StartFailure } from "../../PoolError.ts"
import { ProcessStartError, ReadyTimeoutError } from "../../PoolError.ts"
import type { ProcessName } from "../../PoolEvent.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import { logError, logWarning } from "../logging.ts"
import { type Driver, forkHereIn, monotonicMillis } from "../seam.ts"
import type { Answer, Retirement } from "../wire/control.ts"
import * as heartbeat from "./heartbeat.ts"

/** A started process, as a pool sees it. The scope it was started in ends it. */
export interface Member {
  readonly pid: number
  /** Completes when it serves; fails as soon as it is known that it will not. */
  readonly ready: Effect.Effect<void, StartFailure>
  readonly exit: Effect.Effect<ExitStatus>
  /** Hands over what it says, to its end. */
  readonly forEachAnswer: (handle: (answer: Answer) => Effect.Effect<void>) => Effect.Effect<void>
  /** Asks it to finish. */
  readonly retire: (why: Retirement) => Effect.Effect<void>
  /** Tells it that every older copy of it has ended. */
  readonly olderGone: Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<boolean>
}

/** A place in the pool, which always has the same name. */
export interface SlotSpec {
  readonly name: string
  readonly index: number
  readonly start: (how: {
    readonly size: number
    readonly generation: number
    readonly restarts: number
  }) => Effect.Effect<Member, StartFailure, Scope.Scope>
  /** Whether a process that ends by itself is started again. */
  readonly restart: "always" | "on-failure" | "never"
  /** Whether this end shows that there is no use in that. */
  readonly givesUp?: ((status: ExitStatus) => boolean) | undefined
  /** Whether the pool fails with a process that failed and is not started again. */
  readonly fatal: boolean
  /**
   * Whether it serves until it is told to finish. One that ends in good order then makes room for the next, which is
   * started at once; and one whose event loop stands still is not at work but stuck.
   */
  readonly serves: boolean
  /** Whether a replacement brings it back where it had ended and was not started again. */
  readonly revives?: boolean | undefined
}

export type SlotState = "starting" | "serving" | "restarting" | "done"

export interface Slot {
  readonly spec: SlotSpec
  readonly driver: Driver<ExitStatus>
  state: SlotState
  /** Milliseconds since the epoch. */
  since: number
  restarts: number
  current: Running | undefined
  /** Starts its process again. */
  keeper: Fiber.RuntimeFiber<void> | undefined
}

export interface Running {
  readonly slot: Slot
  readonly member: Member
  readonly generation: number
  readonly since: number
  /** Milliseconds by a monotonic clock. */
  readonly begunAt: number
  readonly scope: Scope.CloseableScope
  /** Milliseconds since the epoch at which it was told to finish. */
  retiredAt: number | undefined
  /** How it ended. */
  status: ExitStatus | undefined
}

export interface MemberOptions {
  /** The scope of the pool. */
  readonly scope: Scope.Scope
  readonly readyTimeout: Duration.Duration
  readonly stopTimeout: Duration.Duration
  /** Completes when whoever stops the pool will not wait any longer, and `grace` after that what is left is killed. */
  readonly hastened: Effect.Effect<void>
  readonly grace: Duration.Duration
  /** For how long a process that serves may say nothing. */
  readonly heartbeat: Option.Option<Duration.Duration>
  readonly publish: (event: PoolEvent) => Effect.Effect<void>
}

/** How a process of a pool is called in messages. */
export const describe = ({ index, name }: { readonly name: string; readonly index: number }): string =>
  name === "worker" ? `worker ${index}` : `process ${name}`

export const nameOf = ({ generation, member, slot: { spec } }: Running): ProcessName => ({
  name: spec.name,
  index: spec.index,
  pid: member.pid,
  generation
})

/**
 * Starts a process in a slot and waits until it serves. If that fails or is interrupted, the process has ended.
 * What is to be done with one that serves is done before anything can interrupt.
 */
export const launch = (
  options: MemberOptions,
  { olderGone, generation, onExit, onReady, size, slot }: {
    readonly slot: Slot
    readonly size: number
    readonly generation: number
    readonly olderGone: Effect.Effect<void>
    readonly onReady: (running: Running) => Effect.Effect<void>
    readonly onExit: (running: Running, status: ExitStatus) => Effect.Effect<void>
  }
): Effect.Effect<void, ProcessStartError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(options.scope, ExecutionStrategy.sequential)
      const begin = Effect.gen(function*() {
        const member = yield* slot.spec.start({ size, generation, restarts: slot.restarts })
        yield* options.publish(PoolEvent.Started({ ...placeOf(slot), pid: member.pid, generation }))
        yield* olderGone.pipe(Effect.zipRight(member.olderGone), Effect.interruptible, Effect.forkScoped)
        yield* Effect.timeoutFail(member.ready, {
          duration: options.readyTimeout,
          onTimeout: () => new ReadyTimeoutError({ pid: member.pid, timeout: options.readyTimeout })
        })
        return member
      })
      const member = yield* restore(Scope.extend(begin, scope)).pipe(
        Effect.onExit((exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void),
        Effect.mapError((cause) => new ProcessStartError({ process: describe(slot.spec), cause }))
      )
      const since = yield* Clock.currentTimeMillis
      const begunAt = yield* monotonicMillis
      const running: Running = {
        slot,
        member,
        generation,
        since,
        begunAt,
        scope,
        retiredAt: undefined,
        status: undefined
      }
      yield* options.publish(PoolEvent.Ready(nameOf(running)))
      yield* onReady(running)
      yield* Effect.forkIn(Effect.interruptible(attend(options, running)), scope)
      yield* member.exit.pipe(
        Effect.interruptible,
        Effect.tap((status) => {
          running.status = status
          return Scope.close(scope, Exit.void)
        }),
        Effect.tap((status) =>
          options.publish(PoolEvent.Exited({ ...nameOf(running), status, expected: running.retiredAt !== undefined }))
        ),
        Effect.flatMap((status) => onExit(running, status)),
        forkHereIn(options.scope)
      )
    })
  )

/** Hears what a process has to say, and ends one that says nothing any more. */
const attend = (options: MemberOptions, running: Running): Effect.Effect<void> => {
  const { member, slot: { spec } } = running
  const timeout = spec.serves ? options.heartbeat : Option.none()
  if (Option.isNone(timeout)) return Effect.void
  const watch = heartbeat.make(timeout.value)
  const kill = Effect.gen(function*() {
    // Whoever retires it waits no longer than it should.
    if (running.retiredAt !== undefined) return
    yield* options.publish(PoolEvent.Unresponsive(nameOf(running)))
    yield* logError(
      `The event loop of the ${describe(spec)} (process ${member.pid}) has stood still for ${
        Duration.format(timeout.value)
      }; the process is killed`
    )
    yield* member.signal("SIGKILL")
  })
  return Effect.all([
    member.forEachAnswer((answer) => Effect.sync(() => watch.hear(answer))),
    Effect.zipRight(watch.missing, kill)
  ], { concurrency: "unbounded", discard: true })
}

const placeOf = ({ spec: { index, name } }: Slot) => ({ name, index })

/** Lets a process finish, and ends it if that takes too long. Tells whether it had to be killed. */
export const retire = (options: MemberOptions, running: Running, why: Retirement): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    const { member } = running
    yield* options.publish(PoolEvent.Retired(nameOf(running)))
    yield* member.retire(why)
    const patience = Effect.raceFirst(
      Effect.as(Effect.sleep(options.stopTimeout), options.stopTimeout),
      Effect.as(Effect.zipRight(options.hastened, Effect.sleep(options.grace)), options.grace)
    )
    const over = yield* Effect.raceFirst(
      Effect.as(member.exit, Option.none<Duration.Duration>()),
      Effect.asSome(patience)
    ).pipe(Effect.interruptible)
    if (Option.isNone(over)) return false
    yield* options.publish(PoolEvent.Killed(nameOf(running)))
    yield* logWarning(
      `The ${describe(running.slot.spec)} (process ${member.pid}) has not ended within ${
        Duration.format(over.value)
      } and is killed`
    )
    yield* member.signal("SIGKILL")
    yield* Effect.timeoutOption(Effect.interruptible(member.exit), killDelay)
    return true
  })

/** Only a process that the kernel cannot end (waiting for a broken disk, say) outlives SIGKILL by that much. */
const killDelay = Duration.seconds(10)
