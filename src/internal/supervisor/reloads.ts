/**
 * What all ways to ask for a reload have in common.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { ReplaceError } from "../../PoolError.ts"
import type { NotReadyError, TerminatingError } from "../../TableflipError.ts"
import { logFailure } from "../logging.ts"
import * as seam from "../seam.ts"

export type Failure = NotReadyError | ReplaceError | TerminatingError

/** While one runs, one more waits for its turn, and whoever asks for yet another gets that one. It must end by itself. */
export const oneBehind = <E>(run: Effect.Effect<void, E>): Effect.Effect<void, E> => {
  let waiting: Deferred.Deferred<void, E> | undefined
  const turn = Effect.unsafeMakeSemaphore(1)
  const join = Effect.gen(function*() {
    if (waiting !== undefined) return waiting
    const mine = yield* Deferred.make<void, E>()
    waiting = mine
    const begin = Effect.sync(() => {
      waiting = undefined
    })
    yield* Effect.zipRight(begin, run).pipe(turn.withPermits(1), Effect.intoDeferred(mine), seam.forkToTheEnd)
    return mine
  })
  return Effect.flatMap(Effect.uninterruptible(join), Deferred.await)
}

export const logFailed = (error: Failure): Effect.Effect<void> =>
  Effect.annotateLogs(logFailure(error, `The reload has failed. ${error.message}`), { event: "ReloadFailed" })
