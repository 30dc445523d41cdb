/**
 * A pool for work that ends.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Env } from "../../src/internal/system/env.ts"
import { run } from "../../src/internal/workers/workers.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Workers from "../../src/Workers.ts"
import { finishWhenTold, isDone, nextChildren, settle } from "./fakePool.ts"

const runPool = (size: number) =>
  Effect.gen(function*() {
    const service = yield* Deferred.make<Workers.Workers["Type"]>()
    const main = Workers.main(Layer.effectDiscard(Effect.intoDeferred(Workers.Workers, service)))
    const work = run(Workers.Workers, { _tag: "Task", effect: Effect.void }, { size, ...{ main } as {} })
    const pool = yield* Effect.fork(work as Effect.Effect<ReadonlyArray<Workers.ProcessExit>, unknown, Env>)
    const children = yield* nextChildren(size)
    for (const { notifyReady } of children) yield* notifyReady
    yield* settle
    return { pool, children, workers: yield* Deferred.await(service) }
  })

describe("Workers.run", () => {
  it.effect("ends when every worker has", () =>
    Effect.gen(function*() {
      const { children, pool } = yield* runPool(2)
      yield* children[0]!.exit(0)
      yield* settle
      assert.isFalse(yield* isDone(pool))
      yield* children[1]!.exit(3)
      const exits: ReadonlyArray<Workers.ProcessExit> = yield* Fiber.join(pool)
      assert.deepStrictEqual(exits.map(({ index }) => index), [0, 1])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.effect("ends when the workers that have not done their work are taken away", () =>
    Effect.gen(function*() {
      const { children, pool, workers } = yield* runPool(3)
      yield* children[0]!.exit(0)
      yield* children[1]!.exit(0)
      yield* settle
      const shrinking = yield* Effect.fork(workers.resize(2))
      yield* finishWhenTold(children[2]!)
      yield* Fiber.join(shrinking)
      yield* Fiber.join(pool)
    }).pipe(Effect.provide(TestEnv.layer)))
})
