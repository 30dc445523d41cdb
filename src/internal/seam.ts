/**
 * What Effect 3 and Effect 4 do not share under any name.
 *
 * @internal
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Decision from "effect/ScheduleDecision"
import * as Interval from "effect/ScheduleInterval"
import type * as Scope from "effect/Scope"

export const disconnect = Effect.disconnect

export const serviceFunctions = Effect.serviceFunctions

/** A service that may be there, by the key of its tag, so that its module need not be loaded to ask for it. */
export const serviceIfAny = <S>(key: string): Effect.Effect<Option.Option<S>> =>
  Effect.serviceOption(Context.GenericTag<S>(key))

export const fromResult = <A, E>(result: Either.Either<A, E>): Effect.Effect<A, E> => result

/** What is there, without waiting. */
export const drain = <A>(queue: Queue.Dequeue<A>): Effect.Effect<ReadonlyArray<A>> =>
  Effect.map(Queue.takeAll(queue), Chunk.toReadonlyArray)

/** Runs to its end, whatever happens to whoever started it. */
export const forkToTheEnd = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R> => Effect.forkDaemon(Effect.uninterruptible(self))

/** Belongs to nobody: whoever started it may end before. As uninterruptible as the place where it is forked. */
export const forkApart = Effect.forkDaemon

/** As uninterruptible as the place where it is forked. */
export const forkHere = Effect.fork

/** As uninterruptible as the place where it is forked. */
export const forkHereIn = Effect.forkIn

export const inheritAll = Fiber.inheritAll

/** Whether an interruption by a signal counts as a failure of the process. */
export const endWell: Effect.Effect<void> = Effect.void

/** A schedule that is asked step by step. */
export interface Driver<In> {
  /** Sleeps until the next step; fails where the schedule ends. */
  readonly next: (input: In) => Effect.Effect<void, unknown>
  readonly reset: Effect.Effect<void>
}

/** From some moment on; nobody can set it. */
export const monotonicMillis: Effect.Effect<number> = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Asked with the time in milliseconds, by a monotonic clock, says what to remember and how long to wait, in milliseconds, or nothing: the end. */
export const scheduleOf = <S>(
  initial: S,
  step: (now: number, state: S) => readonly [state: S, pause: number] | undefined
): Schedule.Schedule<unknown, unknown> =>
  Schedule.makeWithState(initial, (wall, _, state: S) =>
    Effect.map(monotonicMillis, (now) => {
      const next = step(now, state)
      return next === undefined
        ? [state, undefined, Decision.done] as const
        : [next[0], undefined, Decision.continueWith(Interval.after(wall + next[1]))] as const
    }))

export const driver = <In>(schedule: Schedule.Schedule<unknown, In>): Effect.Effect<Driver<In>> =>
  Effect.map(
    Schedule.driver(schedule),
    (self) => ({ next: (input) => Effect.asVoid(self.next(input)), reset: self.reset })
  )

export interface Broadcast<A> {
  readonly publish: (event: A) => Effect.Effect<void>
  readonly events: Effect.Effect<Queue.Dequeue<A>, never, Scope.Scope>
}

/** What is kept for a subscriber who does not take it. Of more, the oldest is lost. */
const maxUntaken = 1024

const isOverfull = (queue: Queue.Dequeue<unknown>): boolean =>
  Option.exists(queue.unsafeSize(), (size) => size > maxUntaken)

/** Everybody who has subscribed hears everything from then on, as long as he takes it. */
export const broadcast = <A>(): Effect.Effect<Broadcast<A>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => ({ queues: new Set<Queue.Queue<A>>(), isClosed: false })),
      (state) => {
        state.isClosed = true
        return Effect.forEach(state.queues, Queue.shutdown, { discard: true })
      }
    ),
    (state) => ({
      publish: (event) =>
        Effect.suspend(() => {
          state.queues.forEach((queue) => queue.unsafeOffer(event))
          // One that is given up at this moment has nobody to lose anything.
          return Effect.forEach(
            [...state.queues].filter(isOverfull),
            (queue) => Effect.exit(Queue.takeUpTo(queue, 1)),
            {
              discard: true
            }
          )
        }),
      events: Effect.acquireRelease(
        Effect.tap(
          Queue.unbounded<A>(),
          (queue) => state.isClosed ? Queue.shutdown(queue) : Effect.sync(() => state.queues.add(queue))
        ),
        (queue) => Effect.zipRight(Effect.sync(() => state.queues.delete(queue)), Queue.shutdown(queue))
      )
    })
  )
