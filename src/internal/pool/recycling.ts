/**
 * A process that asks to be replaced: the new one is ready first, then the old one finishes. One at a time, so that a
 * pool has one process more than its size at most.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExitStatus from "../../ExitStatus.ts"
import type { ProcessStartError } from "../../PoolError.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import type { TerminatingError } from "../../TableflipError.ts"
import { logWarning, warnOfFailure } from "../logging.ts"
import { type Driver, driver, monotonicMillis } from "../seam.ts"
import type { RecycleReason } from "../wire/control.ts"
import type { PoolOptions } from "./options.ts"
import { inGoodOrderAfter, statusOf } from "./policy.ts"
import type { Replacement } from "./replacement.ts"
import type { Roster } from "./roster.ts"
import type { Running, Slot } from "./slot.ts"
import { current, describe, nameOf } from "./slot.ts"

export type Recycle = (running: Running, reason: RecycleReason) => Effect.Effect<void>

const inOrder = ExitStatus.Exited({ code: 0 })

export const make = (
  options: PoolOptions,
  roster: Roster,
  launchAll: Replacement["launchAll"],
  command: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | TerminatingError>
): Recycle => {
  const one = Effect.unsafeMakeSemaphore(1)
  const asked = new WeakSet<Running>()
  const drivers = new WeakMap<Slot, Driver<ExitStatus.ExitStatus>>()

  const driverOf = (slot: Slot) => {
    const known = drivers.get(slot)
    return known !== undefined ? Effect.succeed(known) : Effect.map(driver(options.restart), (made) => {
      drivers.set(slot, made)
      return made
    })
  }

  /** Others may have replaced it or taken it away by the time its turn comes. The turn is not held while it drains. */
  const replace = (running: Running) => {
    const { slot } = running
    const launch = Effect.suspend(() =>
      current(slot) === running ? launchAll([slot], roster.generation, () => {}) : Effect.succeed(Effect.void)
    )
    return one.withPermits(1)(Effect.flatten(command(launch)))
  }

  return Effect.fnUntraced(function*(running, reason) {
    if (asked.has(running)) return
    asked.add(running)
    const { begunAt, member, slot } = running
    yield* options.publish(PoolEvent.RecycleRequested({ ...nameOf(running), reason }))
    const { next, reset } = yield* driverOf(slot)
    const giveUp = logWarning(
      `The ${
        describe(slot.spec)
      } (process ${member.pid}) is not recycled, because the restart schedule is exhausted; ` +
        "it serves on"
    )
    const inTime = (status: ExitStatus.ExitStatus, effect: Effect.Effect<void>) =>
      Effect.matchEffect(next(status), { onFailure: () => giveUp, onSuccess: () => effect })
    const failed = (error: ProcessStartError) =>
      warnOfFailure(error, `${error.message} Process ${member.pid} serves on, and is recycled later`).pipe(
        Effect.zipRight(options.publish(PoolEvent.StartFailed({ ...slot.spec, error }))),
        Effect.zipRight(inTime(statusOf(error), attempt))
      )
    const attempt: Effect.Effect<void> = Effect.suspend(() => replace(running)).pipe(
      Effect.catchTag("TerminatingError", () => Effect.void),
      Effect.catchTag("ProcessStartError", failed)
    )
    const lived = Duration.millis((yield* monotonicMillis) - begunAt)
    // A program that asks as soon as it serves would have the pool do nothing else.
    if (Duration.lessThan(lived, inGoodOrderAfter)) return yield* inTime(inOrder, attempt)
    yield* reset
    yield* attempt
  })
}
