/**
 * Reloads of a program of which there can be only one at a time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { drain } from "../../src/internal/seam.ts"
import { Env } from "../../src/internal/system/env.ts"
import type { ReplaceError } from "../../src/PoolError.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"

const settle = Effect.repeat(Effect.yieldNow(), { times: 100 })

/** A supervisor whose command is ready, and does not end at its signal by itself. */
const running = (options: Partial<Supervisor.Options> = {}) =>
  Effect.gen(function*() {
    const { nextChild, processes } = yield* TestEnv
    const supervisor = yield* Supervisor.make({
      command: { name: "app" },
      ready: { when: Readiness.Wire },
      replace: { stopFirst: true },
      ...options
    })
    yield* Effect.addFinalizer(() => supervisor.hasten)
    const events = yield* supervisor.events
    const start = yield* Effect.fork(supervisor.start)
    const children: Array<FakeProcess> = []
    for (let n = 0; n < (options.workers ?? 1); n++) {
      const child = yield* nextChild
      yield* child.notifyReady
      yield* child.silent
      children.push(child)
    }
    yield* Fiber.join(start)
    yield* settle
    yield* drain(events)
    const next = Effect.zipRight(settle, Effect.timeoutOption(nextChild, "1 millis")).pipe(
      Effect.fork,
      Effect.zipLeft(settle),
      Effect.zipLeft(TestClock.adjust("1 millis")),
      Effect.flatMap(Fiber.join)
    )
    return {
      supervisor,
      children,
      child: children[0]!,
      /** The one that has been started, if one has. */
      next,
      nextChild,
      /** Without the one that this is. */
      processes: Effect.map(processes, (count) => count - 1),
      events: Effect.map(drain(events), (all) => Array.from(all, ({ _tag }) => _tag)),
      states: Effect.map(supervisor.status, (all) => all.map(({ generation, pid, state }) => [generation, pid, state]))
    }
  })

const failureOf = (exit: Exit.Exit<unknown, { readonly _tag: string }>) =>
  Effect.runSync(Effect.flip(exit as Exit.Exit<unknown, ReplaceError>))

