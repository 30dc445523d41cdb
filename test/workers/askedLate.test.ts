/**
 * Whoever asks a pool for something after its end is answered.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestEnv } from "../../src/Testing.ts"
import type * as Workers from "../../src/Workers.ts"
import { isDone, settle, stopPool, upAndRunning } from "./fakePool.ts"

const asks: Record<string, (workers: Workers.Workers["Type"]) => Effect.Effect<void, { readonly _tag: string }>> = {
  replace: ({ replace }) => replace,
  replaceWorker: ({ replaceWorker }) => replaceWorker(0),
  resize: ({ resize }) => resize(3)
}

it.effect.each(Object.keys(asks))(
  "%s after the pool has ended fails, and the caller goes on",
  (name) =>
    Effect.gen(function*() {
      const { children, pool, workers } = yield* upAndRunning()
      yield* stopPool(pool, children)
      const caller = yield* Effect.fork(Effect.flip(asks[name]!(workers)))
      yield* settle
      assert.isTrue(yield* isDone(caller))
      const answer = yield* Fiber.await(caller)
      assert.strictEqual(Exit.isSuccess(answer) && answer.value._tag, "TerminatingError")
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer))
)
