import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as HandOver from "../../src/HandOver.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const machine = Upgrader.layerWithoutEnv().pipe(Layer.provideMerge(TestEnv.layer))

const counters = HandOver.item("counters.v1", Schema.Struct({ hits: Schema.Number }))

/** The upgrade has begun, and the library runs in its new process too. */
const nextGeneration = Effect.gen(function*() {
  const old = yield* Upgrader.Upgrader
  const { nextChild } = yield* TestEnv
  yield* old.ready
  const upgrade = yield* Effect.fork(old.upgrade)
  const child = yield* nextChild
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const context = yield* Layer.buildWithScope(Upgrader.layerWithoutEnv().pipe(Layer.provide(child.layer)), scope)
  return {
    old,
    child,
    upgrade,
    inNew: <A, E>(effect: Effect.Effect<A, E, Upgrader.Upgrader>) => Effect.provide(effect, context)
  }
})

const takenOver = ({ inNew, upgrade }: Effect.Effect.Success<typeof nextGeneration>) =>
  Effect.zipRight(inNew(Effect.flatMap(Upgrader.Upgrader, ({ ready }) => ready)), Fiber.join(upgrade))

const dies = (child: FakeProcess) => child.kill("SIGKILL")

describe("HandOver", () => {
  it.scoped("gives what is so when the new process asks, and the last of it after the drain", () =>
    Effect.gen(function*() {
      const hits = yield* Ref.make(1)
      const value = Effect.map(Ref.get(hits), (hits) => ({ hits }))
      yield* HandOver.give(counters, { now: value, last: value })
      const next = yield* nextGeneration
      yield* Ref.set(hits, 2)
      assert.deepStrictEqual(yield* next.inNew(HandOver.take(counters)), Option.some({ hits: 2 }))
      const last = yield* Effect.fork(next.inNew(HandOver.takeLast(counters)))
      yield* takenOver(next)
      yield* Ref.set(hits, 3)
      assert.isNull(last.unsafePoll())
      yield* next.old.drain
      assert.deepStrictEqual(yield* Fiber.join(last), Option.some({ hits: 3 }))
      assert.deepStrictEqual(yield* next.inNew(HandOver.takeLast(counters)), Option.some({ hits: 3 }))
    }).pipe(Effect.provide(machine)))

  it.scoped("has nothing in a first process, under another key, and where nothing is given last", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* HandOver.take(counters), Option.none())
      assert.deepStrictEqual(yield* HandOver.takeLast(counters), Option.none())
      yield* HandOver.give(counters, { now: Effect.succeed({ hits: 1 }) })
      const next = yield* nextGeneration
      const other = HandOver.item("counters.v2", Schema.Number)
      assert.deepStrictEqual(yield* next.inNew(HandOver.take(other)), Option.none())
      const last = yield* Effect.fork(next.inNew(HandOver.takeLast(counters)))
      yield* takenOver(next)
      yield* next.old.drain
      assert.deepStrictEqual(yield* Fiber.join(last), Option.none())
    }).pipe(Effect.provide(machine)))

  it.scoped("tells the new process why a value cannot be had", () =>
    Effect.gen(function*() {
      const reasonOf = (key: string) =>
        Effect.map(Effect.flip(HandOver.take(HandOver.item(key, Schema.String))), ({ detail, reason }) => [
          reason,
          detail.replace("the older process could not give it: ", "")
        ])
      const text = (key: string) => HandOver.item(key, Schema.String)
      const give = (key: string, now: Effect.Effect<string, Error>) => HandOver.give(text(key), { now })
      yield* give("fails", Effect.fail(new Error("the disk is gone")))
      yield* give("dies", Effect.die(new Error("never")))
      yield* give("large", Effect.sync(() => "x".repeat(16 * 1024 * 1024)))
      const asked = yield* Deferred.make<void>()
      yield* give("slow", Effect.uninterruptible(Effect.zipRight(Deferred.succeed(asked, void 0), Effect.never)))
      yield* HandOver.give(HandOver.item("wrong", Schema.NonEmptyString), { now: Effect.succeed("") })
      yield* HandOver.give(HandOver.item("other", Schema.Number), { now: Effect.succeed(1) })
      const next = yield* nextGeneration
      assert.deepStrictEqual(yield* next.inNew(reasonOf("fails")), ["Failure", "the disk is gone"])
      assert.deepStrictEqual(yield* next.inNew(reasonOf("dies")), ["Failure", "never"])
      assert.strictEqual((yield* next.inNew(reasonOf("large")))[0], "TooLarge")
      assert.strictEqual((yield* next.inNew(reasonOf("wrong")))[0], "Encode")
      assert.strictEqual((yield* next.inNew(reasonOf("other")))[0], "Decode")
      const slow = yield* Effect.fork(next.inNew(reasonOf("slow")))
      yield* Deferred.await(asked)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(slow), ["Timeout", "it took longer than 5s"])
    }).pipe(Effect.provide(machine)))

  it.scoped("refuses a key that cannot be and one that is given already, until that scope is closed", () =>
    Effect.gen(function*() {
      const giveNumber = (key: string) => HandOver.give(HandOver.item(key, Schema.Number), { now: Effect.succeed(1) })
      assert.strictEqual((yield* Effect.flip(giveNumber(""))).reason, "WrongKey")
      assert.strictEqual((yield* Effect.flip(giveNumber("k".repeat(201)))).reason, "WrongKey")
      assert.strictEqual((yield* Effect.flip(HandOver.take(HandOver.item("", Schema.Number)))).reason, "WrongKey")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* giveNumber("one")
        assert.strictEqual((yield* Effect.flip(giveNumber("one"))).reason, "InUse")
      }))
      yield* giveNumber("one")
    }).pipe(Effect.provide(machine)))

  it.scoped("does not wait for an older process that has died", () =>
    Effect.gen(function*() {
      yield* HandOver.give(counters, { now: Effect.never, last: Effect.succeed({ hits: 1 }) })
      const next = yield* nextGeneration
      const { self } = yield* TestEnv
      const now = yield* Effect.fork(next.inNew(HandOver.take(counters)))
      const last = yield* Effect.fork(next.inNew(HandOver.takeLast(counters)))
      yield* Effect.yieldNow()
      yield* dies(self)
      assert.deepStrictEqual(yield* Fiber.join(now), Option.none())
      assert.deepStrictEqual(yield* Fiber.join(last), Option.none())
      assert.deepStrictEqual(yield* next.inNew(HandOver.take(counters)), Option.none())
    }).pipe(Effect.provide(machine)))

  it.scoped("ends a drain although the new process never takes the last of it", () =>
    Effect.gen(function*() {
      yield* HandOver.give(counters, { now: Effect.succeed({ hits: 1 }), last: Effect.never })
      const next = yield* nextGeneration
      yield* takenOver(next)
      const drain = yield* Effect.fork(next.old.drain)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(drain)
      assert.strictEqual((yield* Effect.flip(next.inNew(HandOver.takeLast(counters)))).reason, "Timeout")
    }).pipe(Effect.provide(machine)))

  it.scoped("sends nothing to a new process that has failed", () =>
    Effect.gen(function*() {
      yield* HandOver.give(counters, { now: Effect.never, last: Effect.succeed({ hits: 1 }) })
      const next = yield* nextGeneration
      yield* dies(next.child)
      assert.strictEqual((yield* Effect.flip(Fiber.join(next.upgrade)))._tag, "ChildExitedError")
      yield* next.old.stop
      yield* next.old.drain
    }).pipe(Effect.provide(machine)))
})
