/**
 * Every request to a supervisor is answered, whatever it does at that moment.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { forkApart } from "../../src/internal/seam.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import { TestEnv } from "../../src/Testing.ts"

const make = (options: Partial<Supervisor.Options> = {}) =>
  Supervisor.make({ command: { name: "app" }, ready: { when: Readiness.Wire }, ...options })

/** What a call ends in, within a minute. */
const answerOf = <A, E extends { readonly _tag: string }>(call: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* forkApart(Effect.match(call, { onFailure: ({ _tag }) => _tag, onSuccess: (value) => value }))
    yield* Effect.repeat(TestClock.adjust("1 second"), { times: 60 })
    return Option.getOrThrowWith(yield* Fiber.poll(fiber), () => new Error("it hangs"))
  })

describe("a supervisor answers", () => {
  it.scoped("a reload before its start, and after a start that failed", () =>
    Effect.gen(function*() {
      const supervisor = yield* make()
      assert.deepStrictEqual(yield* answerOf(supervisor.reload), Exit.succeed("NotReadyError"))
      const start = yield* Effect.fork(Effect.flip(supervisor.start))
      const reload = yield* forkApart(Effect.flip(supervisor.reload))
      yield* Effect.flatMap(TestEnv, ({ nextChild }) => Effect.flatMap(nextChild, (child) => child.exit(1)))
      assert.strictEqual((yield* Fiber.join(start))._tag, "ProcessStartError")
      assert.strictEqual((yield* Fiber.join(reload))._tag, "NotReadyError")
      assert.deepStrictEqual(yield* answerOf(supervisor.reload), Exit.succeed("NotReadyError"))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("a reload after a start that succeeded at the second try", () =>
    Effect.gen(function*() {
      const { nextChild } = yield* TestEnv
      const supervisor = yield* make()
      const first = yield* Effect.fork(Effect.flip(supervisor.start))
      yield* Effect.flatMap(nextChild, (child) => child.exit(1))
      yield* Fiber.join(first)
      const second = yield* Effect.fork(supervisor.start)
      yield* Effect.flatMap(nextChild, (child) => child.notifyReady)
      yield* Fiber.join(second)
      const reload = yield* Effect.fork(supervisor.reload)
      yield* Effect.flatMap(nextChild, (child) => child.notifyReady)
      yield* Fiber.join(reload)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("a second start with the first one", () =>
    Effect.gen(function*() {
      const { nextChild, processes } = yield* TestEnv
      const supervisor = yield* make()
      const starts = yield* Effect.fork(Effect.all([supervisor.start, supervisor.start], { concurrency: 2 }))
      yield* Effect.flatMap(nextChild, (child) => child.notifyReady)
      yield* Fiber.join(starts)
      yield* supervisor.start
      assert.strictEqual(yield* processes, 2)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("whoever waits for its end, when it is stopped: with the status of the stop", () =>
    Effect.gen(function*() {
      const { nextChild } = yield* TestEnv
      const supervisor = yield* make()
      const exit = yield* forkApart(supervisor.exit)
      const start = yield* Effect.fork(supervisor.start)
      yield* Effect.flatMap(nextChild, (child) => child.notifyReady)
      yield* Fiber.join(start)
      const status = yield* supervisor.stop()
      assert.deepStrictEqual(status, ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.deepStrictEqual(yield* Fiber.join(exit), status)
      assert.deepStrictEqual(yield* answerOf(supervisor.exit), Exit.succeed(status))
      assert.deepStrictEqual(yield* answerOf(supervisor.reload), Exit.succeed("TerminatingError"))
      assert.deepStrictEqual(yield* answerOf(supervisor.start), Exit.succeed("TerminatingError"))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("everything when it is stopped before it was started", () =>
    Effect.gen(function*() {
      const supervisor = yield* make()
      const status = yield* supervisor.stop()
      assert.deepStrictEqual(yield* answerOf(supervisor.exit), Exit.succeed(status))
      assert.deepStrictEqual(yield* answerOf(supervisor.reload), Exit.succeed("TerminatingError"))
      assert.deepStrictEqual(yield* answerOf(supervisor.start), Exit.succeed("TerminatingError"))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped.each([true, false])(
    "everything when its scope is closed, and it was started: %s",
    (wasStarted) =>
      Effect.gen(function*() {
        const { nextChild, processes } = yield* TestEnv
        const scope = yield* Scope.make()
        const supervisor = yield* Scope.extend(make(), scope)
        const exit = yield* forkApart(supervisor.exit)
        if (wasStarted) {
          const start = yield* Effect.fork(supervisor.start)
          yield* Effect.flatMap(nextChild, (child) => child.notifyReady)
          yield* Fiber.join(start)
        }
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(
          yield* Fiber.join(exit),
          wasStarted ? ExitStatus.Killed({ signal: "SIGTERM" }) : ExitStatus.Exited({ code: 0 })
        )
        assert.deepStrictEqual(yield* answerOf(supervisor.start), Exit.succeed("TerminatingError"))
        assert.deepStrictEqual(yield* answerOf(supervisor.reload), Exit.succeed("TerminatingError"))
        for (const call of [supervisor.exit, supervisor.stop(), supervisor.status, supervisor.signal("SIGUSR1")]) {
          assert.isTrue(Exit.isSuccess(yield* answerOf<unknown, never>(Effect.orDie(call))))
        }
        assert.isTrue(Exit.isSuccess(yield* answerOf<unknown, never>(supervisor.hasten)))
        assert.isTrue(Exit.isSuccess(yield* answerOf<unknown, never>(supervisor.leave)))
        assert.strictEqual(yield* processes, 1)
      }).pipe(Effect.provide(TestEnv.layer))
  )

  it.scoped("with the status 0 whoever waits for the end of a command that was left running", () =>
    Effect.gen(function*() {
      const { nextChild, processes } = yield* TestEnv
      const scope = yield* Scope.make()
      const supervisor = yield* Scope.extend(make({ leaveRunning: true }), scope)
      const exit = yield* forkApart(supervisor.exit)
      const start = yield* Effect.fork(supervisor.start)
      yield* Effect.flatMap(nextChild, (child) => child.notifyReady)
      yield* Fiber.join(start)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(exit), ExitStatus.Exited({ code: 0 }))
      assert.strictEqual(yield* processes, 2)
    }).pipe(Effect.provide(TestEnv.layer)))
})
