import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { runUntil } from "../src/internal/runUntil.ts"

/** Something that takes two steps to clean up, inside something that is cleaned up after it. */
const nested = Effect.gen(function*() {
  const seen: Array<string> = []
  const started = yield* Deferred.make<void>()
  const say = (what: string) => Effect.sync(() => void seen.push(what))
  const inner = Deferred.succeed(started, void 0).pipe(
    Effect.zipRight(Effect.never),
    Effect.onInterrupt(() => Effect.zipRight(Effect.repeat(Effect.yieldNow(), { times: 20 }), say("inner")))
  )
  return { seen, started, inner, say }
})

describe("runUntil", () => {
  it.effect("waits for the finalizers of what it runs when it is interrupted itself", () =>
    Effect.gen(function*() {
      const { inner, say, seen, started } = yield* nested
      const fiber = yield* Effect.fork(Effect.ensuring(runUntil(inner, Effect.never), say("outer")))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(seen, ["inner", "outer"])
    }))

  it.effect("and when the other one completes", () =>
    Effect.gen(function*() {
      const { inner, say, seen, started } = yield* nested
      const result = yield* runUntil(inner, Effect.as(Deferred.await(started), "enough")).pipe(
        Effect.ensuring(say("outer"))
      )
      assert.strictEqual(result, "enough")
      assert.deepStrictEqual(seen, ["inner", "outer"])
    }))

  it.effect("gives the result or the failure of what it runs", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* runUntil(Effect.succeed(1), Effect.never), 1)
      assert.strictEqual(yield* Effect.flip(runUntil(Effect.fail("no"), Effect.never)), "no")
    }))
})
