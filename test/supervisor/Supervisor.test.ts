import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { drain } from "../../src/internal/seam.ts"
import type { PoolEvent } from "../../src/PoolEvent.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"

const address = { port: 8080, host: "127.0.0.1" }

type Options = Partial<Supervisor.Options>

const make = (options: Options = {}) =>
  Supervisor.make({
    command: { name: "app" },
    listen: [{ address }],
    ready: { when: Readiness.Wire },
    ...options
  })

const nextChild = Effect.flatMap(TestEnv, ({ nextChild }) => nextChild)

/** Lets every fiber go as far as it can without time. */
const settle = Effect.repeat(Effect.yieldNow(), { times: 100 })

const tagsOf = (events: Queue.Dequeue<PoolEvent>) =>
  Effect.map(drain(events), (all) => Array.from(all, ({ _tag }) => _tag))

/** A supervisor whose command is ready. */
const running = (options: Options = {}) =>
  Effect.gen(function*() {
    const supervisor = yield* make(options)
    const events = yield* supervisor.events
    const start = yield* Effect.fork(supervisor.start)
    const children: Array<FakeProcess> = []
    for (let n = 0; n < (options.workers ?? 1); n++) {
      const child = yield* nextChild
      yield* child.notifyReady
      children.push(child)
    }
    yield* Fiber.join(start)
    yield* settle
    yield* drain(events)
    return { supervisor, events, children, child: children[0]! }
  })

const describeFailure = (exit: Exit.Exit<unknown, { readonly _tag: string }>) =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), { onNone: () => "defect", onSome: ({ _tag }) => _tag })
  })

