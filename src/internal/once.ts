/**
 * What is done once, however many ask for it.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { forkApart } from "./seam.ts"

/** Begins when it is asked for first. Whoever asks later waits for the same, and nobody's impatience stops it. */
export const once = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Effect.Effect<A, E>> =>
  Effect.map(Deferred.make<A, E>(), (result) => {
    let started = false
    const start = Effect.suspend(() => {
      if (started) return Effect.void
      started = true
      return forkApart(Effect.interruptible(Effect.intoDeferred(effect, result)))
    })
    return Effect.uninterruptibleMask((restore) => Effect.zipRight(start, restore(Deferred.await(result))))
  })
