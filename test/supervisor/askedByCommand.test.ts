/**
 * A command on this library that asks for its upgrade by itself, which its supervisor does.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import * as ChildProcess from "../../src/ChildProcess.ts"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { Env } from "../../src/internal/system/env.ts"
import { make } from "../../src/internal/upgrade/supervised.ts"
import { encode } from "../../src/internal/wire/control.ts"
import { Reply, Request } from "../../src/internal/wire/reload.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { ExitReason } from "../../src/UpgraderEvent.ts"

/** Lets every fiber go as far as it can without time. */
const settled = Effect.repeat(Effect.yieldNow(), { times: 200 })

/** The upgrader that runs in a process of the simulated machine. */
const upgraderIn = (process: FakeProcess) =>
  Effect.map(
    Layer.build(Layer.provide(Upgrader.layerWithoutEnv(), process.layer)),
    (context) => Context.get(context, Upgrader.Upgrader)
  )

const started = Effect.gen(function*() {
  const { nextChild } = yield* TestEnv
  const supervisor = yield* Supervisor.make({
    command: { name: "app" },
    listen: [{ address: { port: 8080, host: "127.0.0.1" } }],
    ready: { when: Readiness.Wire }
  })
  return { supervisor, start: yield* Effect.fork(supervisor.start), nextChild }
})

/** A supervisor with a command that is ready and can ask. */
const supervised = Effect.gen(function*() {
  const { nextChild, start, supervisor } = yield* started
  const process = yield* nextChild
  const upgrader = yield* upgraderIn(process)
  yield* upgrader.ready
  yield* Fiber.join(start)
  return { supervisor, process, upgrader, nextChild }
})

describe("an upgrade that a command on this library asks for", () => {
  it.scoped("is a reload, and is answered with the new process", () =>
    Effect.gen(function*() {
      const { nextChild, process, upgrader } = yield* supervised
      const upgrade = yield* Effect.fork(upgrader.upgrade)
      const next = yield* nextChild
      yield* settled
      assert.isNull(upgrade.unsafePoll())
      yield* next.notifyReady
      const successor = { pid: next.pid, generation: 2 }
      assert.deepStrictEqual(yield* Fiber.join(upgrade), successor)
      assert.deepStrictEqual(yield* upgrader.exit, ExitReason.Upgraded(successor))
      yield* settled
      // It has been told already; a signal could only cut short what it still does.
      assert.strictEqual(Option.getOrElse(yield* process.signalled.size, () => 0), 0)
      yield* process.exit(0)
      assert.deepStrictEqual(yield* process.status, ExitStatus.Exited({ code: 0 }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is one also when the word of it comes to one who has given up waiting", () =>
    Effect.gen(function*() {
      const words = yield* Queue.unbounded<Option.Option<Uint8Array>>()
      const said: Array<string> = []
      const env = yield* Env
      const { listen, reload } = make(
        { ...env, write: (_, bytes) => Effect.sync(() => said.push(new TextDecoder().decode(bytes)) > 0) },
        { read: Queue.take(words), discard: Effect.void, descriptor: Effect.succeedSome(7) }
      )
      const replaced: Array<number> = []
      yield* Effect.fork(listen({
        olderGone: Effect.void,
        replaced: ({ pid }) => Effect.sync(() => void replaced.push(pid))
      }))
      const asking = yield* Effect.fork(Effect.flip(reload))
      yield* settled
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(asking))._tag, "NotSupportedError")
      for (const reply of [Reply.Reloading(), Reply.Reloaded({ pid: 77, generation: 2 })]) {
        yield* Queue.offer(words, Option.some(encode(reply)))
      }
      yield* settled
      assert.deepStrictEqual(replaced, [77])
      assert.deepStrictEqual(said.map((line) => JSON.parse(line)), [{ _tag: "Reload" }, { _tag: "Leaving" }])
      yield* Queue.offer(words, Option.none())
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is followed by the stop signal where nobody has heard that it was done", () =>
    Effect.gen(function*() {
      const { nextChild, supervisor } = yield* started
      const process = yield* nextChild
      yield* process.notifyReady
      yield* settled
      const ask = Effect.flatMap(
        Env,
        (env) => env.write(Number(process.environment["TABLEFLIP_SUPERVISOR"]), encode(Request.Reload()))
      )
      yield* Effect.provide(ask, process.layer)
      yield* (yield* nextChild).notifyReady
      yield* settled
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* supervisor.status).length, 2)
      yield* TestClock.adjust("1 seconds")
      yield* settled
      assert.deepStrictEqual(yield* process.status, ExitStatus.Killed({ signal: "SIGTERM" }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("has failed when the reload has, and can be asked for again", () =>
    Effect.gen(function*() {
      const { nextChild, upgrader } = yield* supervised
      const upgrade = yield* Effect.fork(Effect.flip(upgrader.upgrade))
      yield* (yield* nextChild).exit(7)
      const error = yield* Fiber.join(upgrade)
      assert.strictEqual(error._tag, "ReloadError")
      assert.include(error.message, "code 7")
      assert.deepStrictEqual(yield* upgrader.exitReason, Option.none())
      const again = yield* Effect.fork(upgrader.upgrade)
      const next = yield* nextChild
      yield* next.notifyReady
      assert.strictEqual((yield* Fiber.join(again)).pid, next.pid)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("ends with the supervisor", () =>
    Effect.gen(function*() {
      const { nextChild, upgrader } = yield* supervised
      const { self } = yield* TestEnv
      const upgrade = yield* Effect.fork(Effect.flip(upgrader.upgrade))
      yield* nextChild
      yield* self.kill("SIGKILL")
      const error = yield* Fiber.join(upgrade)
      assert.strictEqual(error._tag, "ReloadError")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is given up when the command stops, and the reload goes on", () =>
    Effect.gen(function*() {
      const { nextChild, upgrader } = yield* supervised
      const upgrade = yield* Effect.fork(Effect.flip(upgrader.upgrade))
      const next = yield* nextChild
      yield* upgrader.stop
      assert.strictEqual((yield* Fiber.join(upgrade))._tag, "TerminatingError")
      yield* next.notifyReady
      assert.deepStrictEqual(yield* upgrader.exit, ExitReason.Stopped())
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("cannot be had of a supervisor that does not answer, which is said after a while", () =>
    Effect.gen(function*() {
      const { nextChild } = yield* TestEnv
      yield* ChildProcess.spawn({ control: "supervised" })
      const upgrader = yield* upgraderIn(yield* nextChild)
      yield* upgrader.ready
      const upgrade = yield* Effect.fork(Effect.flip(upgrader.upgrade))
      yield* settled
      yield* TestClock.adjust("5 seconds")
      const error = yield* Fiber.join(upgrade)
      assert.strictEqual(error._tag, "NotSupportedError")
      assert.include(error.message, "runs under tableflip")
    }).pipe(Effect.provide(TestEnv.layer)))
})
