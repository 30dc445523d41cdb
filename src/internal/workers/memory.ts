/**
 * A process that has grown too large asks for a new one in its place.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { logInfo, logWarning } from "../logging.ts"

export interface MemoryLimit {
  /** Bytes of resident memory. */
  readonly maxMemory: number
  /** By which part of it the limit of a process is lower at most, as chance will have it. */
  readonly jitter: number
}

const interval = "1 second"

const inMiB = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

/** Asks once. A process that is too large before it has done anything is left as it is: the next would be no smaller. */
export const watch = Effect.fnUntraced(function*({ jitter, maxMemory }: MemoryLimit, { ask, ready, resident }: {
  readonly resident: Effect.Effect<number>
  readonly ready: Effect.Effect<void>
  readonly ask: Effect.Effect<void>
}) {
  const limit = maxMemory * (1 - jitter * (yield* Random.next))
  yield* ready
  const first = yield* resident
  if (first > limit) {
    return yield* logWarning(
      `A process that has just become ready has ${inMiB(first)} of resident memory, which is above its limit of ${
        inMiB(limit)
      }, so it is not recycled; raise recycle.maxMemory`
    )
  }
  const size = yield* Effect.delay(resident, interval).pipe(Effect.repeat({ until: (size) => size > limit }))
  yield* logInfo(`Resident memory has grown to ${inMiB(size)}, above ${inMiB(limit)}; asking to be recycled`)
  yield* ask
})
