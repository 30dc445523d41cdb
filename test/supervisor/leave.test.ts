import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Channel, ChannelListener } from "../../src/internal/system/channel.ts"
import type { System } from "../../src/internal/system/env.ts"
import { Env } from "../../src/internal/system/env.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import { TestEnv } from "../../src/Testing.ts"

const nextChild = Effect.flatMap(TestEnv, ({ nextChild }) => nextChild)

const settle = Effect.repeat(Effect.yieldNow(), { times: 100 })

/** A process that has greeted, and says what the test says. */
const spoken = () => {
  let listener: ChannelListener | undefined
  const channel: Channel = {
    send: () => true,
    pass: () => true,
    written: (go) => go(),
    listen: (to) => {
      listener = to
      to.onWords({ _tag: "Greeting" }, Option.none())
    },
    close: () => {}
  }
  return { channel, say: (words: object) => listener!.onWords(words, Option.none()) }
}

/** A supervisor with an older generation that drains, and that has not said that it gives no more connections. */
const reloaded = (options: Partial<Supervisor.Options> = {}) =>
  Effect.gen(function*() {
    const ends: Array<ReturnType<typeof spoken>> = []
    const env = yield* Env
    const withChannels: System = {
      ...env,
      spawn: (request) =>
        Effect.map(env.spawn(request), (started) => {
          const end = spoken()
          ends.push(end)
          return { ...started, channel: Option.some(end.channel) }
        })
    }
    const supervisor = yield* Supervisor.make({
      command: { name: "app" },
      ready: { when: Readiness.Wire },
      ...options
    }).pipe(Effect.provideService(Env, withChannels))
    const start = yield* Effect.fork(supervisor.start)
    const older = yield* nextChild
    yield* older.notifyReady
    yield* older.silent
    yield* Fiber.join(start)
    yield* Effect.fork(supervisor.reload)
    const newer = yield* nextChild
    yield* newer.notifyReady
    yield* settle
    return { supervisor, isDone: Effect.sync(() => ends[0]!.say({ _tag: "Done" })), children: [older, newer] }
  })

const isOver = (fiber: Fiber.Fiber<void>) => Effect.map(Effect.zipRight(settle, Fiber.poll(fiber)), Option.isSome)

describe("a supervisor that leaves its command running", () => {
  it.scoped("waits for what is on its way, whoever has asked for it first", () =>
    Effect.gen(function*() {
      const { isDone, supervisor } = yield* reloaded()
      const first = yield* Effect.fork(supervisor.leave)
      yield* settle
      const second = yield* Effect.fork(supervisor.leave)
      assert.deepStrictEqual([yield* isOver(first), yield* isOver(second)], [false, false])
      yield* Fiber.interrupt(first)
      assert.isFalse(yield* isOver(second))
      yield* isDone
      assert.isTrue(yield* isOver(second))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("does so with the end of its scope, if that has been interrupted", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { children, isDone, supervisor } = yield* Scope.extend(reloaded(), scope)
      const leaving = yield* Effect.fork(supervisor.leave)
      yield* settle
      yield* Fiber.interrupt(leaving)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      assert.isFalse(yield* isOver(closing))
      yield* isDone
      assert.isTrue(yield* isOver(closing))
      const [, newer] = children
      assert.strictEqual(Option.getOrElse(yield* newer!.signalled.size, () => 0), 0)
    }).pipe(Effect.provide(TestEnv.layer)))
})
