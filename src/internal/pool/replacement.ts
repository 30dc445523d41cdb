/**
 * New processes in the place of old ones: all of those that are started together come up, or the old ones stay. Where there
 * may be none beside another, the old ones end first.
 *
 * @internal
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { ProcessStartError, ReplaceError } from "../../PoolError.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import { Word } from "../wire/control.ts"
import type { Keeper } from "./keeper.ts"
import type { PoolOptions } from "./options.ts"
import { noneHasEnded } from "./policy.ts"
import type { Retiring, Why } from "./retiring.ts"
import type { Roster } from "./roster.ts"
import { slots } from "./roster.ts"
import type { Running, Slot } from "./slot.ts"
import { current, describe, enter, serve, stopKeeping } from "./slot.ts"

export interface Replacement {
  /**
   * Starts a process in each of these slots and gives it the place of the old one; completes with what waits for the
   * end of the old ones. If one does not come up, the others are told to finish and the old ones stay.
   */
  readonly launchAll: (
    all: ReadonlyArray<Slot>,
    generation: number,
    onSuccess: () => void
  ) => Effect.Effect<Effect.Effect<void>, ProcessStartError>
  /** Replaces what is in these slots, some at a time; completes with the generation of what took its place. */
  readonly replaceSlots: (all: ReadonlyArray<Slot>) => Effect.Effect<number, ReplaceError>
}

/** Has the connections of a process go to others; what it is to be told of it. */
const leaveTo = ({ member }: Running, others: ReadonlyArray<Running>): { readonly takes?: true } =>
  member.line?.leaveTo(others.flatMap(({ member: { line } }) => line ?? [])) === true ? { takes: true } : {}

/** There are fewer processes, or no more than there were. Their connections go to those of their kind that stay. */
export const fewer = (roster: Roster): Why => (running) => {
  const staying = slots(roster).flatMap((slot) => slot.spec.name === running.slot.spec.name ? current(slot) ?? [] : [])
    .filter((one) => one !== running && one.retiredAt === undefined)
  return Word.Stopped({ signal: "SIGTERM", ...leaveTo(running, staying) })
}

export const make = (options: PoolOptions, roster: Roster, keeper: Keeper, retiring: Retiring): Replacement => {
  const launchAll: Replacement["launchAll"] = (all, generation, onSuccess) =>
    Effect.uninterruptibleMask((restore) => {
      const fresh: Array<Running> = []
      const onReady = (running: Running) => Effect.sync(() => void fresh.push(running))
      const launch = (slot: Slot) =>
        keeper.launch(slot, { generation, predecessor: current(slot)?.member.exit ?? Effect.void, onReady })
      return restore(Effect.forEach(all, launch, { concurrency: "unbounded", discard: true })).pipe(
        Effect.zipRight(Effect.suspend(() => noneHasEnded(fresh))),
        Effect.onExit((exit) => Exit.isFailure(exit) ? retiring.retireAll(fresh, fewer(roster)) : Effect.void),
        Effect.tap(() => Effect.sync(onSuccess)),
        Effect.zipRight(Effect.forEach(fresh, takeOver)),
        Effect.map((ends) => Effect.asVoid(Fiber.joinAll(ends.flat())))
      )
    })

  const replacedBy = (newer: Running): Why => (old) =>
    Word.Replaced({ pid: newer.member.pid, generation: newer.generation, ...leaveTo(old, [newer]) })

  const takeOver = Effect.fnUntraced(function*(running: Running) {
    const { slot } = running
    yield* stopKeeping(slot)
    const old = current(slot)
    yield* serve(running)
    yield* slot.driver.reset
    const ends = old === undefined ? [] : [yield* retiring.begin(old, replacedBy(running))]
    if (running.status !== undefined) yield* keeper.onExit(running, running.status)
    return ends
  })

  /** What can be known before is no reason to be without a process. */
  const checkAll = (all: ReadonlyArray<Slot>) =>
    Effect.forEach(all, ({ spec }) =>
      Effect.mapError(
        spec.check ?? Effect.void,
        (cause) => new ProcessStartError({ process: describe(spec), cause })
      ), { discard: true })

  /** Starts a process in a slot in which none is left, and has it started again if it does not come up. */
  const launchInEmpty = Effect.fnUntraced(function*(slot: Slot, generation: number) {
    const launched = yield* Effect.either(
      keeper.launch(slot, { generation, predecessor: Effect.void, onReady: serve })
    )
    if (Either.isRight(launched)) {
      yield* slot.driver.reset
      return []
    }
    return [{ error: launched.left, startedAgain: yield* keeper.onLaunchFailed(slot, launched.left) }]
  })

  /** Has what is in these slots end, and only then starts what takes its place; completes with what did not come up. */
  const stopAndLaunch = (all: ReadonlyArray<Slot>, generation: number) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const ends = yield* retiring.vacate(all, fewer(roster))
        yield* Effect.forEach(all, (slot) => enter(slot, { _tag: "Starting" }), { discard: true })
        yield* restore(Fiber.joinAll(ends))
        roster.generation = generation
        const failed = yield* Effect.forEach(all, (slot) => restore(launchInEmpty(slot, generation)), {
          concurrency: "unbounded"
        })
        return failed.flat()
      })
    )

  const replaceSlots: Replacement["replaceSlots"] = Effect.fnUntraced(function*(all) {
    const next = roster.generation + 1
    let replaced = 0
    const fail = (fields: Omit<ConstructorParameters<typeof ReplaceError>[0], "replaced">) => {
      const error = new ReplaceError({ replaced, ...fields })
      return Effect.zipRight(options.publish(PoolEvent.ReplaceFailed({ generation: next, error })), Effect.fail(error))
    }
    for (const batch of Arr.chunksOf(all, options.atOnce)) {
      if (options.stopFirst === true) {
        yield* Effect.catchAll(checkAll(batch), (cause) => fail({ kept: all.length - replaced, cause }))
        const failed = yield* stopAndLaunch(batch, next)
        const kept = all.length - replaced - batch.length
        replaced += batch.length - failed.length
        const [first] = failed
        if (first === undefined) continue
        const startedAgain = failed.every(({ startedAgain }) => startedAgain)
        return yield* fail({ kept, stopped: failed.length, startedAgain, cause: first.error })
      }
      const succeeded = () => {
        roster.generation = next
        replaced += batch.length
      }
      yield* Effect.flatten(Effect.catchAll(
        launchAll(batch, next, succeeded),
        (cause) => fail({ kept: all.length - replaced, cause })
      ))
    }
    return next
  })

  return { launchAll, replaceSlots }
}
