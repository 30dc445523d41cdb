/**
 * Which signal told this process to stop. `NodeRuntime.runMain` hears SIGTERM and SIGINT too, and may have begun to release
 * everything by the time a fiber of ours gets to know; so what has come is also kept where it can be looked up at once.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { Env } from "../Env.ts"

export interface StopSignals {
  /** Completes with the first one. */
  readonly first: Effect.Effect<NodeJS.Signals>
  /** The one that has come. */
  readonly seen: Effect.Effect<Option.Option<NodeJS.Signals>>
}

export const listen: (
  env: Env["Type"],
  signals: ReadonlyArray<NodeJS.Signals>
) => Effect.Effect<StopSignals, never, Scope.Scope> = Effect.fnUntraced(function*(env, signals) {
  const awaited = yield* Effect.forEach(signals, env.signals)
  const kept = yield* Effect.forEach(signals, env.signals)
  let seen = Option.none<NodeJS.Signals>()
  let isOver = false
  const look = Effect.map(Effect.forEach(kept, Queue.poll), (polled) => {
    seen = Option.orElse(seen, () => Option.firstSomeOf(polled))
    return seen
  })
  yield* Effect.addFinalizer(() => Effect.zipRight(look, Effect.sync(() => isOver = true)))
  return {
    first: Effect.raceAll([Effect.never, ...awaited.map(Queue.take)]),
    seen: Effect.suspend(() => isOver ? Effect.succeed(seen) : look)
  }
})
