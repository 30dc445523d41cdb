import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import { broadcast, drain } from "../src/internal/seam.ts"

describe("a broadcast", () => {
  it.scoped("keeps the newest for a subscriber who does not take them, and loses none for one who does", () =>
    Effect.gen(function*() {
      const { events, publish } = yield* broadcast<number>()
      const idle = yield* events
      const busy = yield* events
      const taken: Array<number> = []
      for (let event = 0; event < 3_000; event++) {
        yield* publish(event)
        taken.push(...yield* drain(busy))
      }
      assert.strictEqual(taken.length, 3_000)
      const kept = yield* drain(idle)
      assert.strictEqual(kept.length, 1_024)
      assert.deepStrictEqual([kept[0], kept.at(-1)], [3_000 - 1_024, 2_999])
    }))

  it.scoped("goes on for the others when a subscriber leaves", () =>
    Effect.gen(function*() {
      const { events, publish } = yield* broadcast<number>()
      const stays = yield* events
      yield* Effect.scoped(Effect.zipRight(events, publish(1)))
      yield* publish(2)
      assert.deepStrictEqual([...yield* drain(stays)], [1, 2])
    }))

  it.scoped("whose scope is closed ends for whoever subscribes late too, and keeps nothing for him", () =>
    Effect.gen(function*() {
      const { events } = yield* Effect.scoped(broadcast<number>())
      const late = yield* events
      yield* Fiber.await(yield* Effect.fork(Queue.take(late)))
    }))
})
