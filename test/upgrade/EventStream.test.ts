import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as EventStream from "../../src/EventStream.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import type { UpgraderEvent } from "../../src/UpgraderEvent.ts"

describe("a stream of events", () => {
  it.scoped("tells what happens while it runs, and ends with the service", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Upgrader.layerWithoutEnv(), scope)
      const upgrader = Context.get(context, Upgrader.Upgrader)
      const told: Array<string> = []
      const hasFailed = yield* Deferred.make<void>()
      const tell = ({ _tag }: UpgraderEvent) => {
        told.push(_tag)
        return _tag === "UpgradeFailed" ? Deferred.succeed(hasFailed, undefined) : Effect.void
      }
      const events = yield* Effect.fork(Stream.runForEach(EventStream.from(upgrader), tell))
      yield* Effect.yieldNow()
      yield* upgrader.ready
      const failing = yield* Effect.fork(upgrader.upgrade)
      const { nextChild } = yield* TestEnv
      yield* (yield* nextChild).exit(1)
      yield* Effect.exit(Fiber.join(failing))
      yield* Deferred.await(hasFailed)
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(events)
      assert.deepStrictEqual(told.slice(0, 3), ["Ready", "UpgradeStarted", "UpgradeFailed"])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is over when whoever reads it has enough", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const first = yield* Effect.fork(Stream.runHead(EventStream.from(upgrader)))
      yield* Effect.yieldNow()
      yield* upgrader.ready
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(first))._tag, "Ready")
    }).pipe(Effect.provide(Upgrader.layerWithoutEnv()), Effect.provide(TestEnv.layer)))
})
