/**
 * Looking at connections again and again, however many there are: some of them in each turn of the event loop, so that those
 * who are served do not wait, and a rest after each round that is in proportion to its work.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Visit, Walk } from "./connections.ts"

/** Milliseconds from one round to the next: the precision of every limit but the deadline. */
const shortestRest = 50

/** So many times longer than a round takes. */
const restPerWork = 9

/** What has come meanwhile is read first. */
export const nextTurn: Effect.Effect<void> = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** Goes all the way, a step in each turn of the event loop. Gives the milliseconds that this has worked. */
export const walk = (
  start: () => Walk,
  /** Called at the begin of each turn. */
  look: () => void,
  visit: Visit
): Effect.Effect<number> =>
  Effect.suspend(() => {
    const { step } = start()
    let work = 0
    const turn: Effect.Effect<number> = Effect.suspend(() => {
      const from = performance.now()
      look()
      const isMore = step(visit)
      work += performance.now() - from
      return isMore ? Effect.zipRight(nextTurn, turn) : Effect.succeed(work)
    })
    return turn
  })

/** Milliseconds until the next round, after one that has worked for so long. */
export const restAfter = (work: number): number => Math.max(shortestRest, work * restPerWork)

export const pause = (millis: number): Effect.Effect<void> => Effect.zipRight(Effect.sleep(millis), nextTurn)
