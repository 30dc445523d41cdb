/**
 * Workers that ask to be replaced.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import * as memory from "../../src/internal/workers/memory.ts"
import type { FakeProcess, PoolAnswer } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Workers from "../../src/Workers.ts"
import { finishWhenTold, isDone, nextChildren, settle, states, stopPool, untilEvent, upAndRunning } from "./fakePool.ts"

const recycle: PoolAnswer = { _tag: "Recycle", reason: "Asked" }

const askWhenWell = (child: FakeProcess) => Effect.zipRight(TestClock.adjust("5 seconds"), child.answer(recycle))

describe("a worker that asks to be replaced", () => {
  it.effect("serves until a new one is ready, which no schedule holds up", () =>
    Effect.gen(function*() {
      const { children: [old], events, pool, workers } = yield* upAndRunning({
        size: 1,
        restart: { schedule: Schedule.recurs(0) }
      })
      yield* askWhenWell(old!)
      const event = yield* untilEvent(events, ({ _tag }) => _tag === "RecycleRequested")
      assert.deepInclude(event, { pid: old!.pid, reason: "Asked" })
      const [fresh] = yield* nextChildren(1)
      const told = yield* Effect.fork(finishWhenTold(old!))
      yield* settle
      assert.isFalse(yield* isDone(told))
      assert.deepStrictEqual((yield* workers.status).map(({ pid }) => pid), [old!.pid])
      yield* fresh!.notifyReady
      assert.strictEqual(yield* Fiber.join(told), "Replaced 1")
      yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
      const rows = yield* workers.status
      assert.deepStrictEqual(
        rows.map(({ generation, pid, restarts, state }) => ({ generation, pid, restarts, state })),
        [{ generation: 1, pid: fresh!.pid, restarts: 0, state: "serving" }]
      )
      yield* stopPool(pool, [fresh!])
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("waits for its turn: there is never more than one besides", () =>
    Effect.gen(function*() {
      const { children, pool } = yield* upAndRunning({ size: 3 })
      yield* TestClock.adjust("5 seconds")
      for (const child of children) yield* Effect.replicateEffect(child.answer(recycle), 3)
      const fresh: Array<FakeProcess> = []
      for (const old of children) {
        fresh.push(...yield* nextChildren(1))
        const another = yield* Effect.fork(nextChildren(1))
        yield* fresh.at(-1)!.notifyReady
        yield* settle
        assert.strictEqual(yield* (yield* TestEnv).processes, 1 + 3 + 1)
        assert.isFalse(yield* isDone(another))
        yield* Fiber.interrupt(another)
        yield* finishWhenTold(old)
      }
      yield* settle
      assert.strictEqual(yield* (yield* TestEnv).processes, 1 + 3)
      yield* stopPool(pool, fresh)
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("does not keep a replacement waiting while it finishes", () =>
    Effect.gen(function*() {
      const { children: [old], pool, workers } = yield* upAndRunning({ size: 1 })
      yield* askWhenWell(old!)
      const [fresh] = yield* nextChildren(1)
      yield* fresh!.notifyReady
      yield* settle
      assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "worker 0 draining"])
      const roll = yield* Effect.fork(workers.replace)
      const [newest] = yield* nextChildren(1)
      yield* newest!.notifyReady
      assert.strictEqual(yield* finishWhenTold(fresh!), "Replaced 2")
      yield* Fiber.join(roll)
      yield* stopPool(pool, [old!, newest!])
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("serves on if the new one does not come up, and is recycled later", () =>
    Effect.gen(function*() {
      const { children: [old], events, pool, workers } = yield* upAndRunning({ size: 1 })
      yield* askWhenWell(old!)
      const [broken] = yield* nextChildren(1)
      yield* broken!.exit(1)
      yield* untilEvent(events, ({ _tag }) => _tag === "StartFailed")
      assert.deepStrictEqual((yield* workers.status).map(({ pid, state }) => [pid, state]), [[old!.pid, "serving"]])
      yield* TestClock.adjust("100 millis")
      const [fresh] = yield* nextChildren(1)
      yield* fresh!.notifyReady
      assert.strictEqual(yield* finishWhenTold(old!), "Replaced 1")
      yield* stopPool(pool, [fresh!])
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("that dies meanwhile is replaced once", () =>
    Effect.gen(function*() {
      const { children: [old], events, pool, workers } = yield* upAndRunning({ size: 1 })
      yield* askWhenWell(old!)
      const [fresh] = yield* nextChildren(1)
      yield* old!.kill("SIGKILL")
      yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
      yield* fresh!.notifyReady
      yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
      yield* TestClock.adjust("1 minute")
      yield* settle
      assert.deepStrictEqual((yield* workers.status).map(({ pid, state }) => [pid, state]), [[fresh!.pid, "serving"]])
      assert.strictEqual(yield* (yield* TestEnv).processes, 2)
      yield* stopPool(pool, [fresh!])
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("as soon as it serves waits as one that crashes does", () =>
    Effect.gen(function*() {
      const { children: [old], pool } = yield* upAndRunning({ size: 1 })
      yield* old!.answer(recycle)
      const next = yield* Effect.fork(nextChildren(1))
      yield* settle
      assert.isFalse(yield* isDone(next))
      yield* TestClock.adjust("100 millis")
      const [fresh] = yield* Fiber.join(next)
      yield* fresh!.notifyReady
      yield* finishWhenTold(old!)
      yield* stopPool(pool, [fresh!])
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("and its pool stops: no new one is left", () =>
    Effect.gen(function*() {
      const { children: [old], pool } = yield* upAndRunning({ size: 1 })
      yield* askWhenWell(old!)
      yield* nextChildren(1)
      yield* stopPool(pool, [old!])
      assert.strictEqual(yield* (yield* TestEnv).processes, 1)
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

  it.effect("does so by WorkerInfo", () =>
    Effect.gen(function*() {
      const info = yield* Deferred.make<Workers.WorkerInfo["Type"]>()
      const worker = Layer.effectDiscard(Effect.intoDeferred(Workers.WorkerInfo, info))
      const program = Workers.launchWithoutEnv(worker, { size: 1 })
      const primary = yield* Effect.fork(program)
      const [process] = yield* nextChildren(1)
      const running = yield* Effect.fork(
        Effect.ensuring(Effect.provide(program, process!.layer), process!.exit(0))
      )
      const { recycle } = yield* Deferred.await(info)
      yield* settle
      yield* TestClock.adjust("5 seconds")
      yield* recycle
      const [fresh] = yield* nextChildren(1)
      yield* fresh!.notifyReady
      assert.strictEqual((yield* Fiber.join(running))._tag, "Upgraded")
      yield* stopPool(primary, [fresh!])
    }).pipe(Effect.provide(TestEnv.layer)))
})

describe("a worker that grows", () => {
  const watch = (sizes: ReadonlyArray<number>, jitter = 0) =>
    Effect.gen(function*() {
      let at = 0
      const asked = yield* Deferred.make<void>()
      const watching = yield* Effect.fork(memory.watch({ maxMemory: 100, jitter }, {
        ready: Effect.void,
        resident: Effect.sync(() => sizes[Math.min(at++, sizes.length - 1)]!),
        ask: Effect.asVoid(Deferred.succeed(asked, void 0))
      }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(watching)
      return yield* Deferred.isDone(asked)
    })

  it.effect("asks when it is above its limit", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* watch([50, 99, 100]))
      assert.isTrue(yield* watch([50, 99, 101, 50]))
    }))

  it.effect("and was above it from the beginning does not ask, because the next would be as large", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* watch([101, 150]))
    }))

  it.effect("has a limit that is lower by chance", () =>
    Effect.gen(function*() {
      const asked = yield* Effect.replicateEffect(watch([1, 60], 0.9), 40)
      assert.sameMembers([...new Set(asked)], [true, false])
    }))
})
