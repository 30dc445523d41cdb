import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import type { PoolEvent } from "../../src/PoolEvent.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import { finishWhenTold, nextChildren, nextRetirement, settle, stopPool, upAndRunning } from "./fakePool.ts"

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

const loggedInto = (lines: Array<string>) =>
  Effect.provide(Logger.add(Logger.make(({ message }) => void lines.push(String(message)))))

describe("the log tells of a worker that was to finish", () => {
  const replaced = (end: (old: FakeProcess) => Effect.Effect<unknown>) => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const { children: [old], pool, workers } = yield* upAndRunning({ size: 1 })
      const replacing = yield* Effect.fork(workers.replace)
      const [next] = yield* nextChildren(1)
      yield* next!.notifyReady
      yield* end(old!)
      yield* Fiber.join(replacing)
      yield* stopPool(pool, [next!])
      return lines.filter((line) => line.includes("while it was finishing"))
    }).pipe(loggedInto(lines), Effect.scoped, Effect.provide(TestEnv.layer))
  }

  it.effect("and was killed", () =>
    Effect.map(
      replaced((old) => Effect.zipRight(nextRetirement(old), old.kill("SIGKILL"))),
      (lines) =>
        assert.match(
          lines.join("\n"),
          /^The worker 0 \(process \d+\) was killed by SIGKILL while it was finishing; what it still served is lost$/
        )
    ))

  it.effect("not if it has exited by itself, whose code may tell of a connection that was forced", () =>
    Effect.map(
      replaced((old) => Effect.zipRight(nextRetirement(old), old.exit(3))),
      (lines) => assert.deepStrictEqual(lines, [])
    ))

  it.effect("not if it was killed before it was told", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      const { children, pool, workers } = yield* upAndRunning({ size: 1 })
      const resizing = yield* Effect.fork(Effect.exit(workers.resize(3)))
      const fresh = yield* nextChildren(2)
      yield* fresh[0]!.notifyReady
      yield* settle
      yield* fresh[0]!.kill("SIGKILL")
      yield* settle
      yield* fresh[1]!.notifyReady
      yield* settle
      yield* fresh[1]!.exit(0)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(resizing)))
      yield* stopPool(pool, children)
      assert.deepStrictEqual(lines.filter((line) => line.includes("while it was finishing")), [])
    }).pipe(loggedInto(lines), Effect.scoped, Effect.provide(TestEnv.layer))
  })

  it.effect("not if it has", () => Effect.map(replaced(finishWhenTold), (lines) => assert.deepStrictEqual(lines, [])))
})
