/**
 * When a command that has ended is started again.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import { scheduleOf } from "../seam.ts"

export interface RestartLimits {
  /** The pause before the first restart. It doubles with each further one. */
  readonly delay: Duration.Duration
  /** The longest pause. */
  readonly maxDelay: Duration.Duration
  /** How many restarts there may be within how long. */
  readonly limit?: { readonly count: number; readonly within: Duration.Duration } | undefined
}

interface State {
  /** When a restart was decided on, in milliseconds; only those that count. */
  readonly restarts: ReadonlyArray<number>
  readonly last: number
  readonly pause: number
}

/** A command that has lived this many of its pauses is taken for well again, and the next pause is short. */
const wellAfter = 2
const wellAfterAtLeast = 5_000

/** Pauses that double, up to a ceiling, and an end where there are too many restarts within a time. */
export const restartSchedule = ({ delay, limit, maxDelay }: RestartLimits): Schedule.Schedule<unknown, unknown> => {
  const shortest = Duration.toMillis(delay)
  const longest = Duration.toMillis(maxDelay)
  const initial: State = { restarts: [], last: Number.NEGATIVE_INFINITY, pause: 0 }
  return scheduleOf(initial, (now, state) => {
    const since = limit === undefined ? now : now - Duration.toMillis(limit.within)
    const restarts = state.restarts.filter((at) => at > since)
    if (limit !== undefined && restarts.length >= limit.count) return undefined
    const isWell = now - state.last >= Math.max(wellAfterAtLeast, wellAfter * state.pause) + state.pause
    const pause = Math.min(longest, isWell ? shortest : Math.max(shortest, state.pause * 2))
    return [{ restarts: limit === undefined ? [] : [...restarts, now], last: now, pause }, pause]
  })
}

/** Of a worker: pauses that double up to 30 seconds, for ever. */
export const defaultRestart: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.modifyDelay((_, delay) => Duration.min(delay, "30 seconds")),
  Schedule.jittered
)
