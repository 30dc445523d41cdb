/**
 * Running something until something else happens.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { forkHere, inheritAll } from "./seam.ts"

/**
 * Runs the effect until it ends, or until the other one completes, which then gives the result. Whatever ends it, an
 * interruption from outside too, this is over only when the effect has released all that it had. (`Effect.raceFirst` that
 * is interrupted goes on to the finalizers around it while those of its sides still run.)
 */
export const runUntil = <A, E, R, B, R2>(
  effect: Effect.Effect<A, E, R>,
  end: Effect.Effect<B, never, R2>
): Effect.Effect<A | B, E, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      let ended = Option.none<B>()
      const fiber = yield* forkHere(restore(effect))
      const watcher = yield* restore(end).pipe(
        Effect.flatMap((reason) => {
          ended = Option.some(reason)
          return Fiber.interruptFork(fiber)
        }),
        forkHere
      )
      const exit = yield* restore(Fiber.await(fiber)).pipe(
        Effect.onInterrupt(() => Fiber.interrupt(fiber)),
        Effect.ensuring(Fiber.interrupt(watcher))
      )
      if (Option.isSome(ended) && Exit.isInterrupted(exit)) return ended.value
      yield* inheritAll(fiber)
      return yield* exit
    })
  )
