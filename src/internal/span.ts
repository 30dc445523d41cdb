/**
 * Spans around what can fail. They are not put into the context: there Effect would wrap each error to remember its span, and
 * callers compare what they get.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"

export interface SpanOptions {
  readonly parent?: Tracer.AnySpan | undefined
  readonly attributes?: Record<string, unknown> | undefined
}

export const within = <A, E, R>(
  name: string,
  options: SpanOptions,
  use: (span: Tracer.Span) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.makeSpan(name, options),
    use,
    (span, exit) => Effect.map(Clock.currentTimeNanos, (now) => span.end(now, exit))
  )
