import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { vi } from "vitest"
import { layer } from "../../src/Env.ts"
import { Env } from "../../src/internal/system/env.ts"

/** Whoever wants to end this process, and the timers that are set meanwhile. */
const watched = Effect.acquireRelease(
  Effect.sync(() => ({
    exit: vi.spyOn(process, "exit").mockImplementation((() => {}) as never),
    timers: vi.spyOn(globalThis, "setTimeout")
  })),
  ({ exit, timers }) =>
    Effect.sync(() => {
      exit.mockRestore()
      timers.mockRestore()
    })
)

const longest = 2 ** 31 - 1

describe.sequential("the end of a process for sure", () => {
  it.scopedLive("comes although its last words cannot be said", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { exit } = yield* watched
      yield* env.endWithin(Duration.millis(1), () => Effect.die("the disk of the log is full"))
      yield* Effect.repeat(Effect.sleep("1 millis"), { until: () => exit.mock.calls.length > 0 })
    }).pipe(Effect.provide(layer), Effect.timeout("5 seconds")))

  it.scopedLive("is not at once when it is far away, and never when that is asked for", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { timers } = yield* watched
      yield* env.endWithin(Duration.days(60), () => Effect.void)
      assert.isTrue(timers.mock.calls.some(([, delay]) => delay === longest))
      timers.mockClear()
      yield* env.endWithin(Duration.infinity, () => Effect.void)
      assert.deepStrictEqual(timers.mock.calls.filter(([, delay]) => delay !== undefined && delay > 1000), [])
    }).pipe(Effect.provide(layer)))
})
