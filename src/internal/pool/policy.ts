/**
 * What the end of a process means for its pool.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExitStatus from "../../ExitStatus.ts"
import { ProcessStartError } from "../../PoolError.ts"
import { ChildExitedError } from "../../TableflipError.ts"
import type { Running, SlotSpec } from "./slot.ts"
import { describe } from "./slot.ts"

export const hasFailed = (status: ExitStatus.ExitStatus): boolean => status._tag === "Killed" || status.code !== 0

export const isStartedAgain = ({ givesUp, restart }: SlotSpec, status: ExitStatus.ExitStatus): boolean =>
  (restart === "always" || (restart === "on-failure" && hasFailed(status))) && givesUp?.(status) !== true

/** One that ends sooner than that after it was ready is no better than one that crashes: the next would do the same. */
export const inGoodOrderAfter = Duration.seconds(1)

/** Whether a process has only made room for the next. */
export const hasMadeRoom = ({ serves }: SlotSpec, status: ExitStatus.ExitStatus, lived: Duration.Duration): boolean =>
  serves && !hasFailed(status) && Duration.greaterThanOrEqualTo(lived, inGoodOrderAfter)

/** The status of a process that has not come up, as the restart schedule sees it. */
export const statusOf = ({ cause }: ProcessStartError): ExitStatus.ExitStatus =>
  cause._tag === "ChildExitedError" ? cause.status : ExitStatus.Exited({ code: 1 })

/** Fails if one has said that it is ready and has ended since, unless its end is one that the pool leaves it at. */
export const noneHasEnded = (fresh: ReadonlyArray<Running>): Effect.Effect<void, ProcessStartError> =>
  Effect.forEach(
    fresh,
    ({ member, slot: { spec }, status }) =>
      status === undefined || !(isStartedAgain(spec, status) || (spec.fatal && hasFailed(status)))
        ? Effect.void
        : Effect.fail(
          new ProcessStartError({
            process: describe(spec),
            cause: new ChildExitedError({ pid: member.pid, status, ready: true })
          })
        ),
    { discard: true }
  )
