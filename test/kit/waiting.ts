/** Waiting for what can only be looked at. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/** Until the streams of this process have been read: what others had written by now has arrived. */
export const settled: Effect.Effect<void> = Effect.async((resume) => {
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

/**
 * Polls until the value is there; dies with a description of what was seen if it does not come. What other processes had
 * written by then has been read when this goes on.
 */
export const eventually = <A>(
  what: string,
  look: () => A | undefined | false,
  options: { readonly within?: Duration.DurationInput; readonly seen?: () => string } = {}
): Effect.Effect<A> =>
  Effect.suspend(() => {
    let found: A | undefined | false
    const poll = Effect.sync(() => {
      found = look()
      return found !== undefined && found !== false
    })
    return Effect.as(
      Effect.repeat(poll, { until: (isThere) => isThere, schedule: Schedule.spaced("5 millis") }),
      Effect.sync(() => found as A)
    )
  }).pipe(
    Effect.flatten,
    Effect.tap(settled),
    Effect.timeoutFailCause({
      duration: options.within ?? "15 seconds",
      onTimeout: () => Cause.die(new Error(`waited in vain for ${what}\n${options.seen?.() ?? ""}`))
    })
  )

/** The same for a condition. */
export const until = (what: string, condition: () => boolean): Effect.Effect<void> =>
  Effect.asVoid(eventually(what, condition))
