import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const options: Upgrader.Options = { maxDraining: 3 }
const machine = Upgrader.layerWithoutEnv(options).pipe(Layer.provideMerge(TestEnv.layer))

const settle = Effect.repeat(Effect.yieldNow(), { times: 100 })

interface Steerable {
  /** Lets what was interrupted end. */
  readonly letGo: Effect.Effect<void>
}

/** Runs until it is interrupted, and ends only when it is let go. */
const runner = (name: string, log: Array<string>) =>
  Effect.gen(function*() {
    const mayEnd = yield* Deferred.make<void>()
    yield* Effect.addFinalizer(() => Deferred.succeed(mayEnd, void 0))
    const steer: Steerable = { letGo: Effect.zipRight(Deferred.succeed(mayEnd, void 0), settle) }
    const effect = Effect.acquireUseRelease(
      Effect.sync(() => log.push(`${name} begins`)),
      () => Effect.never,
      () => Effect.zipRight(Deferred.await(mayEnd), Effect.sync(() => log.push(`${name} has ended`)))
    )
    return { effect, ...steer }
  })

/** The next generation: the library runs in it too. */
const nextOf = (upgrader: Upgrader.Upgrader["Type"]) =>
  Effect.gen(function*() {
    const { nextChild } = yield* TestEnv
    const upgrade = yield* Effect.fork(upgrader.upgrade)
    const child = yield* nextChild
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const context = yield* Layer.buildWithScope(
      Layer.fresh(Upgrader.layerWithoutEnv(options)).pipe(Layer.provide(child.layer)),
      scope
    )
    const next = yield* Effect.provide(Upgrader.Upgrader, context)
    return { child, next, upgrade, takeOver: Effect.zipRight(next.ready, Fiber.join(upgrade)) }
  })

describe("exclusive", () => {
  it.scoped("goes to the next generation when the old effect has ended, while the old process still drains", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const old = yield* Upgrader.Upgrader
      const [first, second] = [yield* runner("1", log), yield* runner("2", log)]
      const running = yield* Effect.fork(old.exclusive("jobs", first.effect))
      yield* old.ready
      yield* settle
      const { next, takeOver } = yield* nextOf(old)
      yield* Effect.fork(next.exclusive("jobs", second.effect))
      yield* settle
      assert.deepStrictEqual(log, ["1 begins"], "the new one has not taken over")
      yield* takeOver
      yield* settle
      assert.deepStrictEqual(log, ["1 begins"], "the old one has been interrupted, and has not ended")
      yield* first.letGo
      assert.deepStrictEqual(log, ["1 begins", "1 has ended", "2 begins"])
      assert.deepStrictEqual(yield* Fiber.join(running), Option.none())
      assert.strictEqual((yield* next.status).olderDraining, 1)
      yield* second.letGo
    }).pipe(Effect.provide(machine)))

  it.scoped("is another's under another name, and waits for its own process under the same one", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const upgrader = yield* Upgrader.Upgrader
      const [a, b, c] = [yield* runner("a", log), yield* runner("b", log), yield* runner("c", log)]
      const running = yield* Effect.fork(upgrader.exclusive("one", a.effect))
      yield* Effect.fork(upgrader.exclusive("other", b.effect))
      yield* Effect.fork(upgrader.exclusive("one", c.effect))
      yield* settle
      assert.deepStrictEqual(log, ["a begins", "b begins"])
      yield* Effect.fork(Fiber.interrupt(running))
      yield* settle
      yield* a.letGo
      assert.deepStrictEqual(log.slice(2), ["a has ended", "c begins"])
      yield* Effect.forEach([b, c], ({ letGo }) => letGo)
    }).pipe(Effect.provide(machine)))

  it.scoped("gives what the effect gives, or fails with it, and then it is the turn of the next", () =>
    Effect.gen(function*() {
      const { exclusive } = yield* Upgrader.Upgrader
      assert.deepStrictEqual(yield* exclusive("jobs", Effect.succeed(1)), Option.some(1))
      assert.strictEqual(yield* Effect.flip(exclusive("jobs", Effect.fail("no"))), "no")
      assert.deepStrictEqual(yield* exclusive("jobs", Effect.succeed(2)), Option.some(2))
      const wrong = yield* Effect.flip(exclusive("", Effect.void))
      assert.strictEqual(wrong._tag, "InvalidOptionError")
    }).pipe(Effect.provide(machine)))

  it.scoped("is nobody's when this process was told to stop", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const upgrader = yield* Upgrader.Upgrader
      const [first, second] = [yield* runner("1", log), yield* runner("2", log)]
      const running = yield* Effect.fork(upgrader.exclusive("jobs", first.effect))
      const waiting = yield* Effect.fork(upgrader.exclusive("jobs", second.effect))
      yield* upgrader.ready
      yield* settle
      yield* upgrader.stop
      yield* first.letGo
      assert.deepStrictEqual(yield* Fiber.join(running), Option.none())
      assert.deepStrictEqual(yield* Fiber.join(waiting), Option.none())
      assert.deepStrictEqual(yield* upgrader.exclusive("jobs", second.effect), Option.none())
      assert.deepStrictEqual(log, ["1 begins", "1 has ended"])
    }).pipe(Effect.provide(machine)))

  it.scoped("stays with a process whose upgrade fails", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const old = yield* Upgrader.Upgrader
      const first = yield* runner("1", log)
      const running = yield* Effect.fork(old.exclusive("jobs", first.effect))
      yield* old.ready
      const { child, next, upgrade } = yield* nextOf(old)
      const waiting = yield* Effect.fork(next.exclusive("jobs", Effect.sync(() => log.push("2 begins"))))
      yield* settle
      yield* Fiber.interrupt(waiting)
      yield* child.kill("SIGKILL")
      yield* Fiber.await(upgrade)
      yield* settle
      assert.deepStrictEqual(log, ["1 begins"])
      const later = yield* nextOf(old)
      yield* Effect.fork(later.next.exclusive("jobs", Effect.sync(() => log.push("3 begins"))))
      yield* later.takeOver
      yield* first.letGo
      assert.deepStrictEqual(log, ["1 begins", "1 has ended", "3 begins"])
      yield* Fiber.join(running)
    }).pipe(Effect.provide(machine)))

  it.scoped("goes past a generation that never had its turn, and one that was killed", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const one = yield* Upgrader.Upgrader
      const { self } = yield* TestEnv
      const first = yield* runner("1", log)
      yield* Effect.fork(one.exclusive("jobs", first.effect))
      yield* one.ready
      const two = yield* nextOf(one)
      yield* Effect.fork(two.next.exclusive("jobs", Effect.sync(() => log.push("2 begins"))))
      yield* two.takeOver
      const three = yield* nextOf(two.next)
      yield* Effect.fork(three.next.exclusive("jobs", Effect.sync(() => log.push("3 begins"))))
      yield* three.takeOver
      yield* settle
      assert.deepStrictEqual(log, ["1 begins"])
      yield* two.child.kill("SIGKILL")
      yield* settle
      assert.deepStrictEqual(log, ["1 begins"], "the first generation is still at it")
      yield* self.exit(0)
      yield* settle
      assert.deepStrictEqual(log, ["1 begins", "3 begins"])
      yield* first.letGo
    }).pipe(Effect.provide(machine)))
})