describe("a supervisor that stops the old process first", () => {
  it.scoped("leaves it alone when it can be known that the new one will not start", () =>
    Effect.gen(function*() {
      const { states, supervisor } = yield* running({ environmentFiles: ["settings"] }).pipe(
        Effect.provideServiceEffect(
          Env,
          Effect.map(Env, (env) => {
            let reads = 0
            const readWhole = () => Effect.sync(() => reads++ === 0 ? "A=1\n" : "no line of such a file\n")
            return { ...env, files: { ...env.files, readWhole } }
          })
        )
      )
      const before = yield* states
      const error = yield* Effect.flip(supervisor.reload)
      assert.strictEqual(error._tag, "ReplaceError")
      assert.include(error.message, "settings")
      assert.deepStrictEqual(yield* states, before)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("starts the new one when nothing is left of the old one", () =>
    Effect.gen(function*() {
      const { child, events, next, nextChild, processes, states, supervisor } = yield* running()
      const reload = yield* Effect.fork(supervisor.reload)
      assert.isTrue(Option.isNone(yield* next))
      assert.strictEqual(yield* child.signalled.take, "SIGTERM")
      assert.deepStrictEqual(yield* states, [[1, undefined, "starting"], [1, child.pid, "draining"]])
      yield* child.exit(0)
      const second = yield* nextChild
      yield* settle
      assert.strictEqual(yield* processes, 1)
      assert.isNull(reload.unsafePoll())
      assert.deepStrictEqual(yield* states, [[2, undefined, "starting"]])
      yield* second.notifyReady
      yield* Fiber.join(reload)
      assert.deepStrictEqual(yield* states, [[2, second.pid, "serving"]])
      yield* settle
      assert.deepStrictEqual(yield* events, ["Retired", "Exited", "Started", "Ready", "Replaced"])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("kills an old one that does not end in time", () =>
    Effect.gen(function*() {
      const { child, next, nextChild, supervisor } = yield* running({ stop: { timeout: "4 seconds" } })
      const reload = yield* Effect.fork(supervisor.reload)
      yield* settle
      yield* TestClock.adjust("3990 millis")
      assert.isTrue(Option.isNone(yield* next))
      yield* TestClock.adjust("10 millis")
      yield* (yield* nextChild).notifyReady
      yield* Fiber.join(reload)
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGKILL" }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("starts a new one that fails again, as the policy says, and the reload says so", () =>
    Effect.gen(function*() {
      const { child, events, next, nextChild, states, supervisor } = yield* running({ restart: { delay: "1 second" } })
      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      yield* settle
      yield* child.exit(0)
      yield* (yield* nextChild).exit(3)
      const error = failureOf(yield* Fiber.join(reload))
      assert.deepInclude(error, { _tag: "ReplaceError", replaced: 0, kept: 0, stopped: 1, startedAgain: true })
      assert.match(
        error.message,
        /^Replaced 0 process\(es\), kept 0, and had stopped 1 first, which is started again\. The process app did not come up/
      )
      assert.deepStrictEqual(yield* states, [[2, undefined, "restarting"]])
      yield* TestClock.adjust("990 millis")
      assert.isTrue(Option.isNone(yield* next))
      yield* TestClock.adjust("10 millis")
      const third = yield* nextChild
      yield* third.notifyReady
      yield* settle
      assert.deepStrictEqual(yield* states, [[2, third.pid, "serving"]])
      assert.deepStrictEqual(yield* events, ["Retired", "Exited", "Started", "ReplaceFailed", "Started", "Ready"])

      const again = yield* Effect.fork(supervisor.reload)
      yield* third.exit(0)
      const fourth = yield* nextChild
      yield* fourth.notifyReady
      yield* Fiber.join(again)
      assert.deepStrictEqual(yield* states, [[3, fourth.pid, "serving"]])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("reloads at once what waits to be started again", () =>
    Effect.gen(function*() {
      const { child, nextChild, states, supervisor } = yield* running({
        restart: { delay: "1 hour", maxDelay: "1 hour" }
      })
      yield* child.exit(1)
      yield* settle
      const reload = yield* Effect.fork(supervisor.reload)
      const second = yield* nextChild
      yield* second.notifyReady
      yield* Fiber.join(reload)
      yield* TestClock.adjust("2 hours")
      yield* settle
      assert.deepStrictEqual(yield* states, [[2, second.pid, "serving"]])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("ends with a new one that fails and is not to be started again", () =>
    Effect.gen(function*() {
      const { child, nextChild, supervisor } = yield* running({ restart: { policy: "never" } })
      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      yield* settle
      yield* child.exit(0)
      yield* (yield* nextChild).exit(3)
      const error = failureOf(yield* Fiber.join(reload))
      assert.deepInclude(error, { _tag: "ReplaceError", stopped: 1, startedAgain: false })
      assert.match(error.message, /which is not started again/)
      assert.strictEqual((yield* Effect.flip(supervisor.exit))._tag, "ProcessStartError")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("stops one copy after the other, and leaves the rest alone when one does not come up", () =>
    Effect.gen(function*() {
      const { children, next, nextChild, processes, states, supervisor } = yield* running({
        workers: 3,
        restart: { delay: "1 second" }
      })
      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      yield* settle
      yield* children[0]!.exit(0)
      const first = yield* nextChild
      yield* settle
      assert.strictEqual(yield* processes, 3)
      yield* first.notifyReady
      yield* settle
      yield* children[1]!.exit(0)
      yield* (yield* nextChild).exit(1)
      const error = failureOf(yield* Fiber.join(reload))
      assert.deepInclude(error, { replaced: 1, kept: 1, stopped: 1, startedAgain: true })
      assert.deepStrictEqual(yield* states, [
        [2, first.pid, "serving"],
        [2, undefined, "restarting"],
        [1, children[2]!.pid, "serving"]
      ])
      assert.isTrue(Option.isNone(yield* next))
      yield* TestClock.adjust("1 second")
      yield* (yield* nextChild).notifyReady
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("starts nothing any more when it is told to stop meanwhile", () =>
    Effect.gen(function*() {
      const { child, next, processes, supervisor } = yield* running()
      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      yield* settle
      const stop = yield* Effect.fork(supervisor.stop())
      yield* settle
      yield* child.exit(0)
      assert.deepStrictEqual(yield* Fiber.join(stop), ExitStatus.Exited({ code: 0 }))
      assert.strictEqual(failureOf(yield* Fiber.join(reload))._tag as string, "TerminatingError")
      assert.isTrue(Option.isNone(yield* next))
      assert.strictEqual(yield* processes, 0)
    }).pipe(Effect.provide(TestEnv.layer)))
})
