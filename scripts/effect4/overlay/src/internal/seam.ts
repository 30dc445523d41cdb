/**
 * What Effect 3 and Effect 4 do not share under any name.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import type * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

export const disconnect = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDetach(restore(self), { startImmediately: true, uninterruptible: true }),
      (fiber) => Effect.onInterrupt(restore(Fiber.join(fiber)), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  )

type ServiceFunctions<I, S> = {
  readonly [K in keyof S]: S[K] extends (...args: infer Args) => Effect.Effect<infer A, infer E, infer R>
    ? (...args: Args) => Effect.Effect<A, E, R | I>
    : never
}

export const serviceFunctions = <I, S>(tag: Context.Service<I, S>): ServiceFunctions<I, S> =>
  new Proxy({} as any, {
    get: (_, name: string) => (...args: Array<unknown>) => tag.use((service: any) => service[name](...args))
  })

/** A service that may be there, by the key of its tag, so that its module need not be loaded to ask for it. */
export const serviceIfAny = <S>(key: string): Effect.Effect<Option.Option<S>> =>
  Effect.serviceOption(Context.Service<S>(key))

export const fromResult = <A, E>(result: Result.Result<A, E>): Effect.Effect<A, E> => Effect.fromResult(result)

/** What is there, without waiting: `takeAll` of Effect 4 waits. */
export const drain = <A>(queue: Queue.Dequeue<A>): Effect.Effect<ReadonlyArray<A>> => Queue.clear(queue)

/** A fiber of Effect 4 that is interrupted before it starts never runs at all, not even its finalizers. */
export const forkToTheEnd = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<Fiber.Fiber<A, E>, never, R> =>
  Effect.forkDetach(self, { uninterruptible: true })

/** Belongs to nobody: whoever started it may end before. As uninterruptible as the place where it is forked. */
export const forkApart = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<Fiber.Fiber<A, E>, never, R> =>
  Effect.forkDetach(self, { uninterruptible: "inherit" })

/** A fiber of Effect 4 is interruptible wherever it is forked, unless it is told to inherit. */
export const forkHere = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<Fiber.Fiber<A, E>, never, R> =>
  Effect.forkChild(self, { uninterruptible: "inherit" })

export const forkHereIn: {
  (scope: Scope.Scope): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Fiber.Fiber<A, E>, never, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, scope: Scope.Scope): Effect.Effect<Fiber.Fiber<A, E>, never, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, scope: Scope.Scope): Effect.Effect<Fiber.Fiber<A, E>, never, R> =>
    Effect.forkIn(self, scope, { uninterruptible: "inherit" })
)

/** There are no values of a fiber's own in Effect 4. */
export const inheritAll = (_: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> => Effect.void

/** `runMain` of Effect 4 makes exit code 130 of an interruption by a signal. */
export const endWell: Effect.Effect<void> = Effect.sync(() => {
  process.prependOnceListener("exit", () => {
    process.exitCode = 0
  })
})

export interface Driver<In> {
  readonly next: (input: In) => Effect.Effect<void, unknown>
  readonly reset: Effect.Effect<void>
}

/** From some moment on; nobody can set it. */
export const monotonicMillis: Effect.Effect<number> = Effect.map(
  Clock.monotonicTimeNanos,
  (nanos) => Number(nanos) / 1e6
)

/** Asked with the time in milliseconds, by a monotonic clock, says what to remember and how long to wait, in milliseconds, or nothing: the end. */
export const scheduleOf = <S>(
  initial: S,
  step: (now: number, state: S) => readonly [state: S, pause: number] | undefined
): Schedule.Schedule<unknown, unknown> =>
  Schedule.fromStep(Effect.sync(() => {
    let state = initial
    return () =>
      Effect.flatMap(monotonicMillis, (now) => {
        const next = step(now, state)
        if (next === undefined) return Cause.done(undefined)
        state = next[0]
        return Effect.succeed<[unknown, Duration.Duration]>([undefined, Duration.millis(next[1])])
      })
  }))

export const driver = <In>(schedule: Schedule.Schedule<unknown, In>): Effect.Effect<Driver<In>> =>
  Effect.map(Schedule.toStepWithSleep(schedule), (first) => {
    let step = first
    return {
      next: (input) => Effect.suspend(() => Effect.asVoid(step(input))),
      reset: Effect.map(Schedule.toStepWithSleep(schedule), (again) => {
        step = again
      })
    }
  })

export interface Broadcast<A> {
  readonly publish: (event: A) => Effect.Effect<void>
  readonly events: Effect.Effect<Queue.Dequeue<A>, never, Scope.Scope>
}

/** What is kept for a subscriber who does not take it. Of more, the oldest is lost. */
const maxUntaken = 1024

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
      publish: (event) => Effect.sync(() => state.queues.forEach((queue) => Queue.offerUnsafe(queue, event as any))),
      events: Effect.acquireRelease(
        Effect.tap(
          Queue.sliding<A>(maxUntaken),
          (queue): Effect.Effect<unknown> =>
            state.isClosed ? Queue.shutdown(queue) : Effect.sync(() => state.queues.add(queue))
        ),
        (queue) => Effect.andThen(Effect.sync(() => state.queues.delete(queue)), Queue.shutdown(queue))
      )
    })
  )
