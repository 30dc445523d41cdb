/**
 * An unbounded queue with an end, for one reader. It is what `effect/Mailbox` is, without the streams which that one
 * loads: they would double what importing the upgrader adds to the start of every process.
 *
 * @internal
 */
import { NoSuchElementException } from "effect/Cause"
import * as Effect from "effect/Effect"

export interface Inbox<A> {
  /** False once the inbox has ended. */
  readonly unsafeOffer: (item: A) => boolean
  readonly unsafeEnd: () => void
  readonly offer: (item: A) => Effect.Effect<boolean>
  readonly end: Effect.Effect<void>
  /** The next item; fails when there will be no more. A reader that is interrupted while it waits takes nothing. */
  readonly take: Effect.Effect<A, NoSuchElementException>
}

export const make = <A>(): Inbox<A> => {
  const items: Array<A> = []
  let ended = false
  const waiting = new Set<() => void>()

  const wakeAll = () => {
    for (const wake of waiting) wake()
    waiting.clear()
  }

  const unsafeOffer = (item: A) => {
    if (ended) return false
    items.push(item)
    wakeAll()
    return true
  }

  const unsafeEnd = () => {
    ended = true
    wakeAll()
  }

  const change = Effect.async<void>((resume) => {
    const wake = () => resume(Effect.void)
    waiting.add(wake)
    return Effect.sync(() => waiting.delete(wake))
  })

  const take: Inbox<A>["take"] = Effect.suspend(() =>
    items.length > 0
      ? Effect.succeed(items.shift()!)
      : ended
      ? Effect.fail(new NoSuchElementException())
      : Effect.zipRight(change, take)
  )

  return {
    unsafeOffer,
    unsafeEnd,
    offer: (item) => Effect.sync(() => unsafeOffer(item)),
    end: Effect.sync(unsafeEnd),
    take
  }
}
