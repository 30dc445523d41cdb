import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import * as net from "node:net"
import * as Fds from "../../src/Fds.ts"
import * as Health from "../../src/Health.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const machine = Upgrader.layerWithoutEnv().pipe(Layer.provideMerge(TestEnv.layer))

const address = { port: 8080, host: "127.0.0.1" }

describe("Health", () => {
  it.effect("is good from ready on, in an upgrade that fails, and where a newer process has taken over", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { nextChild } = yield* TestEnv
      const { isReady } = yield* Health.make({ delay: "4 seconds" })
      assert.isFalse(yield* isReady)
      yield* upgrader.ready
      assert.isTrue(yield* isReady)
      const failing = yield* Effect.fork(Effect.flip(upgrader.upgrade))
      const broken = yield* nextChild
      assert.isTrue(yield* isReady)
      yield* broken.exit(1)
      yield* failing
      assert.isTrue(yield* isReady)
      const upgrade = yield* Effect.fork(upgrader.upgrade)
      yield* (yield* nextChild).notifyReady
      yield* upgrade
      assert.isTrue(yield* isReady)
      // No delay: the newer process accepts.
      yield* upgrader.drain
    }).pipe(Effect.scoped, Effect.provide(machine)))

  it.effect("is bad from when the process is told to stop, and it accepts for the delay", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { accepting } = yield* TestEnv
      const { isReady } = yield* Health.make({ delay: "4 seconds" })
      yield* Fds.listen(net.createServer(), address)
      yield* upgrader.ready
      yield* upgrader.stop
      const drain = yield* Effect.fork(upgrader.drain)
      yield* TestClock.adjust("3 seconds")
      assert.isFalse(yield* isReady)
      assert.strictEqual((yield* accepting(address)).length, 1)
      yield* TestClock.adjust("1 second")
      yield* drain
      assert.deepStrictEqual(yield* accepting(address), [])
    }).pipe(Effect.scoped, Effect.provide(machine)))

  it.effect("lets a process stop at once, without a delay", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { isReady } = yield* Health.make()
      yield* Fds.listen(net.createServer(), address)
      yield* upgrader.ready
      yield* upgrader.stop
      assert.isFalse(yield* isReady)
      yield* upgrader.drain
    }).pipe(Effect.scoped, Effect.provide(machine)))
})
