/**
 * The processes of a pool that were told to finish and have not ended yet.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Retirement } from "../wire/control.ts"
import type { MemberOptions } from "./member.ts"
import { retire } from "./member.ts"
import type { Running, Slot } from "./slot.ts"
import { current, enter, isDone, stopKeeping } from "./slot.ts"

/** Ends with the process, and tells whether it had to be killed. */
type End = Fiber.RuntimeFiber<boolean>

/** Asked once of each that is told to finish. */
export type Why = (running: Running) => Retirement

export interface Retiring {
  readonly all: ReadonlyMap<Running, End>
  /** Tells a process to finish, unless it was told. */
  readonly begin: (running: Running, why: Why) => Effect.Effect<End>
  /** Tells them to finish, and waits until they have. */
  readonly retireAll: (all: ReadonlyArray<Running>, why: Why) => Effect.Effect<void>
  /** Tells what serves in these slots to finish. */
  readonly retireCurrent: (all: ReadonlyArray<Slot>, why: Why) => Effect.Effect<ReadonlyArray<End>>
  /** Nothing comes up in these slots any more, and what is in one has been told to finish. */
  readonly vacate: (all: ReadonlyArray<Slot>, why: Why) => Effect.Effect<ReadonlyArray<End>>
}

export const make = (options: MemberOptions): Retiring => {
  const retiring = new Map<Running, End>()

  const begin: Retiring["begin"] = (running, why) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const begun = retiring.get(running)
      if (begun !== undefined) return Effect.succeed(begun)
      running.retiredAt = now
      return retire(options, running, why(running)).pipe(
        Effect.ensuring(Effect.sync(() => retiring.delete(running))),
        Effect.interruptible,
        Effect.forkIn(options.scope),
        Effect.tap((fiber) => Effect.sync(() => retiring.set(running, fiber))),
        Effect.zipLeft(Effect.suspend(() => leave(running)))
      )
    })

  const leave = (running: Running) =>
    current(running.slot) === running ? enter(running.slot, { _tag: "Done" }) : Effect.void

  const retireCurrent: Retiring["retireCurrent"] = (all, why) =>
    Effect.suspend(() => Effect.forEach(all.flatMap((slot) => current(slot) ?? []), (running) => begin(running, why)))

  const vacate: Retiring["vacate"] = Effect.fnUntraced(function*(all, why) {
    const before = yield* retireCurrent(all, why)
    yield* Effect.forEach(all, stopKeeping, { concurrency: "unbounded", discard: true })
    const after = yield* retireCurrent(all, why)
    yield* Effect.forEach(all, (slot) => isDone(slot) ? Effect.void : enter(slot, { _tag: "Done" }), { discard: true })
    return [...before, ...after]
  })

  return {
    all: retiring,
    begin,
    retireAll: (all, why) =>
      Effect.flatMap(
        Effect.forEach(all, (running) => begin(running, why)),
        (ends) => Effect.asVoid(Fiber.joinAll(ends))
      ),
    retireCurrent,
    vacate
  }
}
