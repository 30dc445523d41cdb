/**
 * The signals that stop a program, as they come.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

/**
 * One press of Ctrl-C can arrive twice: from the terminal, and from a wrapper such as npm or the leader of the group. A stop
 * signal that comes within this time after another is the same one.
 */
export const samePress: Duration.Duration = Duration.seconds(1)

export interface StopSignals {
  /** Completes with the first one. */
  readonly first: Effect.Effect<NodeJS.Signals>
  /** The one that has come. */
  readonly seen: Effect.Effect<Option.Option<NodeJS.Signals>>
}

interface Source {
  readonly signals: (signal: NodeJS.Signals) => Effect.Effect<Queue.Dequeue<NodeJS.Signals>, never, Scope.Scope>
}

/**
 * Which signal told this process to stop. `NodeRuntime.runMain` hears SIGTERM and SIGINT too, and may have begun to release
 * everything by the time a fiber of ours gets to know; so what has come is also kept where it can be looked up at once.
 */
export const listen: (
  env: Source,
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
