import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestEnv } from "../../src/Testing.ts"
import type { Seen } from "../kit/spans.ts"
import { traced } from "../kit/spans.ts"
import { finishWhenTold, nextChildren, stopPool, upAndRunning } from "./fakePool.ts"

const tagOf = (exit: Seen["exit"]) => exit === undefined ? "open" : Exit.isSuccess(exit) ? "success" : "failure"

const about = (seen: ReadonlyArray<Seen>) =>
  seen.filter(({ name }) => name.startsWith("tableflip.pool")).map(({ attributes, exit, name }) => [
    name.slice("tableflip.pool.".length),
    tagOf(exit),
    ...attributes.values()
  ])

describe("the spans of a pool", () => {
  it.scoped("tell what is replaced, by which generation, and how that ended", () => {
    const seen: Array<Seen> = []
    return Effect.gen(function*() {
      const { children: [first], pool, workers } = yield* upAndRunning({ size: 1 })
      const failing = yield* Effect.fork(Effect.flip(workers.replace))
      const [second] = yield* nextChildren(1)
      assert.deepStrictEqual(about(seen), [["replace", "open", 2, 1]])
      yield* second!.exit(1)
      yield* Fiber.join(failing)
      const replacing = yield* Effect.fork(workers.replaceWorker(0))
      const [third] = yield* nextChildren(1)
      yield* third!.notifyReady
      yield* finishWhenTold(first!)
      yield* Fiber.join(replacing)
      const resizing = yield* Effect.fork(workers.resize(2))
      const [fourth] = yield* nextChildren(1)
      yield* fourth!.notifyReady
      yield* Fiber.join(resizing)
      assert.deepStrictEqual(about(seen), [
        ["replace", "failure", 2, 1],
        ["replace", "success", 2, 1],
        ["resize", "success", 1, 2]
      ])
      yield* stopPool(pool, [third!, fourth!])
    }).pipe(traced(seen), Effect.provide(TestEnv.layer))
  })
})
