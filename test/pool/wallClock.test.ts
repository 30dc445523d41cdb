/**
 * A wall clock that is set, by a person or by NTP, while processes are restarted.
 */
import { assert, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { restartSchedule } from "../../src/internal/pool/restartSchedule.ts"
import { driver } from "../../src/internal/seam.ts"

const { now } = Date
const setBy = (hours: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      Date.now = () => now() + hours * 3_600_000
    }),
    () =>
      Effect.sync(() => {
        Date.now = now
      })
  )

it.live("a wall clock that is set does not change how many restarts there have been", () =>
  Effect.forEach([1, -1], (hours) =>
    Effect.gen(function*() {
      const limits = { delay: Duration.millis(1), maxDelay: Duration.millis(1) }
      const { next } = yield* driver(restartSchedule({ ...limits, limit: { count: 3, within: Duration.minutes(1) } }))
      yield* next(undefined)
      yield* next(undefined)
      yield* setBy(hours)
      yield* next(undefined)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(next(undefined))), `set by ${hours} h`)
    }).pipe(Effect.scoped)))
