/**
 * Who is in a pool, and whether all of them have done their work.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { PoolError } from "../../PoolError.ts"
import type { Slot } from "./slot.ts"
import { isDone } from "./slot.ts"

export interface Roster {
  workers: Array<Slot>
  others: Array<Slot>
  /** Of the newest processes. */
  generation: number
  phase: "New" | "Started" | "Stopping"
  /** Completes when every worker has done its work, and fails when the pool cannot go on. */
  readonly done: Deferred.Deferred<void, PoolError>
}

export const make = (generation: number): Effect.Effect<Roster> =>
  Effect.map(Deferred.make<void, PoolError>(), (done) => ({ workers: [], others: [], generation, phase: "New", done }))

export const slots = ({ others, workers }: Roster): ReadonlyArray<Slot> => [...workers, ...others]

/** To be asked whenever a worker has come to its end or has left. */
export const endIfDone = ({ done, workers }: Roster): Effect.Effect<void> =>
  Effect.suspend(() => workers.every(isDone) ? Effect.asVoid(Deferred.succeed(done, void 0)) : Effect.void)
