/**
 * Events as a `Stream`. A module of its own, because `effect/Stream` is more than an upgrade needs at its start.
 *
 * @since 4.0.0
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * Who tells what happens: an `Upgrader`, `Workers` or a `Supervisor`.
 *
 * @since 4.0.0
 * @category models
 */
export interface Source<A> {
  readonly events: Effect.Effect<Queue.Dequeue<A>, never, Scope.Scope>
}

/**
 * What happens from the moment at which the stream is run. It ends with the service, and what has not been taken by
 * then is lost; before that, the newest 1024 are kept.
 *
 * @since 4.0.0
 * @category constructors
 */
export const from = <A>({ events }: Source<A>): Stream.Stream<A> =>
  Stream.unwrap(Effect.map(events, (queue) =>
    // One that is shut down ends its stream on Effect 3, and interrupts it here.
    Stream.catchCause(
      Stream.fromQueue(queue),
      (cause) => Cause.hasInterruptsOnly(cause) ? Stream.empty : Stream.failCause(cause)
    )))
