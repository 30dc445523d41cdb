/**
 * A queue that ends. It is not in the seam of all: `effect/Mailbox` brings all of `effect/Stream` along.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import * as Mailbox from "effect/Mailbox"

export type Stream<A> = Mailbox.Mailbox<A>
export const stream = <A>(): Effect.Effect<Stream<A>> => Mailbox.make<A>()
export const take = <A>(self: Mailbox.ReadonlyMailbox<A>): Effect.Effect<A, unknown> => self.take
export const end = <A>(self: Stream<A>): Effect.Effect<boolean> => self.end
export const offerUnsafe = <A>(self: Stream<A>, value: A): boolean => self.unsafeOffer(value)
