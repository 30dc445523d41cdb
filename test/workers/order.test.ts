import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type { PoolEvent } from "../../src/PoolEvent.ts"
import { TestEnv } from "../../src/Testing.ts"
import { finishWhenTold, nextChildren, settle, stopPool, upAndRunning } from "./fakePool.ts"

describe("what happens in a pool is told in order:", () => {
  it.scoped("the end of each process before that of all of them", () =>
    Effect.gen(function*() {
      const { children, events, pool, workers } = yield* upAndRunning()
      const ends: Array<string> = []
      const take = ({ _tag }: PoolEvent) => ["Exited", "Replaced", "Stopped"].includes(_tag) && ends.push(_tag)
      yield* Effect.fork(Effect.forever(Effect.map(Queue.take(events), take)))
      const replacing = yield* Effect.fork(workers.replace)
      const fresh = []
      for (const old of children) {
        const [next] = yield* nextChildren(1)
        fresh.push(next!)
        yield* next!.notifyReady
        yield* finishWhenTold(old)
      }
      yield* Fiber.join(replacing)
      yield* settle
      assert.deepStrictEqual(ends, ["Exited", "Exited", "Replaced"])
      yield* stopPool(pool, fresh)
      // What has not been taken when the pool is over is lost.
      const told = ends.slice(3)
      assert.deepStrictEqual(told, ["Exited", "Exited", "Stopped"].slice(0, told.length))
    }).pipe(Effect.provide(TestEnv.layer)))
})
