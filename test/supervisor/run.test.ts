import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { Env } from "../../src/internal/system/env.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import { TestEnv } from "../../src/Testing.ts"

const machine = TestEnv

/** Lets every fiber go as far as it can without time. */
const settled = Effect.repeat(Effect.yieldNow(), { times: 100 })

/** A supervisor that runs its command, as the main thing of its process. */
const launched = (options: Partial<Supervisor.Options> = {}) =>
  Effect.gen(function*() {
    const env = yield* machine
    const supervisor = yield* Supervisor.make({
      command: { name: "app" },
      ready: { when: Readiness.Wire },
      ...options
    })
    const running = yield* Effect.fork(
      Supervisor.launch().pipe(Effect.provideService(Supervisor.Supervisor, supervisor))
    )
    const child = yield* env.nextChild
    yield* child.notifyReady
    yield* settled
    return { env, supervisor, running, child }
  })

describe("a supervisor as the main thing of its process", () => {
  it.scoped("reloads on SIGHUP: the new one is started, and the old one told to stop when that is ready", () =>
    Effect.gen(function*() {
      const { child, env, running } = yield* launched()
      yield* env.self.kill("SIGHUP")
      const second = yield* env.nextChild
      yield* settled
      assert.strictEqual(yield* env.processes, 3)
      yield* second.notifyReady
      yield* settled
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.isNull(running.unsafePoll())
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("reloads when a file has changed, and once more when it has changed after a reload that failed", () =>
    Effect.gen(function*() {
      let content = "1"
      const { child, env, running } = yield* launched({ reloadOnChange: ["settings"] }).pipe(
        Effect.provideServiceEffect(
          Env,
          Effect.map(
            Env,
            (env) => ({ ...env, files: { ...env.files, fingerprint: () => Effect.sync(() => content) } })
          )
        )
      )
      content = "2"
      yield* TestClock.adjust("2 seconds")
      yield* (yield* env.nextChild).exit(1)
      yield* settled
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* env.processes, 2, "nothing has changed since")
      assert.isNull(running.unsafePoll())
      content = "3"
      yield* TestClock.adjust("2 seconds")
      yield* (yield* env.nextChild).notifyReady
      yield* settled
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("goes on when a reload fails, and reloads at the next SIGHUP", () =>
    Effect.gen(function*() {
      const { child, env, running } = yield* launched()
      yield* env.self.kill("SIGHUP")
      yield* (yield* env.nextChild).exit(1)
      yield* settled
      assert.isNull(running.unsafePoll())
      yield* env.self.kill("SIGHUP")
      yield* (yield* env.nextChild).notifyReady
      yield* settled
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped.each(["SIGTERM", "SIGINT"] as const)(
    "stops on %s, with the status of the command",
    (signal) =>
      Effect.gen(function*() {
        const { child, env, running } = yield* launched()
        yield* env.self.kill(signal)
        assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
        assert.deepStrictEqual(yield* Fiber.join(running), ExitStatus.Killed({ signal: "SIGTERM" }))
      }).pipe(Effect.provide(TestEnv.layer))
  )

  it.scoped("kills what does not stop when it is told a second time", () =>
    Effect.gen(function*() {
      const { child, env, running } = yield* launched()
      yield* child.silent
      yield* env.self.kill("SIGTERM")
      yield* settled
      assert.isNull(running.unsafePoll())
      yield* env.self.kill("SIGTERM")
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGKILL" }))
      yield* Fiber.join(running)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("takes one press of Ctrl-C that arrives twice for one", () =>
    Effect.gen(function*() {
      const { child, env, running } = yield* launched()
      yield* child.silent
      yield* env.self.kill("SIGINT")
      yield* env.self.kill("SIGINT")
      yield* settled
      assert.isNull(running.unsafePoll())
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(running), ExitStatus.Killed({ signal: "SIGKILL" }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("starts nothing any more on SIGHUP once it is told to stop", () =>
    Effect.gen(function*() {
      const { child, env, running } = yield* launched()
      yield* child.silent
      yield* env.self.kill("SIGTERM")
      yield* settled
      yield* env.self.kill("SIGHUP")
      yield* settled
      assert.strictEqual(yield* env.processes, 2)
      yield* child.exit(0)
      yield* Fiber.join(running)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped.each(["SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGWINCH"] as const)(
    "passes %s on to the command",
    (signal) =>
      Effect.gen(function*() {
        const { child, env, running } = yield* launched()
        yield* child.silent
        yield* env.self.kill(signal)
        assert.strictEqual(yield* child.signalled.take, signal)
        assert.isNull(running.unsafePoll())
        yield* child.exit(0)
      }).pipe(Effect.provide(TestEnv.layer))
  )

  it.scoped("ends with the status of a command that has ended and is not started again", () =>
    Effect.gen(function*() {
      const { child, running } = yield* launched()
      yield* child.exit(0)
      assert.deepStrictEqual(yield* Fiber.join(running), ExitStatus.Exited({ code: 0 }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("stops the other copies when one of them is given up", () =>
    Effect.gen(function*() {
      const env = yield* machine
      const supervisor = yield* Supervisor.make({
        command: { name: "app" },
        ready: { when: Readiness.Wire },
        workers: 2,
        restart: { limit: { count: 1, within: "1 minute" }, delay: 0 }
      })
      const running = yield* Effect.fork(
        Effect.exit(Supervisor.launch().pipe(Effect.provideService(Supervisor.Supervisor, supervisor)))
      )
      const first = yield* env.nextChild
      yield* first.notifyReady
      const second = yield* env.nextChild
      yield* second.notifyReady
      yield* settled
      yield* first.exit(1)
      yield* settled
      yield* TestClock.adjust("1 second")
      const again = yield* env.nextChild
      yield* again.notifyReady
      yield* settled
      yield* again.exit(1)
      yield* settled
      assert.deepStrictEqual(yield* second.status, ExitStatus.Killed({ signal: "SIGTERM" }))
      const exit = yield* Fiber.join(running)
      assert.include(String(Exit.isFailure(exit) && exit.cause), "RestartsExhaustedError")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("leaves the command running when it is told to stop, if that is asked for", () =>
    Effect.gen(function*() {
      const { child, env, running } = yield* launched({ leaveRunning: true })
      yield* env.self.kill("SIGTERM")
      assert.deepStrictEqual(yield* Fiber.join(running), ExitStatus.Exited({ code: 0 }))
      assert.strictEqual(yield* env.processes, 2)
      yield* child.kill("SIGUSR1")
      assert.strictEqual(yield* child.signalled.take, "SIGUSR1")
    }).pipe(Effect.provide(TestEnv.layer)))
})
