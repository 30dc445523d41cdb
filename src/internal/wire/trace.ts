/**
 * The span in which an upgrade began, as it goes along with the state: one trace covers both processes.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { State } from "./handOff.ts"

const stateName = "traceparent"

/** https://www.w3.org/TR/trace-context/#traceparent-header */
export const encode = ({ sampled, spanId, traceId }: Tracer.AnySpan): readonly [name: string, value: Uint8Array] => [
  stateName,
  new TextEncoder().encode(`00-${traceId}-${spanId}-${sampled ? "01" : "00"}`)
]

/** What is none is left alone. */
export const decode = (state: State): Option.Option<Tracer.ExternalSpan> => {
  const text = new TextDecoder().decode(state.get(stateName))
  const [, traceId, spanId, sampled] = /^00-([0-9a-f]{16,32})-([0-9a-f]{16})-0([01])$/.exec(text) ?? []
  return traceId === undefined || spanId === undefined
    ? Option.none()
    : Option.some(Tracer.externalSpan({ traceId, spanId, sampled: sampled === "1" }))
}
