/**
 * What runs in one process at a time: who has a name runs, and the others wait. A process that is replaced ends what it
 * runs, and its successor has the name as soon as that has ended.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { ProtocolError } from "../../TableflipError.ts"
import { InvalidOptionError } from "../../TableflipError.ts"
import type { Upgrader } from "../../Upgrader.ts"
import type { ExitReason } from "../../UpgraderEvent.ts"
import { runUntil } from "../runUntil.ts"

/** Whoever has a name before this process does. */
export interface LockOrigin {
  /** Runs the effect as soon as this process may have the name, and tells when it has ended. */
  readonly hold: <A, E, R>(name: string, use: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ProtocolError, R>
}

export interface Locks {
  readonly exclusive: Upgrader["Type"]["exclusive"]
  /** Runs the effect when nobody of this process and of those that it has started has the name. The highest rank is first. */
  readonly hold: <A, E, R>(
    name: string,
    rank: number,
    use: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | ProtocolError, R>
  /** Runs the effect when this process has been replaced and nothing here has the name any more. */
  readonly giveUp: (name: string, use: Effect.Effect<void>) => Effect.Effect<void, ProtocolError>
}

interface Waiter {
  readonly rank: number
  readonly isSuccessor: boolean
  readonly turn: Deferred.Deferred<void>
}

interface Lock {
  holder: Waiter | undefined
  readonly waiting: Set<Waiter>
}

/** A line on a control stream has room for it. */
const maxNameLength = 200

const checkName = (name: string): Effect.Effect<void, InvalidOptionError> =>
  name.length === 0 || name.length > maxNameLength
    ? new InvalidOptionError({
      option: "name",
      value: JSON.stringify(name),
      expected: `a text of 1 to ${maxNameLength} characters`
    })
    : Effect.void

/** The name is free when all older processes have ended, or before, if the parent says so. */
export const fromParent = (
  older: Effect.Effect<void, ProtocolError>,
  ask: (name: string) => Effect.Effect<void>
): LockOrigin => {
  const had = new Set<string>()
  return {
    hold: (name, use) =>
      Effect.suspend(() =>
        had.has(name)
          ? use
          : Effect.raceFirst(older, ask(name)).pipe(
            Effect.tap(() => Effect.sync(() => had.add(name))),
            Effect.zipRight(use)
          )
      )
  }
}

export const make = (
  origin: LockOrigin,
  exit: Effect.Effect<ExitReason>
): Effect.Effect<Locks, never, Scope.Scope> =>
  Effect.gen(function*() {
    const locks = new Map<string, Lock>()
    let reason: ExitReason | undefined

    const lockOf = (name: string): Lock => {
      const lock = locks.get(name) ?? { holder: undefined, waiting: new Set() }
      locks.set(name, lock)
      return lock
    }

    const isNext = ({ isSuccessor }: Waiter) =>
      reason === undefined ? !isSuccessor : reason._tag === "Upgraded" && isSuccessor

    const advance = (lock: Lock) => {
      if (lock.holder !== undefined) return
      const able = [...lock.waiting].filter(isNext)
      const next = able.find(({ rank }) => able.every((other) => other.rank <= rank))
      if (next === undefined) return
      lock.waiting.delete(next)
      lock.holder = next
      Deferred.unsafeDone(next.turn, Effect.void)
    }

    const enter = (lock: Lock, rank: number, isSuccessor: boolean) =>
      Effect.sync(() => {
        const waiter: Waiter = { rank, isSuccessor, turn: Deferred.unsafeMake(FiberId.none) }
        lock.waiting.add(waiter)
        advance(lock)
        return waiter
      })

    const leave = (lock: Lock, waiter: Waiter) =>
      Effect.sync(() => {
        lock.waiting.delete(waiter)
        if (lock.holder === waiter) lock.holder = undefined
        advance(lock)
      })

    const holdAs = (isSuccessor: boolean): Locks["hold"] => (name, rank, use) =>
      Effect.suspend(() => {
        const lock = lockOf(name)
        return Effect.acquireUseRelease(
          enter(lock, rank, isSuccessor),
          ({ turn }) => Effect.zipRight(Deferred.await(turn), origin.hold(name, use)),
          (waiter) => leave(lock, waiter)
        )
      })

    const hold = holdAs(false)
    yield* exit.pipe(
      Effect.tap((why) =>
        Effect.sync(() => {
          reason = why
          locks.forEach(advance)
        })
      ),
      Effect.interruptible,
      Effect.forkScoped
    )

    return {
      exclusive: (name, effect) =>
        Effect.zipRight(
          checkName(name),
          runUntil(Effect.asSome(hold(name, 0, effect)), Effect.as(exit, Option.none()))
        ),
      hold,
      giveUp: (name, use) => holdAs(true)(name, 0, use)
    }
  })
