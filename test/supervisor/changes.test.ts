import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as changes from "../../src/internal/supervisor/changes.ts"
import type { Files } from "../../src/internal/system/file.ts"

/** What the files are, by their paths, and how often somebody has looked. */
const world = (files: Record<string, string>) => ({
  files: {
    fingerprint: (path: string) =>
      Effect.suspend(() => path in files ? Effect.succeed(files[path]!) : Effect.fail(`there is no ${path}` as unknown))
  } as Files
})

const seconds = (count: number) => TestClock.adjust(`${count} seconds`)

describe("what is looked at for a reload", () => {
  it.effect("has changed when it is the same in two looks", () =>
    Effect.gen(function*() {
      const content: Record<string, string> = { a: "1", b: "1" }
      const changed = yield* changes.make(world(content).files, ["a", "b"])
      const waiting = yield* Effect.fork(changed)
      yield* seconds(100)
      assert.isNull(waiting.unsafePoll())
      content["a"] = "2"
      yield* seconds(1)
      content["a"] = "3"
      yield* seconds(1)
      assert.isNull(waiting.unsafePoll(), "somebody writes")
      yield* seconds(1)
      assert.deepStrictEqual(yield* Fiber.join(waiting), ["a"])
    }))

  it.effect("is named once, with all that has changed beside it", () =>
    Effect.gen(function*() {
      const content: Record<string, string> = { a: "1", b: "1", c: "1" }
      const changed = yield* changes.make(world(content).files, ["a", "b", "c"])
      const first = yield* Effect.fork(changed)
      Object.assign(content, { a: "2", c: "2" })
      yield* seconds(2)
      assert.deepStrictEqual(yield* Fiber.join(first), ["a", "c"])
      const second = yield* Effect.fork(changed)
      yield* seconds(100)
      assert.isNull(second.unsafePoll())
      content["b"] = "2"
      yield* seconds(2)
      assert.deepStrictEqual(yield* Fiber.join(second), ["b"])
    }))

  it.effect("has changed when it was written while nobody waited, or back as it was and written once more", () =>
    Effect.gen(function*() {
      const content: Record<string, string> = { a: "1" }
      const changed = yield* changes.make(world(content).files, ["a"])
      content["a"] = "2"
      const first = yield* Effect.fork(changed)
      yield* seconds(2)
      assert.deepStrictEqual(yield* Fiber.join(first), ["a"])
      content["a"] = "1"
      const second = yield* Effect.fork(changed)
      yield* seconds(2)
      assert.deepStrictEqual(yield* Fiber.join(second), ["a"])
    }))

  it.effect("is left alone while it is away, and looked at when it is back", () =>
    Effect.gen(function*() {
      const content: Record<string, string> = { a: "1" }
      const changed = yield* changes.make(world(content).files, ["a"])
      const waiting = yield* Effect.fork(changed)
      delete content["a"]
      yield* seconds(100)
      content["a"] = "1"
      yield* seconds(100)
      assert.isNull(waiting.unsafePoll(), "it is as it was")
      delete content["a"]
      yield* seconds(1)
      content["a"] = "2"
      yield* seconds(2)
      assert.deepStrictEqual(yield* Fiber.join(waiting), ["a"])
    }))

  it.effect("has to be there at first", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.asVoid(changes.make(world({}).files, ["a"])))
      assert.strictEqual(error.option, "reloadOnChange")
      assert.include(error.message, "there is no a")
    }))
})
