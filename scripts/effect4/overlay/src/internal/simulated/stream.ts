/**
 * A queue that ends.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"

export type Stream<A> = Queue.Queue<A, Cause.Done>
export const stream = <A>(): Effect.Effect<Stream<A>> => Queue.make<A, Cause.Done>()
export const take = <A>(self: Queue.Dequeue<A, Cause.Done>): Effect.Effect<A, unknown> => Queue.take(self)
export const end = <A>(self: Stream<A>): Effect.Effect<boolean> => Queue.end(self)
export const offerUnsafe = <A>(self: Stream<A>, value: A): boolean => Queue.offerUnsafe(self, value as any)