describe("a supervisor", () => {
  it.scoped("gives the command its sockets by both protocols", () =>
    Effect.gen(function*() {
      const supervisor = yield* make({ listen: [{ address, name: "web" }, { address: { path: "/run/app.sock" } }] })
      yield* Effect.fork(supervisor.start)
      const child = yield* nextChild
      const { LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID, TABLEFLIP_GENERATION } = child.environment
      assert.deepStrictEqual([LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID, TABLEFLIP_GENERATION], [
        "2",
        "web:unknown",
        undefined,
        "1"
      ])
      const names = yield* child.notifyReady
      assert.deepStrictEqual(names.map(({ address }) => address), [
        "web@127.0.0.1:8080",
        "/run/app.sock",
        "127.0.0.1:8080"
      ])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("takes a command that lives long enough for ready, and one that ends before for failed", () =>
    Effect.gen(function*() {
      const supervisor = yield* make({ ready: { when: Readiness.Warmup({ duration: "3 seconds" }) } })
      const start = yield* Effect.fork(supervisor.start)
      yield* nextChild
      yield* settle
      yield* TestClock.adjust("2999 millis")
      assert.isNull(start.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(start)

      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      const second = yield* nextChild
      yield* settle
      yield* TestClock.adjust("2 seconds")
      yield* second.exit(0)
      assert.strictEqual(describeFailure(yield* Fiber.join(reload)), "ReplaceError")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("expects a word from the next one, if it has had one, however long that takes to load", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running({
        ready: { when: Readiness.Warmup({ duration: "1 second" }), timeout: "10 seconds" }
      })
      yield* child.silent
      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      const second = yield* nextChild
      yield* settle
      yield* TestClock.adjust("9 seconds")
      assert.isNull(reload.unsafePoll())
      yield* second.notifyReady
      yield* settle
      assert.strictEqual(yield* child.signalled.take, "SIGTERM")
      yield* child.exit(0)
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(reload)))

      const again = yield* Effect.fork(Effect.exit(supervisor.reload))
      yield* nextChild
      yield* settle
      yield* TestClock.adjust("10 seconds")
      const exit = yield* Fiber.join(again)
      assert.match(String(Exit.isFailure(exit) && exit.cause), /its word that it is ready/)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("stops the old one when the new one is ready, and kills it if it does not go", () =>
    Effect.gen(function*() {
      const { child, events, supervisor } = yield* running({ stop: { timeout: "4 seconds", signal: "SIGQUIT" } })
      yield* child.silent
      const reload = yield* Effect.fork(supervisor.reload)
      const second = yield* nextChild
      yield* settle
      assert.deepStrictEqual(yield* tagsOf(events), ["Started"])
      yield* second.notifyReady
      yield* settle
      assert.strictEqual(yield* child.signalled.take, "SIGQUIT")
      yield* TestClock.adjust("3999 millis")
      assert.isNull(reload.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* child.signalled.take, "SIGKILL")
      yield* Fiber.join(reload)
      yield* settle
      const told = yield* tagsOf(events)
      assert.deepStrictEqual(told.slice(0, 3), ["Ready", "Retired", "Killed"])
      assert.sameMembers(told.slice(3), ["Replaced", "Exited"])
      assert.deepStrictEqual(
        (yield* supervisor.status).map(({ generation, pid, state }) => [generation, pid, state]),
        [[2, second.pid, "serving"]]
      )
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("ends a new one that is not ready in time, and keeps the old one", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running({ ready: { when: Readiness.Wire, timeout: "5 seconds" } })
      const reload = yield* Effect.fork(Effect.exit(supervisor.reload))
      const second = yield* nextChild
      yield* settle
      yield* TestClock.adjust("5 seconds")
      const exit = yield* Fiber.join(reload)
      assert.include(String(Exit.isFailure(exit) && exit.cause), "was not ready within 5s")
      assert.deepStrictEqual(yield* second.status, ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.deepStrictEqual((yield* supervisor.status).map(({ pid }) => pid), [child.pid])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("waits longer before each restart, up to a ceiling, and briefly again after a good time", () =>
    Effect.gen(function*() {
      let { child } = yield* running({ restart: { delay: "1 second", maxDelay: "4 seconds" } })
      const restartsAfter = (millis: number) =>
        Effect.gen(function*() {
          yield* child.exit(1)
          const next = yield* Effect.fork(nextChild)
          yield* settle
          yield* TestClock.adjust(millis - 1)
          assert.isNull(next.unsafePoll(), `${millis}`)
          yield* TestClock.adjust(1)
          child = yield* Fiber.join(next)
          yield* child.notifyReady
          yield* settle
        })
      for (const seconds of [1, 2, 4, 4]) yield* restartsAfter(seconds * 1_000)
      yield* TestClock.adjust("20 seconds")
      yield* restartsAfter(1_000)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("gives up after too many restarts in too short a time, and only then", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running({
        restart: { delay: 0, maxDelay: 0, limit: { count: 2, within: "1 minute" } }
      })
      let current = child
      const crash = (within: number) =>
        Effect.gen(function*() {
          yield* TestClock.adjust(within)
          yield* current.kill("SIGSEGV")
          current = yield* nextChild
          yield* current.notifyReady
          yield* settle
        })
      for (let n = 0; n < 5; n++) yield* crash(40_000)
      yield* TestClock.adjust("10 seconds")
      yield* current.kill("SIGSEGV")
      const error = yield* Effect.flip(supervisor.exit)
      assert.strictEqual(error._tag, "RestartsExhaustedError")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("has all its copies again after a reload, also those that had ended in good order", () =>
    Effect.gen(function*() {
      const { children, supervisor } = yield* running({ workers: 3, replace: { atOnce: "all" } })
      yield* children[1]!.exit(0)
      yield* settle
      assert.lengthOf((yield* supervisor.status).filter(({ state }) => state === "serving"), 2)
      const reload = yield* Effect.fork(supervisor.reload)
      for (let n = 0; n < 3; n++) {
        yield* settle
        const next = yield* Effect.timeoutOption(nextChild, "1 second").pipe(Effect.fork)
        yield* settle
        yield* TestClock.adjust("1 second")
        const child = yield* Fiber.join(next)
        assert.isTrue(Option.isSome(child), `${n}`)
        if (Option.isSome(child)) yield* child.value.notifyReady
      }
      yield* settle
      yield* Fiber.join(reload)
      const { length } = (yield* supervisor.status).filter(({ state }) => state === "serving")
      assert.strictEqual(length, 3)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.effect("ends its command with its scope, unless it is to leave it running", () =>
    Effect.gen(function*() {
      for (const leaveRunning of [false, true]) {
        const child = yield* Effect.scoped(Effect.map(running({ leaveRunning }), ({ child }) => child))
        yield* settle
        assert.strictEqual(Option.getOrElse(yield* child.signalled.size, () => 0) === 0, leaveRunning)
      }
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("keeps one reload behind the one that runs", () =>
    Effect.gen(function*() {
      const { supervisor } = yield* running()
      const first = yield* Effect.fork(supervisor.reload)
      yield* settle
      const reloads = [first, ...yield* Effect.replicateEffect(Effect.fork(supervisor.reload), 10)]
      for (let n = 0; n < 2; n++) {
        const child = yield* nextChild
        yield* settle
        assert.isNull(reloads[10]!.unsafePoll())
        yield* child.notifyReady
        yield* settle
      }
      yield* Fiber.joinAll(reloads)
      assert.deepStrictEqual((yield* supervisor.status).map(({ generation }) => generation), [3])
      assert.strictEqual(yield* Effect.flatMap(TestEnv, ({ processes }) => processes), 2)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("survives a crash of the old one in the middle of a reload, and one of the new one", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running({ restart: { delay: "1 second" } })
      const reload = yield* Effect.fork(supervisor.reload)
      const second = yield* nextChild
      yield* child.kill("SIGKILL")
      yield* settle
      yield* second.notifyReady
      yield* Fiber.join(reload)
      // The old one was to be started again in a second; its place is taken.
      yield* TestClock.adjust("1 minute")
      yield* settle
      assert.deepStrictEqual((yield* supervisor.status).map(({ pid, state }) => [pid, state]), [[
        second.pid,
        "serving"
      ]])

      const failing = yield* Effect.fork(Effect.exit(supervisor.reload))
      const third = yield* nextChild
      yield* third.kill("SIGKILL")
      assert.strictEqual(describeFailure(yield* Fiber.join(failing)), "ReplaceError")
      assert.deepStrictEqual((yield* supervisor.status).map(({ pid }) => pid), [second.pid])

      // Both: the old one comes back by itself.
      const both = yield* Effect.fork(Effect.exit(supervisor.reload))
      const fourth = yield* nextChild
      yield* second.kill("SIGKILL")
      yield* fourth.exit(1)
      assert.strictEqual(describeFailure(yield* Fiber.join(both)), "ReplaceError")
      const back = yield* Effect.fork(nextChild)
      yield* settle
      yield* TestClock.adjust("2 seconds")
      const fifth = yield* Fiber.join(back)
      yield* fifth.notifyReady
      yield* settle
      assert.deepStrictEqual((yield* supervisor.status).map(({ pid, state }) => [pid, state]), [[fifth.pid, "serving"]])
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("reloads at once a command that waits for its restart", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running({ restart: { delay: "1 hour", maxDelay: "1 hour" } })
      yield* child.exit(1)
      yield* settle
      const reload = yield* Effect.fork(supervisor.reload)
      yield* (yield* nextChild).notifyReady
      yield* Fiber.join(reload)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("stops with the status of the command, from any state", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running()
      const stop = yield* Effect.fork(supervisor.stop())
      yield* settle
      assert.deepStrictEqual(yield* Fiber.join(stop), ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.strictEqual(describeFailure(yield* Effect.exit(supervisor.reload)), "TerminatingError")

      const starting = yield* make({ listen: [] })
      const start = yield* Effect.fork(Effect.exit(starting.start))
      const unready = yield* nextChild
      yield* settle
      assert.deepStrictEqual(yield* starting.stop(), ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.deepStrictEqual(yield* unready.status, ExitStatus.Killed({ signal: "SIGTERM" }))
      assert.strictEqual(describeFailure(yield* Fiber.join(start)), "TerminatingError")
      assert.strictEqual(describeFailure(yield* Effect.exit(starting.reload)), "TerminatingError")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("passes signals on to those that serve, and not to one that has just been started", () =>
    Effect.gen(function*() {
      const { child, supervisor } = yield* running()
      yield* child.silent
      const reload = yield* Effect.fork(supervisor.reload)
      const second = yield* nextChild
      yield* second.silent
      yield* supervisor.signal("SIGUSR1")
      assert.strictEqual(yield* child.signalled.take, "SIGUSR1")
      assert.strictEqual(yield* Effect.map(second.signalled.size, String), String(yield* second.signalled.size))
      yield* second.notifyReady
      yield* settle
      yield* supervisor.signal("SIGUSR2")
      assert.strictEqual(yield* second.signalled.take, "SIGUSR2")
      yield* supervisor.hasten
      yield* Fiber.join(reload)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("rolls several copies one by one, or all at once", () =>
    Effect.gen(function*() {
      const { children, supervisor } = yield* running({ workers: 3, replace: { atOnce: "all" } })
      assert.strictEqual(children.length, 3)
      const reload = yield* Effect.fork(supervisor.reload)
      const fresh = yield* Effect.replicateEffect(nextChild, 3)
      yield* fresh[0]!.notifyReady
      yield* fresh[1]!.notifyReady
      yield* settle
      assert.strictEqual(yield* Effect.flatMap(TestEnv, ({ processes }) => processes), 7)
      yield* fresh[2]!.notifyReady
      yield* Fiber.join(reload)
      assert.strictEqual(yield* Effect.flatMap(TestEnv, ({ processes }) => processes), 4)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("ends its command with its scope", () =>
    Effect.gen(function*() {
      const child = yield* Effect.scoped(Effect.map(running(), ({ child }) => child))
      assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
    }).pipe(Effect.provide(TestEnv.layer)))

  it.effect.each<readonly [Options, string]>([
    [{ workers: 0 }, "workers"],
    [{ workers: 1.5 }, "workers"],
    [{ replace: { atOnce: 0 } }, "replace.atOnce"],
    [{ stop: { timeout: -1 } }, "stop.timeout"],
    [{ command: { name: "" } }, "command"],
    [{ pidFile: "" }, "pidFile"],
    [{ restart: { limit: { count: 0, within: 1_000 } } }, "restart.limit.count"],
    [{ restart: { limit: { count: 1, within: 0 } } }, "restart.limit.within"],
    [{ ready: { when: Readiness.Descriptor({ number: 2 }) } }, "ready.when"],
    [{ ready: { when: Readiness.Descriptor({ number: 3 }) } }, "ready.when"],
    [{ ready: { when: Readiness.Warmup({ duration: "2 minutes" }) } }, "ready.timeout"],
    [{ listen: [{ address, name: "a:b" }] }, "listen"],
    [{ listen: [{ address }, { address }] }, "listen"],
    [{ capture: true, leaveRunning: true }, "capture"]
  ])("names an option that cannot work", ([options, option]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(make(options))
      assert.strictEqual(error._tag === "InvalidOptionError" ? error.option : error._tag, option)
    }).pipe(Effect.scoped, Effect.provide(TestEnv.layer)))
})
