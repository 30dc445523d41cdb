import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import * as Inbox from "../src/internal/inbox.ts"

describe("inbox", () => {
  it.effect("gives items in order, those before its end too", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make<number>()
      assert.isTrue(yield* inbox.offer(1))
      assert.isTrue(inbox.unsafeOffer(2))
      yield* inbox.end
      assert.isFalse(yield* inbox.offer(3))
      assert.deepStrictEqual([yield* inbox.take, yield* inbox.take], [1, 2])
      assert.isTrue(Option.isNone(yield* Effect.option(inbox.take)))
    }))

  it.effect("wakes a reader by an item and by the end", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make<number>()
      const first = yield* Effect.fork(inbox.take)
      yield* Effect.yieldNow()
      yield* inbox.offer(1)
      assert.strictEqual(yield* Fiber.join(first), 1)
      const second = yield* Effect.fork(Effect.option(inbox.take))
      yield* Effect.yieldNow()
      yield* inbox.end
      assert.isTrue(Option.isNone(yield* Fiber.join(second)))
    }))

  it.effect("loses nothing to a reader that is interrupted, in the turn of the offer too", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make<number>()
      const reader = yield* Effect.fork(inbox.take)
      yield* Effect.yieldNow()
      inbox.unsafeOffer(1)
      const exit = yield* Fiber.interrupt(reader)
      const left = Exit.isSuccess(exit) ? exit.value : yield* inbox.take
      assert.strictEqual(left, 1)
    }))
})
