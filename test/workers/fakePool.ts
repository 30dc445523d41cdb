/**
 * Pools whose primary runs in the test, and whose processes are fakes.
 */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as net from "node:net"
import * as Fds from "../../src/Fds.ts"
import type { PoolEvent } from "../../src/PoolEvent.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import * as Workers from "../../src/Workers.ts"

export const address = { port: 8080, host: "127.0.0.1" }

export const server = Layer.scopedDiscard(Effect.suspend(() => Fds.listen(net.createServer(), address)))

export interface PoolOptions
  extends Workers.Options<never, never, never, Record<string, Workers.Process<never, never>>>
{}

/** A pool whose primary runs here and whose processes are fakes, with the service as its main context sees it. */
export const startPool = (options: PoolOptions = {}) =>
  Effect.gen(function*() {
    const service = yield* Deferred.make<readonly [Workers.Workers["Type"], Upgrader.Upgrader["Type"]]>()
    const main = Layer.effectDiscard(
      Effect.zip(Workers.Workers, Upgrader.Upgrader).pipe(Effect.intoDeferred(service))
    )
    const pool = yield* Effect.fork(
      Workers.launchWithoutEnv(Layer.empty, {
        size: 2,
        listen: [address],
        restart: { schedule: Schedule.exponential("100 millis") },
        main: Workers.main(main),
        ...options
      })
    )
    const [workers, upgrader] = yield* Effect.raceFirst(
      Deferred.await(service),
      Effect.zipRight(Fiber.join(pool), Effect.never)
    )
    return { pool, workers, upgrader }
  })

export const nextChildren = (count: number) =>
  Effect.flatMap(TestEnv, ({ nextChild }) => Effect.replicateEffect(nextChild, count))

/** The pool with every process up. */
export const upAndRunning = (options: PoolOptions = {}) =>
  Effect.gen(function*() {
    const started = yield* startPool(options)
    const events = yield* started.workers.events
    const children = yield* nextChildren((options.size ?? 2) + Object.keys(options.processes ?? {}).length)
    yield* Effect.forEach(children, ({ notifyReady }) => notifyReady)
    yield* untilEvent(events, ({ _tag }) => _tag === "Ready", children.length)
    yield* Effect.repeat(Effect.yieldNow(), { times: 20 })
    return { ...started, events, children }
  })

export const untilEvent = (
  events: Queue.Dequeue<PoolEvent>,
  is: (event: PoolEvent) => boolean,
  count = 1
): Effect.Effect<PoolEvent> =>
  Effect.flatMap(
    Queue.take(events),
    (event) => is(event) && count === 1 ? Effect.succeed(event) : untilEvent(events, is, is(event) ? count - 1 : count)
  )

/** Does as a worker that it is told to finish, and tells what it was told. */
export const finishWhenTold = (child: FakeProcess) => Effect.tap(nextRetirement(child), () => child.exit(0))

export const nextRetirement = (child: FakeProcess): Effect.Effect<string> =>
  Effect.flatMap(child.nextWord, (word) =>
    word._tag === "OlderGone" || word._tag === "Locked"
      ? nextRetirement(child)
      : Effect.succeed(word._tag === "Stopped" ? `Stopped ${word.signal}` : `Replaced ${word.generation}`))

export const isDone = <A, E>(fiber: Fiber.Fiber<A, E>) => Effect.map(Fiber.poll(fiber), Option.isSome)

export const settle = Effect.repeat(Effect.yieldNow(), { times: 50 })

export const states = (workers: Workers.Workers["Type"]) =>
  Effect.map(workers.status, (rows) => rows.map(({ index, name, state }) => `${name} ${index} ${state}`))

/** Ends what is left, so that the pool need not wait for it. */
export const stopPool = <A, E>(pool: Fiber.RuntimeFiber<A, E>, children: Iterable<FakeProcess>) =>
  Effect.gen(function*() {
    const stopping = yield* Effect.fork(Fiber.interrupt(pool))
    yield* settle
    for (const child of children) yield* child.exit(0)
    yield* Fiber.join(stopping)
  })

export const noOneElse = Effect.flatMap(
  TestEnv,
  ({ processes }) => Effect.map(processes, (count) => assert.strictEqual(count, 1, "only the primary is left"))
)
