/** A tracer that keeps what it is told. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

export interface Seen {
  readonly name: string
  readonly spanId: string
  readonly traceId: string
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly attributes: Map<string, unknown>
  exit: Exit.Exit<unknown, unknown> | undefined
}

/** Runs an effect and what it starts with such a tracer; `seen` grows as spans begin. */
export const traced = (seen: Array<Seen>) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withTracer(
    effect,
    Tracer.make({
      span: (name, parent, context, links, startTime, kind) => {
        const own: Seen = {
          name,
          spanId: `00000000000000${(seen.length + 16).toString(16)}`.slice(-16),
          traceId: parent._tag === "Some" ? parent.value.traceId : "0123456789abcdef0123456789abcdef",
          parent,
          attributes: new Map(),
          exit: undefined
        }
        seen.push(own)
        return {
          ...own,
          _tag: "Span",
          context: context ?? Context.empty(),
          status: { _tag: "Started", startTime },
          attributes: own.attributes,
          links,
          kind,
          sampled: true,
          end: (_, exit) => {
            own.exit = exit
          },
          attribute: (key, value) => {
            own.attributes.set(key, value)
          },
          event: () => {},
          addLinks: () => {}
        }
      },
      context: (run) => run()
    })
  )
