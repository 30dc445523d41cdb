/**
 * What follows the end of a process that nobody had told to finish: another is started, or its place is given up.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExitStatus from "../../ExitStatus.ts"
import type { PoolError, ProcessStartError } from "../../PoolError.ts"
import { ProcessEndedError, RestartsExhaustedError } from "../../PoolError.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import { logFailure, logWarning, warnOfFailure } from "../logging.ts"
import { monotonicMillis } from "../seam.ts"
import type { MemberOptions } from "./member.ts"
import { launch } from "./member.ts"
import type { PoolOptions } from "./options.ts"
import { hasFailed, hasMadeRoom, isStartedAgain, statusOf } from "./policy.ts"
import type { Roster } from "./roster.ts"
import { endIfDone } from "./roster.ts"
import type { Running, Slot } from "./slot.ts"
import { current, describe, enter, isDone, serve } from "./slot.ts"

export interface Keeper {
  /** Starts a process in a slot, and sees to what follows its end. */
  readonly launch: (slot: Slot, how: {
    readonly generation: number
    /** Completes when what was in this slot has ended. */
    readonly predecessor: Effect.Effect<unknown>
    readonly onReady: (running: Running) => Effect.Effect<void>
  }) => Effect.Effect<void, ProcessStartError>
  readonly onExit: (running: Running, status: ExitStatus.ExitStatus) => Effect.Effect<void>
  /** What was in this slot has been told to finish, and the next one has not come up. Tells whether it is started again. */
  readonly onLaunchFailed: (slot: Slot, error: ProcessStartError) => Effect.Effect<boolean>
}

export const make = (options: PoolOptions, member: MemberOptions, roster: Roster): Keeper => {
  const { publish } = options

  const launchInto: Keeper["launch"] = (slot, { generation, onReady, predecessor }) =>
    launch(member, {
      slot,
      size: roster.workers.length,
      generation,
      olderGone: Effect.zipRight(predecessor, options.olderGone),
      onReady,
      onExit
    })

  const onExit: Keeper["onExit"] = (running, status) =>
    Effect.gen(function*() {
      const { slot } = running
      // One that has no place yet is noticed by whoever was about to give it one.
      if (running.retiredAt !== undefined || roster.phase === "Stopping" || current(slot) !== running) return
      if (!isStartedAgain(slot.spec, status)) return yield* leave(running, status)
      const lived = Duration.millis((yield* monotonicMillis) - running.begunAt)
      if (hasMadeRoom(slot.spec, status, lived)) return yield* keepUp(slot, status, "at once")
      yield* logWarning(
        `The ${describe(slot.spec)} (process ${running.member.pid}) ${ExitStatus.describe(status)}; starting it again`
      )
      if (Duration.greaterThanOrEqualTo(lived, options.healthyAfter)) yield* slot.driver.reset
      yield* keepUp(slot, status, "by schedule")
    })

  const leave = Effect.fnUntraced(function*({ member, slot }: Running, status: ExitStatus.ExitStatus) {
    const failed = hasFailed(status)
    yield* giveUp(slot, failed ? new ProcessEndedError({ process: describe(slot.spec), status }) : undefined)
    const left = roster.workers.filter((slot) => !isDone(slot)).length
    if (slot.spec.revives !== true || failed || left === 0) return
    yield* logWarning(
      `The ${describe(slot.spec)} (process ${member.pid}) ${
        ExitStatus.describe(status)
      } and is not started again; ${left} process(es) go on`
    )
  })

  /** Nothing is started in this slot any more. */
  const giveUp = Effect.fnUntraced(function*(slot: Slot, error: PoolError | undefined) {
    yield* enter(slot, { _tag: "Done" })
    if (error !== undefined && slot.spec.fatal) {
      yield* Deferred.fail(roster.done, error)
    } else {
      if (error !== undefined) yield* logFailure(error)
      yield* endIfDone(roster)
    }
  })

  /** Starts the process of a slot again, as often as the schedule allows. */
  const keepUp = Effect.fnUntraced(
    function*(slot: Slot, status: ExitStatus.ExitStatus, first: "at once" | "by schedule") {
      const launchAgain: Effect.Effect<void> = Effect.suspend(() => {
        slot.restarts += 1
        return Effect.catchAll(
          launchInto(slot, { generation: roster.generation, predecessor: Effect.void, onReady: serve }),
          (error) =>
            warnOfFailure(error).pipe(
              Effect.zipRight(publish(PoolEvent.StartFailed({ ...slot.spec, error }))),
              Effect.zipRight(again(statusOf(error)))
            )
        )
      })
      const again = (last: ExitStatus.ExitStatus): Effect.Effect<void> =>
        Effect.matchEffect(slot.driver.next(last), {
          onFailure: () =>
            giveUp(
              slot,
              new RestartsExhaustedError({ process: describe(slot.spec), restarts: slot.restarts, status: last })
            ),
          onSuccess: () => launchAgain
        })
      // It takes the slot when it serves, so it may begin only when the slot is its own.
      const isKept = yield* Deferred.make<void>()
      const keeper = yield* Deferred.await(isKept).pipe(
        Effect.zipRight(first === "at once" ? launchAgain : again(status)),
        Effect.interruptible,
        Effect.forkIn(member.scope)
      )
      yield* enter(slot, { _tag: "Restarting", keeper })
      yield* Deferred.succeed(isKept, void 0)
    }
  )

  const onLaunchFailed: Keeper["onLaunchFailed"] = (slot, error) =>
    Effect.suspend(() => {
      const status = statusOf(error)
      const isKept = isStartedAgain(slot.spec, status)
      if (roster.phase === "Stopping") return Effect.succeed(false)
      return Effect.as(isKept ? keepUp(slot, status, "by schedule") : giveUp(slot, error), isKept)
    })

  return { launch: launchInto, onExit, onLaunchFailed }
}
