/**
 * Hearing events to the last one.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { drain } from "../seam.ts"

/** Handles each event as it comes; what is given handles those that have not been taken when everything ends. */
export const hear = <A>(
  events: Queue.Dequeue<A>,
  handle: (event: A) => Effect.Effect<unknown>
): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
  Effect.as(
    Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.flatMap(Queue.take(events), handle)))),
    Effect.flatMap(drain(events), Effect.forEach(handle, { discard: true }))
  )
