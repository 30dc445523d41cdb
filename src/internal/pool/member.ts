/**
 * One process of a pool: it is started and ready in time, or nothing is left of it; and once it has been told to finish,
 * it has ended in time.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as ExitStatus from "../../ExitStatus.ts"
import { ProcessStartError, ReadyTimeoutError } from "../../PoolError.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import { logError, logWarning } from "../logging.ts"
import { forkHereIn, monotonicMillis } from "../seam.ts"
import type { Answer, RecycleReason, Retirement } from "../wire/control.ts"
import * as heartbeat from "./heartbeat.ts"
import * as locks from "./locks.ts"
import type { Running, Slot } from "./slot.ts"
import { describe, nameOf } from "./slot.ts"

export interface MemberOptions {
  /** The scope of the pool. */
  readonly scope: Scope.Scope
  readonly readyTimeout: Duration.Duration
  readonly stopTimeout: Duration.Duration
  /** Completes when whoever stops the pool will not wait any longer. */
  readonly hastened: Effect.Effect<void>
  /** How long a process may take to end after that before it gets SIGKILL. */
  readonly hastenTimeout: Duration.Duration
  /** For how long a process that serves may say nothing. */
  readonly heartbeat: Option.Option<Duration.Duration>
  /** What is to be done when a process asks to be replaced. */
  readonly recycle: (running: Running, reason: RecycleReason) => Effect.Effect<void>
  /** Whose turn it is among those that run something of which there may be one. */
  readonly hold?: locks.Hold | undefined
  readonly publish: (event: PoolEvent) => Effect.Effect<void>
}

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
    readonly onExit: (running: Running, status: ExitStatus.ExitStatus) => Effect.Effect<void>
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
        told: yield* Deferred.make<void>(),
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
        Effect.ensuring(Deferred.succeed(running.told, void 0)),
        Effect.flatMap((status) => onExit(running, status)),
        forkHereIn(options.scope)
      )
    })
  )

/** Hears what a process has to say, and ends one that serves and says nothing any more. */
const attend = (options: MemberOptions, running: Running): Effect.Effect<void> => {
  const { member, slot: { spec } } = running
  const watch = spec.serves ? Option.map(options.heartbeat, heartbeat.make) : Option.none()
  const take = options.hold === undefined ? () => Effect.void : locks.make(options.hold, running)
  const hear = (answer: Answer): Effect.Effect<unknown> => {
    switch (answer._tag) {
      case "Heartbeat":
        return Effect.sync(() => Option.map(watch, ({ hear }) => hear(answer)))
      case "Recycle":
        return spec.serves
          ? options.recycle(running, answer.reason).pipe(Effect.interruptible, Effect.forkIn(options.scope))
          : Effect.void
      default:
        return take(answer)
    }
  }
  const kill = Effect.gen(function*() {
    // Whoever retires it waits no longer than it should.
    if (running.retiredAt !== undefined) return
    yield* options.publish(PoolEvent.Unresponsive(nameOf(running)))
    yield* logError(
      `The event loop of the ${describe(spec)} (process ${member.pid}) has stood still for ${
        Option.match(options.heartbeat, { onNone: () => "too long", onSome: Duration.format })
      }; the process is killed`
    )
    yield* member.signal("SIGKILL")
  })
  return Effect.all([
    member.forEachAnswer((answer) => Effect.asVoid(hear(answer))),
    Option.match(watch, { onNone: () => Effect.void, onSome: ({ missing }) => Effect.zipRight(missing, kill) })
  ], { concurrency: "unbounded", discard: true })
}

const placeOf = ({ spec: { index, name } }: Slot) => ({ name, index })

/** Lets a process finish, and ends it if that takes too long. Tells whether it had to be killed. */
export const retire = (options: MemberOptions, running: Running, why: Retirement): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    const { member } = running
    const hadEnded = running.status !== undefined
    yield* options.publish(PoolEvent.Retired(nameOf(running)))
    yield* member.retire(why)
    const patience = Effect.raceFirst(
      Effect.as(Effect.sleep(options.stopTimeout), options.stopTimeout),
      Effect.as(Effect.zipRight(options.hastened, Effect.sleep(options.hastenTimeout)), options.hastenTimeout)
    )
    const over = yield* Effect.raceFirst(
      // Whoever waits for it tells of all that have ended.
      Effect.as(Effect.zipRight(member.exit, Deferred.await(running.told)), Option.none<Duration.Duration>()),
      Effect.asSome(patience)
    ).pipe(Effect.interruptible)
    if (Option.isNone(over)) {
      if (!hadEnded) yield* tellDeath(running)
      return false
    }
    yield* options.publish(PoolEvent.Killed(nameOf(running)))
    yield* logWarning(
      `The ${describe(running.slot.spec)} (process ${member.pid}) has not ended within ${
        Duration.format(over.value)
      } and is killed`
    )
    yield* member.signal("SIGKILL")
    yield* Effect.timeoutOption(
      Effect.interruptible(Effect.zipRight(member.exit, Deferred.await(running.told))),
      killDelay
    )
    return true
  })

/** What it was serving has ended with it. One that exits by itself, with whichever code, has said why. */
const tellDeath = ({ member, slot: { spec }, status }: Running): Effect.Effect<void> =>
  spec.serves && status?._tag === "Killed"
    ? logWarning(
      `The ${describe(spec)} (process ${member.pid}) ${
        ExitStatus.describe(status)
      } while it was finishing; what it still served is lost`
    )
    : Effect.void

/** Only a process that the kernel cannot end (waiting for a broken disk, say) outlives SIGKILL by that much. */
const killDelay = Duration.seconds(10)
