import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { make as makeHeartbeat } from "../../src/internal/pool/heartbeat.ts"
import { PoolEvent } from "../../src/PoolEvent.ts"
import type { FakeProcess, PoolAnswer } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { ExitReason } from "../../src/UpgraderEvent.ts"
import * as Workers from "../../src/Workers.ts"
import {
  address,
  finishWhenTold,
  isDone,
  nextChildren,
  nextRetirement,
  noOneElse,
  server,
  settle,
  startPool,
  states,
  stopPool,
  untilEvent,
  upAndRunning
} from "./fakePool.ts"

describe("Workers", () => {
  describe("the first start", () => {
    it.effect("is over when every worker is ready", () =>
      Effect.gen(function*() {
        const { pool, upgrader, workers } = yield* startPool({ pidFile: "/run/pool.pid" })
        const { files, self } = yield* TestEnv
        const [first, second] = yield* nextChildren(2)
        assert.deepStrictEqual(yield* first!.notifyReady, [{
          kind: "listener",
          network: "tcp",
          address: "127.0.0.1:8080"
        }])
        yield* settle
        assert.strictEqual((yield* Effect.flip(workers.replace))._tag, "NotReadyError")
        assert.strictEqual((yield* files).size, 0)
        yield* second!.notifyReady
        yield* settle
        assert.strictEqual((yield* files).get("/run/pool.pid"), `${self.pid}\n`)
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "worker 1 serving"])
        assert.strictEqual(upgrader.generation, 1)
        yield* stopPool(pool, [first!, second!])
        assert.strictEqual((yield* files).size, 0)
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("is over although a process that is not to be started again has failed by then", () =>
      Effect.gen(function*() {
        const job = Workers.task(Effect.void, { restart: "never" })
        const { pool, workers } = yield* startPool({ size: 1, processes: { job } })
        const [worker, task] = yield* nextChildren(2)
        yield* task!.notifyReady
        yield* settle
        yield* task!.exit(9)
        yield* settle
        yield* worker!.notifyReady
        yield* settle
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "job 0 done"])
        yield* stopPool(pool, [worker!])
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("fails with a worker that does not come up, and nothing is left", () =>
      Effect.gen(function*() {
        const { pool } = yield* startPool({ pidFile: "/run/pool.pid" })
        const [first, second] = yield* nextChildren(2)
        yield* first!.notifyReady
        yield* settle
        yield* second!.exit(7)
        assert.strictEqual(yield* nextRetirement(first!), "Stopped SIGTERM")
        assert.isFalse(yield* isDone(pool))
        yield* first!.exit(0)
        const error = yield* Effect.flip(Fiber.join(pool))
        assert.strictEqual(error._tag, "ProcessStartError")
        assert.match(error.message, /^The worker 1 did not come up\. The new process \d+ exited with code 7/)
        assert.strictEqual((yield* (yield* TestEnv).files).size, 0)
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("fails with a worker that is not ready in time", () =>
      Effect.gen(function*() {
        const { pool } = yield* startPool({ size: 1, ready: { timeout: "10 seconds" } })
        const [worker] = yield* nextChildren(1)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(
          (yield* Effect.flip(Fiber.join(pool))).message,
          `The worker 0 did not come up. Process ${worker!.pid} was not ready within 10s and was ended; ` +
            "if it needs longer to start, raise ready.timeout"
        )
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("can be interrupted", () =>
      Effect.gen(function*() {
        const { pool } = yield* startPool()
        const [first] = yield* nextChildren(2)
        yield* first!.notifyReady
        yield* settle
        const stopping = yield* Effect.fork(Fiber.interrupt(pool))
        assert.strictEqual(yield* finishWhenTold(first!), "Stopped SIGTERM")
        yield* Fiber.join(stopping)
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))
  })

  describe("a worker that crashes", () => {
    it.effect("is started again although the logger throws", () =>
      Effect.gen(function*() {
        const { children, pool } = yield* upAndRunning({ size: 1 })
        yield* children[0]!.exit(1)
        yield* settle
        yield* TestClock.adjust("1 minute")
        const again = yield* nextChildren(1)
        yield* Effect.forEach(again, ({ notifyReady }) => notifyReady)
        yield* stopPool(pool, again)
      }).pipe(
        Effect.provide(Logger.add(Logger.make(({ message }) => {
          if (/starting it again/.test(String(message))) throw new Error("the disk of the log is full")
        }))),
        Effect.scoped,
        Effect.provide(TestEnv.layer)
      ))

    it.effect("is started again by the schedule, while the others serve", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning()
        const [first, second] = children
        yield* first!.kill("SIGKILL")
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        yield* settle
        assert.deepStrictEqual(yield* states(workers), ["worker 0 restarting", "worker 1 serving"])
        yield* TestClock.adjust("99 millis")
        const next = yield* Effect.fork(nextChildren(1))
        yield* settle
        assert.isFalse(yield* isDone(next))
        yield* TestClock.adjust("1 millis")
        const [third] = yield* Fiber.join(next)
        yield* third!.notifyReady
        yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
        yield* settle
        assert.deepStrictEqual(
          (yield* workers.status).map(({ generation, index, pid, restarts, state }) => ({
            generation,
            index,
            pid,
            restarts,
            state
          })),
          [
            { generation: 1, index: 0, pid: third!.pid, restarts: 1, state: "serving" },
            { generation: 1, index: 1, pid: second!.pid, restarts: 0, state: "serving" }
          ]
        )
        yield* stopPool(pool, [second!, third!])
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("waits longer each time, and begins anew after a healthy minute", () =>
      Effect.gen(function*() {
        const { children, events, pool } = yield* upAndRunning({ size: 1 })
        const crash = (child: FakeProcess, delay: Duration.DurationInput) =>
          Effect.gen(function*() {
            yield* child.exit(1)
            yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
            yield* settle
            const next = yield* Effect.fork(nextChildren(1))
            yield* TestClock.adjust(Duration.subtract(Duration.decode(delay), "1 millis"))
            yield* settle
            assert.isFalse(yield* isDone(next), "not before its time")
            yield* TestClock.adjust("1 millis")
            const [again] = yield* Fiber.join(next)
            yield* again!.notifyReady
            yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
            yield* settle
            return again!
          })
        let child = yield* crash(children[0]!, "100 millis")
        child = yield* crash(child, "200 millis")
        yield* TestClock.adjust("59 seconds")
        child = yield* crash(child, "400 millis")
        yield* TestClock.adjust("60 seconds")
        child = yield* crash(child, "100 millis")
        yield* stopPool(pool, [child])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("is tried again if it does not come up", () =>
      Effect.gen(function*() {
        const { children, events, pool } = yield* upAndRunning({ size: 1 })
        yield* children[0]!.exit(1)
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        yield* settle
        yield* TestClock.adjust("100 millis")
        yield* (yield* nextChildren(1))[0]!.exit(1)
        const failed = yield* untilEvent(events, ({ _tag }) => _tag === "StartFailed")
        assert.strictEqual(failed._tag === "StartFailed" && failed.error._tag, "ProcessStartError")
        yield* settle
        yield* TestClock.adjust("200 millis")
        const [third] = yield* nextChildren(1)
        yield* third!.notifyReady
        yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
        yield* stopPool(pool, [third!])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("again and again ends the pool when the schedule is exhausted", () =>
      Effect.gen(function*() {
        const { children, events, pool } = yield* upAndRunning({ restart: { schedule: Schedule.recurs(1) } })
        const [first, second] = children
        yield* first!.exit(3)
        const [third] = yield* nextChildren(1)
        yield* third!.notifyReady
        yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
        yield* settle
        yield* third!.kill("SIGKILL")
        assert.strictEqual(yield* finishWhenTold(second!), "Stopped SIGTERM")
        const error = yield* Effect.flip(Fiber.join(pool))
        assert.strictEqual(
          error.message,
          "The worker 0 was killed by SIGKILL and is not started again: " +
            "the restart schedule is exhausted after 1 restart(s)"
        )
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("with all the others at once does not make the pool spin", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning({ size: 3 })
        for (const child of children) yield* child.kill("SIGKILL")
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited", 3)
        yield* settle
        assert.deepStrictEqual(yield* states(workers), [0, 1, 2].map((n) => `worker ${n} restarting`))
        yield* TestClock.adjust("100 millis")
        const again = yield* nextChildren(3)
        yield* Effect.forEach(again, ({ notifyReady }) => notifyReady)
        yield* untilEvent(events, ({ _tag }) => _tag === "Ready", 3)
        assert.strictEqual(yield* (yield* TestEnv).processes, 4)
        yield* stopPool(pool, again)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("a worker that ends in good order", () => {
    it.effect("is started again at once, and no schedule is asked", () =>
      Effect.gen(function*() {
        const { children, events, pool } = yield* upAndRunning({ size: 1, restart: { schedule: Schedule.recurs(0) } })
        let [child] = children
        for (let n = 0; n < 9; n++) {
          yield* TestClock.adjust("2 seconds")
          yield* child!.exit(0)
          const [next] = yield* nextChildren(1)
          yield* next!.notifyReady
          yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
          yield* settle
          child = next
        }
        yield* stopPool(pool, [child!])
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("as soon as it serves waits as one that crashes does", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning({ size: 1 })
        yield* children[0]!.exit(0)
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        yield* settle
        assert.deepStrictEqual(yield* states(workers), ["worker 0 restarting"])
        const next = yield* Effect.fork(nextChildren(1))
        yield* TestClock.adjust("99 millis")
        yield* settle
        assert.isFalse(yield* isDone(next))
        yield* TestClock.adjust("1 millis")
        yield* stopPool(pool, yield* Fiber.join(next))
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("replace", () => {
    it.effect("of one worker leaves the others alone", () =>
      Effect.gen(function*() {
        const { children: [first, second], pool, workers } = yield* upAndRunning()
        const roll = yield* Effect.fork(workers.replaceWorker(1))
        const [newSecond] = yield* nextChildren(1)
        const told = yield* Effect.fork(finishWhenTold(second!))
        yield* settle
        assert.isFalse(yield* isDone(told), "the old one serves until the new one is ready")
        yield* newSecond!.notifyReady
        assert.strictEqual(yield* Fiber.join(told), "Replaced 2")
        yield* Fiber.join(roll)
        assert.deepStrictEqual((yield* workers.status).map(({ generation, pid, state }) => [generation, pid, state]), [
          [1, first!.pid, "serving"],
          [2, newSecond!.pid, "serving"]
        ])
        yield* stopPool(pool, [first!, newSecond!])
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("of a worker that is not there says which there are", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning()
        for (const index of [2, -1, 0.5, Number.NaN]) {
          const error = yield* Effect.flip(workers.replaceWorker(index))
          assert.strictEqual(error._tag, "InvalidOptionError")
          assert.match(error.message, /^The option index is .*that of a worker, from 0 to 1/)
        }
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("rolls: the next worker starts when the old one before it has ended", () =>
      Effect.gen(function*() {
        const { children: [first, second], pool, workers } = yield* upAndRunning()
        const roll = yield* Effect.fork(workers.replace)
        const [newFirst] = yield* nextChildren(1)
        const told = yield* Effect.fork(nextRetirement(first!))
        yield* settle
        assert.isFalse(yield* isDone(told), "the old one serves until the new one is ready")
        yield* newFirst!.notifyReady
        assert.strictEqual(yield* Fiber.join(told), "Replaced 2")
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "worker 1 serving", "worker 0 draining"])
        const next = yield* Effect.fork(nextChildren(1))
        yield* settle
        assert.isFalse(yield* isDone(next), "no more than one at a time")
        yield* first!.exit(0)
        const [newSecond] = yield* Fiber.join(next)
        yield* newSecond!.notifyReady
        assert.strictEqual(yield* finishWhenTold(second!), "Replaced 2")
        yield* Fiber.join(roll)
        assert.deepStrictEqual((yield* workers.status).map(({ generation, pid }) => [generation, pid]), [
          [2, newFirst!.pid],
          [2, newSecond!.pid]
        ])
        yield* stopPool(pool, [newFirst!, newSecond!])
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("with all: no old one is told to finish before every new one is ready", () =>
      Effect.gen(function*() {
        const { children: old, pool, workers } = yield* upAndRunning({ replace: { atOnce: "all" } })
        const roll = yield* Effect.fork(workers.replace)
        const fresh = yield* nextChildren(2)
        yield* fresh[0]!.notifyReady
        const told = yield* Effect.forEach(old, (child) => Effect.fork(finishWhenTold(child)))
        yield* settle
        assert.deepStrictEqual(yield* Effect.forEach(told, isDone), [false, false])
        yield* fresh[1]!.notifyReady
        assert.deepStrictEqual(yield* Fiber.joinAll(told), ["Replaced 2", "Replaced 2"])
        yield* Fiber.join(roll)
        yield* stopPool(pool, fresh)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("that fails with the first new worker leaves the old ones alone", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning()
        const before = yield* workers.status
        const roll = yield* Effect.fork(Effect.flip(workers.replace))
        yield* (yield* nextChildren(1))[0]!.exit(1)
        const error = yield* Fiber.join(roll)
        assert.strictEqual(error._tag, "ReplaceError")
        assert.deepInclude(error, { replaced: 0, kept: 2 })
        assert.strictEqual((yield* untilEvent(events, ({ _tag }) => _tag === "ReplaceFailed"))._tag, "ReplaceFailed")
        assert.deepStrictEqual(yield* workers.status, before)
        assert.strictEqual(yield* (yield* TestEnv).processes, 3)
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("that fails with a later one keeps the ones that were replaced", () =>
      Effect.gen(function*() {
        const { children: [first, second], pool, workers } = yield* upAndRunning()
        const roll = yield* Effect.fork(Effect.flip(workers.replace))
        const [newFirst] = yield* nextChildren(1)
        yield* newFirst!.notifyReady
        yield* finishWhenTold(first!)
        yield* (yield* nextChildren(1))[0]!.exit(1)
        assert.deepInclude(yield* Fiber.join(roll), { replaced: 1, kept: 1 })
        assert.deepStrictEqual((yield* workers.status).map(({ generation }) => generation), [2, 1])
        yield* stopPool(pool, [newFirst!, second!])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("with all, that fails, tells the new ones that were ready to finish", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning({ replace: { atOnce: "all" } })
        const roll = yield* Effect.fork(Effect.flip(workers.replace))
        const fresh = yield* nextChildren(2)
        yield* fresh[0]!.notifyReady
        yield* settle
        yield* fresh[1]!.exit(1)
        assert.strictEqual(yield* finishWhenTold(fresh[0]!), "Stopped SIGTERM")
        assert.deepInclude(yield* Fiber.join(roll), { replaced: 0, kept: 2 })
        assert.strictEqual(yield* (yield* TestEnv).processes, 3)
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("of a worker that has said it was ready and died is a failure", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning({ replace: { atOnce: "all" } })
        const roll = yield* Effect.fork(Effect.flip(workers.replace))
        const fresh = yield* nextChildren(2)
        yield* fresh[0]!.notifyReady
        yield* settle
        yield* fresh[0]!.kill("SIGKILL")
        yield* fresh[1]!.notifyReady
        assert.strictEqual(yield* finishWhenTold(fresh[1]!), "Stopped SIGTERM")
        assert.match((yield* Fiber.join(roll)).message, /worker 0 did not come up.* soon after it said/)
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "worker 1 serving"])
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("takes the place of a worker that was waiting to be started again", () =>
      Effect.gen(function*() {
        const { children: [first], events, pool, workers } = yield* upAndRunning({ size: 1 })
        yield* first!.exit(1)
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        const roll = yield* Effect.fork(workers.replace)
        const [second] = yield* nextChildren(1)
        yield* second!.notifyReady
        yield* Fiber.join(roll)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving"])
        assert.strictEqual(yield* (yield* TestEnv).processes, 2)
        yield* stopPool(pool, [second!])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("goes on when the caller is interrupted, and a second one waits for its turn", () =>
      Effect.gen(function*() {
        const { children: [first], pool, workers } = yield* upAndRunning({ size: 1 })
        const roll = yield* Effect.fork(workers.replace)
        const [second] = yield* nextChildren(1)
        yield* Fiber.interrupt(roll)
        const again = yield* Effect.fork(workers.replace)
        yield* second!.notifyReady
        assert.strictEqual(yield* finishWhenTold(first!), "Replaced 2")
        const [third] = yield* nextChildren(1)
        yield* third!.notifyReady
        assert.strictEqual(yield* finishWhenTold(second!), "Replaced 3")
        yield* Fiber.join(again)
        yield* stopPool(pool, [third!])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("ends with the pool, and so does the new worker", () =>
      Effect.gen(function*() {
        const { children: [first], pool, workers } = yield* upAndRunning({ size: 1 })
        const roll = yield* Effect.fork(Effect.flip(workers.replace))
        yield* nextChildren(1)
        const stopping = yield* Effect.fork(Fiber.interrupt(pool))
        assert.strictEqual(yield* finishWhenTold(first!), "Stopped SIGTERM")
        assert.strictEqual((yield* Fiber.join(roll))._tag, "TerminatingError")
        yield* Fiber.join(stopping)
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("kills an old worker that does not finish in time", () =>
      Effect.gen(function*() {
        const { children: [first], events, pool, workers } = yield* upAndRunning({
          size: 1,
          stop: { timeout: "3 seconds" }
        })
        const roll = yield* Effect.fork(workers.replace)
        const [second] = yield* nextChildren(1)
        yield* second!.notifyReady
        yield* nextRetirement(first!)
        yield* settle
        yield* TestClock.adjust("3 seconds")
        yield* untilEvent(events, ({ _tag }) => _tag === "Killed")
        yield* Fiber.join(roll)
        assert.deepStrictEqual(yield* first!.status, ExitStatus.Killed({ signal: "SIGKILL" }))
        yield* stopPool(pool, [second!])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("resize", () => {
    it.effect("starts more workers", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning({ size: 1 })
        const growing = yield* Effect.fork(workers.resize(3))
        const more = yield* nextChildren(2)
        yield* Effect.forEach(more, ({ notifyReady }) => notifyReady)
        yield* Fiber.join(growing)
        assert.strictEqual(yield* workers.size, 3)
        assert.deepStrictEqual((yield* workers.status).map(({ index, pid }) => [index, pid]), [
          [0, children[0]!.pid],
          [1, more[0]!.pid],
          [2, more[1]!.pid]
        ])
        yield* stopPool(pool, [...children, ...more])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("tells the last ones to finish", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning({ size: 3 })
        const shrinking = yield* Effect.fork(workers.resize(1))
        assert.strictEqual(yield* finishWhenTold(children[1]!), "Stopped SIGTERM")
        assert.isFalse(yield* isDone(shrinking))
        yield* finishWhenTold(children[2]!)
        yield* Fiber.join(shrinking)
        assert.deepStrictEqual(
          yield* untilEvent(events, ({ _tag }) => _tag === "Resized"),
          PoolEvent.Resized({ from: 3, to: 1 })
        )
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving"])
        yield* stopPool(pool, children)
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("that is cut short by a stop has told each of the last ones to finish", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning({ size: 3, stop: { timeout: "10 seconds" } })
        yield* children[1]!.exit(1)
        yield* TestClock.adjust("1 second")
        const [again] = yield* nextChildren(1)
        yield* again!.silent
        const shrinking = yield* Effect.fork(Effect.exit(workers.resize(1)))
        yield* settle
        const stopping = yield* Effect.fork(Fiber.interrupt(pool))
        assert.strictEqual(yield* finishWhenTold(children[2]!), "Stopped SIGTERM")
        yield* finishWhenTold(children[0]!)
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(stopping)
        assert.isTrue(yield* isDone(shrinking))
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("that fails leaves the size as it was", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning({ size: 1 })
        const growing = yield* Effect.fork(Effect.flip(workers.resize(3)))
        const more = yield* nextChildren(2)
        yield* more[0]!.notifyReady
        yield* settle
        yield* more[1]!.exit(1)
        yield* finishWhenTold(more[0]!)
        assert.strictEqual((yield* Fiber.join(growing))._tag, "ProcessStartError")
        assert.strictEqual(yield* workers.size, 1)
        assert.strictEqual(yield* (yield* TestEnv).processes, 2)
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("takes whole numbers from 1 to 1024", () =>
      Effect.gen(function*() {
        const { children, pool, workers } = yield* upAndRunning({ size: 1 })
        for (const size of [0, -1, 1.5, NaN, Infinity, 100_000_000]) {
          assert.strictEqual((yield* Effect.flip(workers.resize(size)))._tag, "InvalidOptionError")
        }
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("the end", () => {
    it.effect("comes with a stop signal, which every worker is told", () =>
      Effect.gen(function*() {
        const { children, pool } = yield* upAndRunning({ stop: { signals: ["SIGQUIT"] } })
        yield* (yield* TestEnv).self.kill("SIGQUIT")
        for (const child of children) assert.strictEqual(yield* finishWhenTold(child), "Stopped SIGQUIT")
        assert.deepStrictEqual(yield* Fiber.join(pool), ExitReason.Stopped())
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("is forced on workers that do not finish in time, and their number is told", () =>
      Effect.gen(function*() {
        const { children: [first], events, pool, upgrader } = yield* upAndRunning({ stop: { timeout: "3 seconds" } })
        const stopped = yield* Effect.fork(untilEvent(events, ({ _tag }) => _tag === "Stopped"))
        yield* upgrader.stop
        yield* finishWhenTold(first!)
        yield* settle
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(yield* Fiber.join(stopped), PoolEvent.Stopped({ killed: 1 }))
        yield* Fiber.join(pool)
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("does not wait for a worker that waits to be started again", () =>
      Effect.gen(function*() {
        const { children: [first], events, pool } = yield* upAndRunning({ size: 1 })
        yield* first!.exit(1)
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        yield* settle
        yield* Fiber.interrupt(pool)
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("an upgrade of the primary", () => {
    it.effect("retires the workers when the new pool is ready, and passes the count of generations on", () =>
      Effect.gen(function*() {
        const { nextChild } = yield* TestEnv
        const { children: [worker], pool, upgrader } = yield* upAndRunning({ size: 1 })
        const upgrade = yield* Effect.fork(upgrader.upgrade)
        const newPrimary = yield* nextChild
        const newPool = yield* Effect.fork(
          Effect.provide(
            Workers.launchWithoutEnv(Layer.empty, { size: 1, listen: [address] }),
            newPrimary.layer
          )
        )
        const newWorker = yield* nextChild
        assert.strictEqual(newWorker.environment["TABLEFLIP_GENERATION"], "2")
        const told = yield* Effect.fork(nextRetirement(worker!))
        const olderGone = yield* Effect.fork(newWorker.nextWord)
        yield* settle
        assert.isFalse(yield* isDone(told), "the old pool serves until the new one is ready")
        yield* newWorker.notifyReady
        assert.deepStrictEqual(yield* upgrade, { pid: newPrimary.pid, generation: 2 })
        assert.strictEqual(yield* Fiber.join(told), "Replaced 2")
        assert.isFalse(yield* isDone(olderGone), "the old pool has not ended")
        yield* worker!.exit(0)
        assert.deepStrictEqual(
          yield* Fiber.join(pool),
          ExitReason.Upgraded({ pid: newPrimary.pid, generation: 2 })
        )
        yield* (yield* TestEnv).self.exit(0)
        assert.strictEqual((yield* Fiber.join(olderGone))._tag, "OlderGone")
        const stopping = yield* Effect.fork(Fiber.interrupt(newPool))
        yield* finishWhenTold(newWorker)
        yield* Fiber.join(stopping)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("that fails with one of its workers leaves the old pool alone", () =>
      Effect.gen(function*() {
        const { nextChild, processes } = yield* TestEnv
        const { children, pool, upgrader, workers } = yield* upAndRunning({ size: 1 })
        const before = yield* workers.status
        const upgrade = yield* Effect.fork(Effect.flip(upgrader.upgrade))
        const newPrimary = yield* nextChild
        const newPool = yield* Effect.fork(
          Effect.provide(Workers.launchWithoutEnv(Layer.empty, { size: 1, listen: [address] }), newPrimary.layer)
        )
        yield* (yield* nextChild).exit(1)
        assert.strictEqual((yield* Effect.flip(Fiber.join(newPool)))._tag, "ProcessStartError")
        yield* newPrimary.exit(1)
        assert.strictEqual((yield* Fiber.join(upgrade))._tag, "ChildExitedError")
        assert.deepStrictEqual(yield* workers.status, before)
        assert.strictEqual(yield* processes, 2)
        yield* stopPool(pool, children)
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("a worker whose event loop stands still", () => {
    const heartbeat = { timeout: "10 seconds" } as const
    const beat = (debugged = false): PoolAnswer & { _tag: "Heartbeat" } => ({ _tag: "Heartbeat", debugged })

    it.effect("is killed and started again, and one that goes on is not", () =>
      Effect.gen(function*() {
        const { children: [stuck, well], events, pool } = yield* upAndRunning({ heartbeat })
        yield* stuck!.answer(beat())
        for (let second = 0; second < 11; second++) {
          yield* well!.answer(beat())
          yield* TestClock.adjust("1 seconds")
          yield* settle
        }
        const event = yield* untilEvent(events, ({ _tag }) => _tag === "Unresponsive")
        assert.deepInclude(event, { name: "worker", index: 0, pid: stuck!.pid })
        assert.deepStrictEqual(yield* stuck!.status, ExitStatus.Killed({ signal: "SIGKILL" }))
        yield* TestClock.adjust("100 millis")
        const [again] = yield* nextChildren(1)
        yield* again!.notifyReady
        yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
        yield* stopPool(pool, [well!, again!])
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("is left alone while a debugger may hold it, and where nobody asked", () =>
      Effect.gen(function*() {
        for (const [option, debugged] of [[heartbeat, true], [false, false]] as const) {
          const { children: [child], pool, workers } = yield* upAndRunning({ size: 1, heartbeat: option })
          yield* child!.answer(beat())
          yield* child!.answer(beat(debugged))
          yield* TestClock.adjust("1 hour")
          yield* settle
          assert.deepStrictEqual(yield* states(workers), ["worker 0 serving"])
          yield* stopPool(pool, [child!])
        }
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("is left alone if it is of a release without heartbeats, or a task", () =>
      Effect.gen(function*() {
        const { children: [worker, task], pool, workers } = yield* upAndRunning({
          size: 1,
          heartbeat,
          processes: { job: Workers.task(Effect.never) }
        })
        yield* task!.answer(beat())
        yield* TestClock.adjust("1 hour")
        yield* settle
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "job 0 serving"])
        yield* stopPool(pool, [worker!, task!])
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("is not seen in a pool that has stood still itself", () =>
      Effect.gen(function*() {
        const beats = makeHeartbeat(Duration.seconds(10))
        beats.hear(beat())
        const missing = yield* Effect.fork(beats.missing)
        // Every tenth of the time that it is missed, it is heard before the next.
        for (let tenth = 0; tenth < 30; tenth++) {
          yield* TestClock.adjust("1 seconds")
          if (tenth % 10 === 9) beats.hear(beat())
        }
        assert.isFalse(yield* isDone(missing))
        yield* TestClock.adjust("11 seconds")
        assert.isTrue(yield* isDone(missing))
      }))
  })

  describe("told to stop once more", () => {
    it.effect("kills what cannot hear it", () =>
      Effect.gen(function*() {
        const { children: [deaf], pool } = yield* upAndRunning({ size: 1, stop: { timeout: "10 minutes" } })
        yield* deaf!.silent
        const { self } = yield* TestEnv
        yield* self.kill("SIGTERM")
        yield* settle
        yield* TestClock.adjust("2 seconds")
        yield* self.kill("SIGTERM")
        yield* settle
        yield* TestClock.adjust("4 seconds")
        assert.isFalse(yield* isDone(pool), "it may still end by itself")
        yield* TestClock.adjust("1 seconds")
        yield* settle
        assert.isTrue(yield* isDone(pool), "it is killed")
        assert.deepStrictEqual(yield* deaf!.status, ExitStatus.Killed({ signal: "SIGKILL" }))
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("extra processes", () => {
    it.effect("are started, restarted and stopped with the pool", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning({
          size: 1,
          processes: { metrics: Workers.server(Layer.empty) }
        })
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "metrics 0 serving"])
        yield* children[1]!.exit(0)
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        yield* settle
        yield* TestClock.adjust("100 millis")
        const [metrics] = yield* nextChildren(1)
        yield* metrics!.notifyReady
        yield* untilEvent(events, ({ _tag }) => _tag === "Ready")
        yield* settle
        const stopping = yield* Effect.fork(Fiber.interrupt(pool))
        assert.strictEqual(yield* finishWhenTold(metrics!), "Stopped SIGTERM")
        yield* finishWhenTold(children[0]!)
        yield* Fiber.join(stopping)
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))

    it.effect("that are tasks end, get no sockets, and end the pool only if they are fatal", () =>
      Effect.gen(function*() {
        const { children, events, pool, workers } = yield* upAndRunning({
          size: 1,
          processes: {
            migration: Workers.task(Effect.void),
            vital: Workers.task(Effect.void, { restart: "never", fatal: true })
          }
        })
        const [worker, migration, vital] = children
        yield* migration!.exit(0)
        yield* untilEvent(events, ({ _tag }) => _tag === "Exited")
        yield* settle
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* states(workers), ["worker 0 serving", "migration 0 done", "vital 0 serving"])
        yield* vital!.exit(4)
        yield* finishWhenTold(worker!)
        assert.strictEqual(
          (yield* Effect.flip(Fiber.join(pool))).message,
          "The process vital exited with code 4, and is not to be started again"
        )
        assert.strictEqual(vital!.environment["TABLEFLIP_FDS"], "3,4")
        yield* noOneElse
      }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
  })

  describe("options", () => {
    const wrong: ReadonlyArray<readonly [string, Workers.Options<any, any, any, any>]> = [
      ["size", { size: 0 }],
      ["size", { size: 1_025 }],
      ["replace.atOnce", { replace: { atOnce: 0.5 } }],
      ["stop.signals", { stop: { signals: ["SIGHUP"] } }],
      ["stop.signals", { stop: { signals: ["SIGKILL"] } }],
      ["ready.timeout", { ready: { timeout: 0 } }],
      ["heartbeat.timeout", { heartbeat: { timeout: 0 } }],
      ["stop.timeout", { stop: { timeout: -1 } }],
      ["recycle.maxMemory", { recycle: { maxMemory: NaN } }],
      ["recycle.jitter", { recycle: { jitter: 1 } }],
      ["processes", { processes: { worker: Workers.server(Layer.empty) } }],
      ["drainTimeout", { drainTimeout: "Infinity" as Duration.DurationInput }]
    ]
    for (const [option, options] of wrong) {
      it.effect(`${option} is checked: ${JSON.stringify(options)}`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(Workers.launchWithoutEnv(Layer.empty, options))
          assert.strictEqual((error as { _tag: string })._tag, "InvalidOptionError")
          assert.match((error as Error).message, new RegExp(`^The option ${option} is `))
        }).pipe(Effect.provide(TestEnv.layer)))
    }
  })

  describe("a process of the pool", () => {
    class Settings extends Context.Tag("Settings")<Settings, { readonly database: { readonly port: number } }>() {
      static readonly schema = Schema.Struct({ database: Schema.Struct({ port: Schema.Int }) })
    }

    /** The same program in the primary and in its worker, both on the simulated machine. */
    const withWorker = <A, E, R>(
      worker: Layer.Layer<A, E, R | Workers.Provided | Settings>,
      options: Workers.Options<never, never, never> = {},
      settings = { database: { port: 5432 } }
    ) =>
      Effect.gen(function*() {
        const { nextChild } = yield* TestEnv
        const program = Workers.launchWithoutEnv(worker, {
          size: 1,
          listen: [address],
          main: Workers.main(Layer.succeed(Settings, settings), Settings, Settings.schema),
          ...options as {}
        })
        const primary = yield* Effect.fork(program)
        const process = yield* Effect.raceFirst(nextChild, Effect.zipRight(Fiber.join(primary), Effect.never))
        const running = yield* Effect.fork(
          Effect.ensuring(Effect.provide(program, process.layer), process.exit(0))
        )
        return { primary, process, running }
      })

    const report = <A>(deferred: Deferred.Deferred<A>, effect: Effect.Effect<A, never, any>) =>
      Layer.scopedDiscard(Effect.flatMap(effect, (value) => Deferred.succeed(deferred, value))) as Layer.Layer<
        never,
        never,
        Workers.Provided | Settings
      >

    it.effect("knows its place and the value of the main context, and accepts", () =>
      Effect.gen(function*() {
        const told = yield* Deferred.make<readonly [Workers.WorkerInfo["Type"], Settings["Type"]]>()
        const app = Layer.merge(server, report(told, Effect.all([Workers.WorkerInfo, Settings])))
        const { primary, process, running } = yield* withWorker(app)
        const [info, settings] = yield* Deferred.await(told)
        assert.deepInclude(info, { name: "worker", index: 0, size: 1, generation: 1, restarts: 0 })
        assert.deepStrictEqual(settings, { database: { port: 5432 } })
        assert.deepStrictEqual(yield* info.stopSignal, Option.none())
        yield* settle
        assert.deepStrictEqual(yield* (yield* TestEnv).accepting(address), [process.pid])
        assert.notInclude(JSON.stringify(process.environment), "5432")
        yield* Fiber.interrupt(primary)
        assert.deepStrictEqual(yield* Fiber.join(running), ExitReason.Stopped())
        assert.deepStrictEqual(yield* info.stopSignal, Option.some("SIGTERM"))
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("learns which signal stops it, from the pool or by itself", () =>
      Effect.gen(function*() {
        const { self } = yield* TestEnv
        for (const whom of ["primary", "worker"] as const) {
          const told = yield* Deferred.make<Workers.WorkerInfo["Type"]>()
          const { primary, process, running } = yield* withWorker(report(told, Workers.WorkerInfo))
          const info = yield* Deferred.await(told)
          yield* settle
          yield* (whom === "primary" ? self : process).kill("SIGINT")
          yield* Fiber.join(running)
          assert.deepStrictEqual(yield* info.stopSignal, Option.some("SIGINT"))
          yield* Fiber.interrupt(primary)
        }
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("leaves the upgrade signal to its primary", () =>
      Effect.gen(function*() {
        const told = yield* Deferred.make<Upgrader.Upgrader["Type"]>()
        const { primary, process, running } = yield* withWorker(report(told, Upgrader.Upgrader))
        const upgrader = yield* Deferred.await(told)
        assert.isFalse(upgrader.hasParent, "no older copy of it")
        yield* settle
        yield* process.kill("SIGHUP")
        yield* settle
        assert.isFalse(yield* isDone(running))
        assert.strictEqual((yield* Effect.flip(upgrader.upgrade))._tag, "NotSupportedError")
        yield* Fiber.interrupt(primary)
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("finishes when its primary is gone, also while it starts", () =>
      Effect.gen(function*() {
        for (const app of [Layer.empty, Layer.effectDiscard(Effect.never)]) {
          const machine = yield* Layer.build(TestEnv.layer)
          yield* Effect.gen(function*() {
            const { process, running } = yield* withWorker(app)
            yield* settle
            assert.isFalse(yield* isDone(running))
            yield* (yield* TestEnv).self.kill("SIGKILL")
            assert.deepStrictEqual(yield* Fiber.join(running), ExitReason.Stopped())
            assert.deepStrictEqual(yield* process.status, ExitStatus.Exited({ code: 0 }))
          }).pipe(Effect.provide(machine))
        }
      }).pipe(Effect.scoped))

    it.effect("has no older generations on a first start", () =>
      Effect.gen(function*() {
        const told = yield* Deferred.make<void>()
        const { primary } = yield* withWorker(Layer.scopedDiscard(
          Effect.gen(function*() {
            const { waitForParent } = yield* Upgrader.Upgrader
            yield* Effect.forkScoped(Effect.intoDeferred(Effect.orDie(waitForParent), told))
          })
        ))
        yield* Deferred.await(told)
        yield* Fiber.interrupt(primary)
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("does not start if the value does not encode, and the error names the field", () =>
      Effect.gen(function*() {
        const { primary } = yield* Effect.flip(
          Effect.map(withWorker(Layer.empty, {}, { database: { port: 1.5 } }), () => "it has started")
        ).pipe(Effect.map((error) => ({ primary: error })))
        assert.strictEqual((primary as { _tag: string })._tag, "MainContextError")
        assert.match(
          (primary as Error).message,
          /^The value Settings of the main context could not be encoded, because of its field database.port: Expected an integer/
        )
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("does not start if the value is larger than what is read", () =>
      Effect.gen(function*() {
        class Book extends Context.Tag("Book")<Book, string>() {}
        const error = yield* Effect.flip(
          Workers.launchWithoutEnv(Layer.empty, {
            main: Workers.main(Layer.succeed(Book, "x".repeat(9 * 1024 * 1024)), Book, Schema.String)
          })
        )
        assert.match(String(error), /The value Book .* it has 9437186 bytes, and 8388608 are taken/)
        yield* noOneElse
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("runs in the life of the main context", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const main = Layer.scoped(
          Settings,
          Effect.acquireRelease(
            Effect.sync(() => {
              seen.push("main built")
              return { database: { port: 1 } }
            }),
            () => Effect.sync(() => void seen.push("main released"))
          )
        )
        const worker = Layer.scopedDiscard(Effect.acquireRelease(
          Effect.sync(() => void seen.push("worker built")),
          () => Effect.sync(() => void seen.push("worker released"))
        ))
        const ready = yield* Deferred.make<void>()
        const { primary } = yield* withWorker(Layer.merge(worker, report(ready, Effect.void)), {
          main: Workers.main(main, Settings, Settings.schema)
        } as {})
        yield* Deferred.await(ready)
        yield* settle
        yield* Fiber.interrupt(primary)
        assert.deepStrictEqual(seen, ["main built", "worker built", "worker released", "main released"])
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("is not taken for one if the program no longer runs a pool", () =>
      Effect.gen(function*() {
        const { pool } = yield* startPool({ size: 1 })
        const [worker] = yield* nextChildren(1)
        const error = yield* Effect.flip(
          Effect.scoped(Effect.provide(Layer.build(Upgrader.layerWithoutEnv()), worker!.layer))
        )
        assert.match(error.message, /TABLEFLIP_CONTROL is set: a pool has started this program as one of its workers/)
        yield* stopPool(pool, [worker!])
      }).pipe(Effect.provide(TestEnv.layer)))
  })

  // One after the other, so that the time limit of each is its own.
  describe.sequential("come to a good end whatever happens to them", () => {
    it.effect.each(Array.from({ length: 40 }, (_, index) => index + 1))(
      "with the seed %s",
      (seed) => Effect.provide(anything(seed), TestEnv.layer).pipe(Effect.scoped)
    )
  })
})

/** A pool to which things happen in an order that the seed tells, while its processes do as they are told. */
const anything = (seed: number) =>
  Effect.gen(function*() {
    let state = seed * 2_654_435_761 % 4_294_967_296
    const random = (below: number) => {
      state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296
      return Math.floor(state / 4_294_967_296 * below)
    }
    const { nextChild, processes } = yield* TestEnv
    const children = new Set<FakeProcess>()
    const behave = (child: FakeProcess) =>
      Effect.gen(function*() {
        children.add(child)
        const fate = random(10)
        if (fate === 0) return yield* child.exit(random(2))
        if (fate === 1) return yield* child.closeReady
        yield* child.notifyReady
        if (fate === 2) return yield* child.kill("SIGKILL")
        yield* finishWhenTold(child)
      }).pipe(Effect.exit)
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(nextChild, (child) => Effect.forkScoped(behave(child)))))

    const { pool, workers } = yield* startPool({ size: 2, replace: { atOnce: random(2) === 0 ? "all" : 1 } })
    const asked: Array<Fiber.RuntimeFiber<unknown>> = []
    for (let step = 0; step < 30; step++) {
      const all = [...children]
      const happen: ReadonlyArray<Effect.Effect<unknown>> = [
        Effect.exit(workers.replace),
        Effect.exit(workers.resize(1 + random(4))),
        Effect.suspend(() => all[random(all.length)]?.kill("SIGKILL") ?? Effect.void),
        TestClock.adjust(Duration.millis(random(2_000))),
        settle
      ]
      asked.push(yield* Effect.fork(happen[random(happen.length)]!))
      if (random(2) === 0) yield* settle
    }
    const stopping = yield* Effect.fork(Fiber.interrupt(pool))
    for (let n = 0; n < 20; n++) {
      yield* settle
      yield* TestClock.adjust("1 minute")
    }
    yield* Fiber.join(stopping)
    const exits = yield* Fiber.joinAll(asked).pipe(Effect.timeout("1 minute"), Effect.exit)
    assert.isTrue(Exit.isSuccess(exits), `seed ${seed}: every command has ended`)
    assert.strictEqual(yield* processes, 1, `seed ${seed}: only the primary is left`)
  }).pipe(Effect.scoped)
