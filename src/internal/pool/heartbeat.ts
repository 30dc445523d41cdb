/**
 * Whether the event loop of a process still turns.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Answer } from "../wire/control.ts"

type Beat = Extract<Answer, { readonly _tag: "Heartbeat" }>

/**
 * In how many parts the time is counted. A pool that has itself stood still (a suspended machine, a frozen container)
 * counts one part for all of it, and hears in the next what its processes have to say.
 */
const parts = 10

/** How often a process is to be heard. */
export const interval = (timeout: Duration.Duration): Duration.Duration =>
  Duration.min(Duration.seconds(1), Duration.times(timeout, 1 / (2 * parts)))

export interface Heartbeat {
  readonly hear: (beat: Beat) => void
  /** Completes when a process that has been heard says nothing for that long. */
  readonly missing: Effect.Effect<void>
}

export const make = (timeout: Duration.Duration): Heartbeat => {
  // One that is of a release without heartbeats is not missed.
  let isExpected = false
  let missed = 0
  const count = Effect.sync(() => {
    missed += 1
    return isExpected && missed > parts
  })
  return {
    hear: ({ debugged }) => {
      missed = 0
      isExpected = !debugged
    },
    missing: Effect.delay(count, Duration.times(timeout, 1 / parts)).pipe(
      Effect.repeat({ until: (isMissing) => isMissing }),
      Effect.asVoid
    )
  }
}
