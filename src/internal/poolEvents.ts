/**
 * Where the events of a pool are told.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type { PoolEvent } from "../PoolEvent.ts"

export const make = Effect.map(
  Effect.acquireRelease(PubSub.unbounded<PoolEvent>(), PubSub.shutdown),
  (events) => ({
    publish: (event: PoolEvent) => Effect.asVoid(PubSub.publish(events, event)),
    events: PubSub.subscribe(events)
  })
)
