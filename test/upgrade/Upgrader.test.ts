import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as net from "node:net"
import * as os from "node:os"
import * as ExitStatus from "../../src/ExitStatus.ts"
import * as Fds from "../../src/Fds.ts"
import * as logger from "../../src/internal/cli/logger.ts"
import * as seam from "../../src/internal/seam.ts"
import { Env } from "../../src/internal/system/env.ts"
import * as TableflipError from "../../src/TableflipError.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { ExitReason, UpgraderEvent } from "../../src/UpgraderEvent.ts"

const machine = (options?: Upgrader.Options) =>
  Upgrader.layerWithoutEnv(options).pipe(Layer.provideMerge(TestEnv.layer))

const address = { port: 8080, host: "127.0.0.1" }

/** A machine on which the other end of a connection takes nothing. `asked` completes when an upgrade waits for it. */
const neverFlushed = (asked: Deferred.Deferred<void>) =>
  Upgrader.layerWithoutEnv().pipe(
    Layer.provide(Layer.effect(
      Env,
      Effect.map(
        Env,
        (env) => ({ ...env, flushed: () => Effect.zipRight(Deferred.succeed(asked, void 0), Effect.never) })
      )
    )),
    Layer.provideMerge(TestEnv.layer)
  )

/** The upgrade has begun and its new process is there. */
const startUpgrade = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const { nextChild } = yield* TestEnv
  const upgrade = yield* Effect.fork(upgrader.upgrade)
  const child = yield* nextChild
  return { upgrade, child }
})

const failureTag = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag)

describe("Upgrader", () => {
  describe("an upgrade", () => {
    it.effect("hands over when the new process is ready", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { processes } = yield* TestEnv
        assert.strictEqual(upgrader.hasParent, false)
        assert.strictEqual(upgrader.generation, 1)
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        assert.isNull(upgrade.unsafePoll())
        assert.deepStrictEqual(yield* upgrader.exitReason, Option.none())
        assert.deepStrictEqual(yield* child.notifyReady, [])
        const successor = { pid: child.pid, generation: 2 }
        assert.deepStrictEqual(yield* upgrade, successor)
        assert.deepStrictEqual(yield* upgrader.exit, ExitReason.Upgraded(successor))
        assert.deepStrictEqual(yield* upgrader.exitReason, Option.some(ExitReason.Upgraded(successor)))
        assert.strictEqual(yield* processes, 2)
      }).pipe(Effect.provide(machine())))

    it.effect("waits for the other end of a connection for drainTimeout at most", () =>
      Effect.flatMap(Deferred.make<void>(), (asked) =>
        Effect.gen(function*() {
          const upgrader = yield* Upgrader.Upgrader
          const { nextChild, processes } = yield* TestEnv
          yield* Fds.addConnection("peer", new net.Socket())
          yield* upgrader.ready
          const upgrade = yield* Effect.fork(upgrader.upgrade)
          yield* Deferred.await(asked)
          yield* TestClock.adjust("29 seconds")
          assert.strictEqual(yield* processes, 1)
          yield* TestClock.adjust("1 second")
          yield* (yield* nextChild).notifyReady
          yield* Fiber.join(upgrade)
        }).pipe(Effect.scoped, Effect.provide(neverFlushed(asked)))))

    it.effect("is accepted as soon as ready has completed", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { nextChild } = yield* TestEnv
        const upgrade = yield* Effect.fork(Effect.zipRight(upgrader.ready, upgrader.upgrade))
        yield* (yield* nextChild).notifyReady
        yield* upgrade
      }).pipe(Effect.provide(machine())))

    it.effect("is refused before ready, during another, and after one", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        assert.strictEqual(yield* failureTag(upgrader.upgrade), "NotReadyError")
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        assert.strictEqual(yield* failureTag(upgrader.upgrade), "UpgradeInProgressError")
        yield* child.notifyReady
        yield* upgrade
        assert.deepStrictEqual(
          yield* Effect.flip(upgrader.upgrade),
          new TableflipError.AlreadyUpgradedError({ pid: child.pid })
        )
      }).pipe(Effect.provide(machine())))

    it.effect("that is refused is an event, and one that is tried is not", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const events = yield* upgrader.events
        const refused = Effect.gen(function*() {
          const error = yield* Effect.flip(upgrader.upgrade)
          assert.deepStrictEqual(
            yield* Queue.take(events),
            UpgraderEvent.UpgradeRefused({ error, generation: 1 })
          )
          return error._tag
        })
        const happened = Effect.map(Queue.take(events), ({ _tag }) => _tag)
        assert.strictEqual(yield* refused, "NotReadyError")
        yield* upgrader.ready
        assert.strictEqual(yield* happened, "Ready")
        const { child, upgrade } = yield* startUpgrade
        assert.strictEqual(yield* happened, "UpgradeStarted")
        assert.strictEqual(yield* refused, "UpgradeInProgressError")
        yield* child.notifyReady
        yield* upgrade
        assert.strictEqual(yield* happened, "Upgraded")
        assert.strictEqual(yield* refused, "AlreadyUpgradedError")
      }).pipe(Effect.scoped, Effect.provide(machine())))

    it.effect("is not undone by a logger that throws", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { processes } = yield* TestEnv
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        yield* child.notifyReady
        yield* upgrade
        assert.strictEqual((yield* upgrader.exit)._tag, "Upgraded")
        assert.strictEqual(yield* processes, 2)
      }).pipe(
        Effect.provide(machine()),
        Effect.provide(Logger.add(Logger.make(({ message }) => {
          if (/is ready|taken over|Started process/.test(String(message))) {
            throw new Error("the disk of the log is full")
          }
        })))
      ))

    it.effect("goes on when its caller is interrupted", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        yield* Fiber.interrupt(upgrade)
        yield* child.notifyReady
        assert.strictEqual((yield* upgrader.exit)._tag, "Upgraded")
      }).pipe(Effect.provide(machine())))

    it.effect("gives the child its variables, and what the options add and remove", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        yield* upgrader.ready
        const { child } = yield* startUpgrade
        assert.strictEqual(child.environment["TABLEFLIP_HAS_PARENT_7DIU3"], "yes")
        assert.strictEqual(child.environment["TABLEFLIP_FDS"], "3,4")
        assert.strictEqual(child.environment["TABLEFLIP_GENERATION"], "2")
        assert.strictEqual(child.environment["ADDED"], "yes")
        assert.notProperty(child.environment, "REMOVED")
        assert.strictEqual(child.environment["KEPT"], "1")
      }).pipe(Effect.provide(
        Upgrader.layerWithoutEnv({ environment: { ADDED: "yes", REMOVED: undefined } }).pipe(
          Layer.provideMerge(TestEnv.layerVariables({ REMOVED: "1", KEPT: "1" }))
        )
      )))
  })

  describe("the log", () => {
    const log = () => {
      const lines: Array<Record<string, unknown>> = []
      return {
        lines,
        logged: Effect.provide(logger.layer("Debug", ({ annotations, level, message }) => {
          lines.push({ ...annotations, level, message: String(message) })
        }))
      }
    }

    it.effect("tells once of an upgrade that failed, whoever asked for it, with its error, process and exit code", () =>
      Effect.gen(function*() {
        const { lines, logged } = log()
        yield* Effect.gen(function*() {
          const upgrader = yield* Upgrader.Upgrader
          const { nextChild, self } = yield* TestEnv
          yield* upgrader.ready
          const { child, upgrade } = yield* startUpgrade
          yield* Fiber.interrupt(upgrade)
          const events = yield* upgrader.events
          yield* child.exit(3)
          yield* Queue.take(events)
          yield* self.kill("SIGHUP")
          const second = yield* nextChild
          yield* second.exit(4)
          yield* Queue.take(events)
          yield* Queue.take(events)
          yield* Effect.yieldNow()
          const failed = { level: "ERROR", package: "effect-tableflip", module: "Upgrader", error: "ChildExitedError" }
          for (const [{ pid }, exitCode] of [[child, 3], [second, 4]] as const) {
            const [line, more] = lines.filter((line) => line["pid"] === pid && line["level"] === "ERROR")
            assert.isUndefined(more)
            assert.deepInclude(line!, { ...failed, exitCode, pid, generation: 1 })
          }
        }).pipe(Effect.provide(machine()), Effect.scoped, logged)
      }))

    it.effect("tells that the new process ended while this one drains, unless it ended in order", () =>
      Effect.forEach([
        { end: (child: FakeProcess) => child.kill("SIGKILL"), told: ["was killed by SIGKILL"] },
        { end: (child: FakeProcess) => child.exit(1), told: ["exited with code 1"] },
        { end: (child: FakeProcess) => child.exit(0), told: [] },
        { end: (child: FakeProcess) => child.kill("SIGTERM"), told: [] }
      ], ({ end, told }) =>
        Effect.gen(function*() {
          const { lines, logged } = log()
          yield* Effect.gen(function*() {
            const upgrader = yield* Upgrader.Upgrader
            yield* upgrader.ready
            const { child, upgrade } = yield* startUpgrade
            yield* child.notifyReady
            yield* upgrade
            yield* end(child)
            yield* child.status
            yield* Effect.yieldNow()
            const errors = lines.filter(({ level }) => level === "ERROR")
            assert.deepStrictEqual(
              errors.map(({ message }) => String(message).split(": ")[0]),
              told.map((how) => `Process ${child.pid}, which had taken over, ${how} while this process drains`)
            )
            for (const line of errors) assert.deepInclude(line, { pid: child.pid, generation: 1 })
          }).pipe(Effect.provide(machine()), Effect.scoped, logged)
        }), { discard: true }))

    it.effect("tells when a drain begins and what it did, in words and in numbers", () =>
      Effect.gen(function*() {
        const { lines, logged } = log()
        yield* Effect.gen(function*() {
          const upgrader = yield* Upgrader.Upgrader
          yield* Effect.flatMap(Fds.Fds, ({ listen }) => listen(net.createServer(), address))
          yield* upgrader.ready
          yield* upgrader.stop
          yield* upgrader.drain
        }).pipe(Effect.provide(machine()), Effect.scoped, logged)
        const like = (pattern: RegExp) => lines.filter(({ message }) => pattern.test(String(message)))
        const common = { package: "effect-tableflip", module: "Upgrader", generation: 1 }
        assert.deepInclude(like(/^Draining 127.0.0.1:8080 .*told to stop/)[0]!, common)
        assert.deepInclude(like(/^Drained 127/)[0]!, { ...common, address: "127.0.0.1:8080", open: 0, forced: 0 })
      }))
  })

  describe("readiness", () => {
    const listening = Effect.flatMap(Fds.Fds, ({ listen }) => listen(net.createServer(), address))
    /** What is logged meanwhile. */
    const heard = <A, E>(effect: Effect.Effect<A, E, Upgrader.Upgrader | Fds.Fds | Scope.Scope>) =>
      Effect.suspend(() => {
        const said: Array<string> = []
        return Effect.scoped(effect).pipe(
          Effect.provide(machine()),
          Effect.provide(Logger.add(Logger.make(({ message }) => void said.push(String(message))))),
          Effect.as(said)
        )
      })

    it.effect("that is never said is asked for, with the sockets that wait for it", () =>
      Effect.gen(function*() {
        const said = yield* heard(Effect.zipRight(listening, TestClock.adjust("11 seconds")))
        assert.strictEqual(
          said.filter((line) => /127.0.0.1:8080 accepts nothing.*Upgrader.launch/.test(line)).length,
          1
        )
      }))

    it.effect("that has been said is not, and tells where this process listens", () =>
      Effect.gen(function*() {
        const said = yield* heard(Effect.gen(function*() {
          yield* listening
          yield* (yield* Upgrader.Upgrader).ready
          yield* TestClock.adjust("11 seconds")
        }))
        assert.deepStrictEqual(said.filter((line) => /Upgrader.launch/.test(line)), [])
        assert.match(said.join(), /is ready as generation 1 on 127.0.0.1:8080/)
      }))
  })

  describe("a new process that fails", () => {
    const failing = (
      name: string,
      act: (
        child: Effect.Effect.Success<typeof startUpgrade>["child"]
      ) => Effect.Effect<unknown, TableflipError.ProtocolError>,
      expected: (pid: number, error: TableflipError.UpgradeError) => TableflipError.UpgradeError,
      options?: Upgrader.Options
    ) =>
      it.effect(name, () =>
        Effect.gen(function*() {
          const upgrader = yield* Upgrader.Upgrader
          const { files, processes, self } = yield* TestEnv
          yield* upgrader.ready
          const before = yield* self.openDescriptors
          const { child, upgrade } = yield* startUpgrade
          yield* act(child)
          const error = yield* Effect.flip(Fiber.join(upgrade))
          assert.deepStrictEqual(error, expected(child.pid, error))
          assert.strictEqual(yield* processes, 1, "the new process is gone")
          assert.strictEqual(yield* self.openDescriptors, before, "no descriptor is left")
          assert.strictEqual((yield* files).get("/run/app.pid"), `${self.pid}\n`)
          // Nothing has changed: the next upgrade works.
          const next = yield* startUpgrade
          yield* next.child.notifyReady
          yield* TestClock.adjust(options?.probation ?? 0)
          yield* next.upgrade
        }).pipe(Effect.provide(machine({ ...options, pidFile: "/run/app.pid" }))))

    const exited = (status: ExitStatus.ExitStatus, ready = false) => (pid: number) =>
      new TableflipError.ChildExitedError({ pid, status, ready })

    failing("by its exit code", (child) => child.exit(3), exited(ExitStatus.Exited({ code: 3 })))
    failing("by ending without an error", (child) => child.exit(0), exited(ExitStatus.Exited({ code: 0 })))
    failing("by a signal", (child) => child.kill("SIGKILL"), exited(ExitStatus.Killed({ signal: "SIGKILL" })))
    failing(
      "by saying something else",
      (child) => child.garbage(Uint8Array.of(41)),
      () =>
        new TableflipError.ProtocolError({
          source: "the ready stream",
          detail: "carried 1 byte(s) that are not the ready signal"
        })
    )
    failing(
      "by closing the ready stream and living on",
      (child) => Effect.zipRight(child.closeReady, TestClock.adjust("3 seconds")),
      () =>
        new TableflipError.ProtocolError({
          source: "the ready stream",
          detail: "ended without a word; the new process closed it before it was ready"
        })
    )
    failing(
      "by not becoming ready in time",
      () => TestClock.adjust("1 minute"),
      (pid) => new TableflipError.UpgradeTimeoutError({ pid, timeout: Duration.minutes(1) })
    )
    failing(
      "by hanging so hard that it must be killed",
      (child) => Effect.zipRight(child.silent, TestClock.adjust("65 seconds")),
      (pid) => new TableflipError.UpgradeTimeoutError({ pid, timeout: Duration.minutes(1) })
    )
    failing(
      "by ending on probation",
      (child) => Effect.all([child.notifyReady, TestClock.adjust("9 seconds"), child.exit(1)]),
      exited(ExitStatus.Exited({ code: 1 }), true),
      { probation: "10 seconds" }
    )
    failing(
      "by being ready and dead at once",
      (child) => Effect.all([child.notifyReady, child.exit(1)]),
      // Which of the two is seen first is left open.
      (pid, error) => exited(ExitStatus.Exited({ code: 1 }), "ready" in error && error.ready)(pid)
    )
  })

  describe("a start that fails", () => {
    it.effect("tells why and changes nothing", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { failSpawn, processes, self } = yield* TestEnv
        yield* upgrader.ready
        const before = yield* self.openDescriptors
        const error = new TableflipError.SpawnError({
          reason: "NotFound",
          command: "node",
          detail: "there is no such program"
        })
        yield* failSpawn(error)
        assert.deepStrictEqual(yield* Effect.flip(upgrader.upgrade), error)
        assert.strictEqual(yield* processes, 1)
        assert.strictEqual(yield* self.openDescriptors, before)
        yield* failSpawn(undefined)
        const { child, upgrade } = yield* startUpgrade
        yield* child.notifyReady
        yield* upgrade
      }).pipe(Effect.provide(machine())))
  })

  describe("probation", () => {
    it.effect("hands over only when it has passed", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        yield* child.notifyReady
        yield* TestClock.adjust("9999 millis")
        assert.isNull(upgrade.unsafePoll())
        yield* TestClock.adjust("1 millis")
        yield* upgrade
      }).pipe(Effect.provide(machine({ probation: "10 seconds" }))))
  })

  describe("stop", () => {
    it.effect("completes exit, and later requests are refused", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        yield* upgrader.ready
        yield* upgrader.stop
        yield* upgrader.stop
        assert.deepStrictEqual(yield* upgrader.exit, ExitReason.Stopped())
        assert.strictEqual(yield* failureTag(upgrader.upgrade), "TerminatingError")
        assert.strictEqual(yield* failureTag(upgrader.ready), "TerminatingError")
      }).pipe(Effect.provide(machine())))

    it.effect("ends an upgrade that is going on, and its process", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { processes } = yield* TestEnv
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        yield* upgrader.stop
        assert.strictEqual(yield* failureTag(Fiber.join(upgrade)), "TerminatingError")
        assert.deepStrictEqual(yield* child.status, ExitStatus.Killed({ signal: "SIGTERM" }))
        assert.deepStrictEqual(yield* upgrader.exit, ExitReason.Stopped())
        assert.strictEqual(yield* processes, 1)
      }).pipe(Effect.provide(machine())))

    it.effect("ends an upgrade that waits for the other end of a connection", () =>
      Effect.flatMap(Deferred.make<void>(), (asked) =>
        Effect.gen(function*() {
          const upgrader = yield* Upgrader.Upgrader
          const { processes } = yield* TestEnv
          yield* Fds.addConnection("peer", new net.Socket())
          yield* upgrader.ready
          const upgrade = yield* Effect.fork(upgrader.upgrade)
          yield* Deferred.await(asked)
          yield* upgrader.stop
          assert.strictEqual(yield* failureTag(Fiber.join(upgrade)), "TerminatingError")
          assert.strictEqual(yield* processes, 1)
        }).pipe(Effect.scoped, Effect.provide(neverFlushed(asked)))))

    it.effect("in the same tick as an upgrade leaves neither hanging", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { processes } = yield* TestEnv
        yield* upgrader.ready
        const upgrade = yield* Effect.fork(upgrader.upgrade)
        const stop = yield* Effect.fork(upgrader.stop)
        assert.strictEqual(yield* failureTag(Fiber.join(upgrade)), "TerminatingError")
        yield* stop
        assert.strictEqual(yield* processes, 1)
      }).pipe(Effect.provide(machine())))

    it.effect("is what closing the scope does, for callers who wait too", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(Upgrader.layerWithoutEnv(), scope)
        const { nextChild, processes } = yield* TestEnv
        const { exit, ready, upgrade } = yield* Effect.provide(Upgrader.Upgrader, context)
        yield* ready
        const upgrading = yield* Effect.fork(upgrade)
        yield* nextChild
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* failureTag(Fiber.join(upgrading)), "TerminatingError")
        assert.deepStrictEqual(yield* exit, ExitReason.Stopped())
        assert.strictEqual(yield* processes, 1)
        assert.strictEqual(yield* failureTag(upgrade), "TerminatingError")
        assert.strictEqual(yield* failureTag(ready), "TerminatingError")
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("does not undo an upgrade that has happened", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        yield* child.notifyReady
        yield* upgrade
        yield* upgrader.stop
        assert.strictEqual((yield* upgrader.exit)._tag, "Upgraded")
      }).pipe(Effect.provide(machine())))
  })

  describe("signals", () => {
    it.effect("ask for an upgrade; more of them during it are refused", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { nextChild, processes, self } = yield* TestEnv
        yield* upgrader.ready
        for (let count = 0; count < 50; count++) yield* self.kill("SIGHUP")
        yield* (yield* nextChild).notifyReady
        yield* upgrader.exit
        assert.strictEqual(yield* processes, 2)
      }).pipe(Effect.provide(machine())))

    it.effect("are those of the option", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { nextChild, self } = yield* TestEnv
        yield* upgrader.ready
        yield* self.kill("SIGUSR2")
        yield* (yield* nextChild).notifyReady
        yield* upgrader.exit
      }).pipe(Effect.provide(machine({ signals: ["SIGUSR2"] }))))

    it.effect("are left alone with false", () =>
      Effect.gen(function*() {
        const { self } = yield* TestEnv
        yield* self.kill("SIGHUP")
        assert.deepStrictEqual(yield* self.status, ExitStatus.Killed({ signal: "SIGHUP" }))
      }).pipe(Effect.provide(machine({ signals: false }))))

    it.effect("look after the terminal only if SIGHUP is one of them", () =>
      Effect.gen(function*() {
        const looks = (signals: ReadonlyArray<NodeJS.Signals>) => {
          let count = 0
          const terminalOf = () => Effect.sync(() => ++count > 0 ? "foreground" as const : "none")
          return Upgrader.layerWithoutEnv({ signals }).pipe(
            Layer.provide(Layer.effect(Env, Effect.map(Env, (env) => ({ ...env, terminalOf })))),
            Layer.provide(TestEnv.layer),
            Layer.build,
            Effect.zipRight(TestClock.adjust("5 seconds")),
            Effect.scoped,
            Effect.map(() => count)
          )
        }
        assert.strictEqual(yield* looks([]), 0)
        assert.strictEqual(yield* looks(["SIGUSR2"]), 0)
        assert.isAbove(yield* looks(["SIGHUP"]), 1)
      }))
  })

  describe("the PID file", () => {
    it.effect("is not left half done when it cannot be written", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { accepting, failFiles } = yield* TestEnv
        yield* Fds.listen(net.createServer(), address)
        yield* failFiles("EROFS")
        assert.strictEqual(yield* failureTag(upgrader.ready), "PidFileError")
        assert.deepStrictEqual(yield* accepting(address), [])
        assert.strictEqual(yield* failureTag(upgrader.upgrade), "NotReadyError")
        yield* failFiles(undefined)
        yield* upgrader.ready
        assert.lengthOf(yield* accepting(address), 1)
      }).pipe(Effect.scoped, Effect.provide(machine({ pidFile: "app.pid" }))))

    it.effect("starts at the directory of the start, and is removed at the final stop", () =>
      Effect.gen(function*() {
        const { files, self } = yield* TestEnv
        yield* Effect.gen(function*() {
          yield* (yield* Upgrader.Upgrader).ready
          assert.deepStrictEqual([...yield* files], [["/srv/app/run/app.pid", `${self.pid}\n`]])
        }).pipe(Effect.provide(Upgrader.layerWithoutEnv({ pidFile: "run/app.pid" })))
        assert.strictEqual((yield* files).size, 0)
      }).pipe(Effect.provide(TestEnv.layer)))
  })

  describe("the next generation", () => {
    const options = { pidFile: "/run/app.pid" }

    /** The whole app of this test: one server. Both generations run it, on the real code of both sides. */
    const app = () => Layer.scopedDiscard(Effect.suspend(() => Fds.listen(net.createServer(), address)))

    const runApp = (options: Upgrader.Options) => app().pipe(Layer.provideMerge(Upgrader.layerWithoutEnv(options)))

    it.effect("inherits, accepts from ready on, and outlives its parent", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { accepting, files, self } = yield* TestEnv
        yield* upgrader.ready
        const { child, upgrade } = yield* startUpgrade
        yield* Effect.gen(function*() {
          const next = yield* Upgrader.Upgrader
          const events = yield* next.events
          assert.strictEqual(next.hasParent, true)
          assert.strictEqual(next.generation, 2)
          assert.deepStrictEqual(yield* accepting(address), [self.pid], "nothing is accepted before ready")
          assert.strictEqual((yield* files).get("/run/app.pid"), `${self.pid}\n`)
          yield* next.ready
          yield* upgrade
          assert.deepStrictEqual(yield* accepting(address), [self.pid, child.pid])
          assert.strictEqual((yield* files).get("/run/app.pid"), `${child.pid}\n`)
          yield* upgrader.drain
          assert.deepStrictEqual(yield* accepting(address), [child.pid])

          const error = new TableflipError.ParentRunningError({ draining: 1, maxDraining: 1 })
          assert.deepStrictEqual(yield* Effect.flip(next.upgrade), error)
          const waiting = yield* Effect.fork(next.waitForParent)
          yield* Effect.yieldNow()
          assert.isNull(waiting.unsafePoll())
          yield* self.exit(0)
          yield* waiting
          assert.deepStrictEqual(
            Chunk.toReadonlyArray(yield* Queue.takeN(events, 3)),
            [
              UpgraderEvent.Ready({ generation: 2 }),
              UpgraderEvent.UpgradeRefused({ error, generation: 2 }),
              UpgraderEvent.ParentExited({ generation: 2 })
            ]
          )
          assert.strictEqual((yield* files).get("/run/app.pid"), `${child.pid}\n`)
        }).pipe(Effect.provide(runApp(options)), Effect.scoped, Effect.provide(child.layer))
      }).pipe(Effect.provide(Layer.provideMerge(runApp(options), TestEnv.layer))))

    it.effect("has its PID file taken back when it fails after writing it", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { files, nextChild, self } = yield* TestEnv
        yield* upgrader.ready
        const upgrade = yield* Effect.fork(upgrader.upgrade)
        const child = yield* nextChild
        yield* Effect.gen(function*() {
          yield* (yield* Upgrader.Upgrader).ready
          assert.strictEqual((yield* files).get("/run/app.pid"), `${child.pid}\n`)
          yield* child.kill("SIGKILL")
          assert.strictEqual(yield* failureTag(Fiber.join(upgrade)), "ChildExitedError")
          assert.strictEqual((yield* files).get("/run/app.pid"), `${self.pid}\n`)
        }).pipe(Effect.provide(Upgrader.layerWithoutEnv(options)), Effect.provide(child.layer))
      }).pipe(Effect.provide(machine({ ...options, probation: "1 minute" }))))

    it.effect("serves when the parent is killed at any moment", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { accepting, self } = yield* TestEnv
        yield* upgrader.ready
        const { child } = yield* startUpgrade
        yield* self.kill("SIGKILL")
        yield* Effect.gen(function*() {
          const next = yield* Upgrader.Upgrader
          yield* next.ready
          yield* next.waitForParent
          assert.deepStrictEqual(yield* accepting(address), [child.pid])
          const { nextChild } = yield* TestEnv
          const upgrade = yield* Effect.fork(next.upgrade)
          yield* (yield* nextChild).notifyReady
          assert.strictEqual((yield* upgrade).generation, 3)
        }).pipe(Effect.provide(runApp(options)), Effect.provide(child.layer))
      }).pipe(Effect.provide(Layer.provideMerge(runApp(options), TestEnv.layer))))

    it.effect("counts every draining generation", () =>
      Effect.gen(function*() {
        const options = { maxDraining: 2 }
        const first = yield* Upgrader.Upgrader
        const { nextChild, self } = yield* TestEnv
        yield* first.ready
        const toSecond = yield* startUpgrade
        yield* Effect.gen(function*() {
          const second = yield* Upgrader.Upgrader
          yield* second.ready
          yield* toSecond.upgrade
          const upgrade = yield* Effect.fork(second.upgrade)
          const thirdProcess = yield* nextChild
          yield* Effect.gen(function*() {
            const third = yield* Upgrader.Upgrader
            yield* third.ready
            assert.strictEqual((yield* upgrade).generation, 3)
            assert.deepStrictEqual(
              yield* Effect.flip(third.upgrade),
              new TableflipError.ParentRunningError({ draining: 2, maxDraining: 2 })
            )
            const waiting = yield* Effect.fork(third.waitForParent)
            yield* toSecond.child.exit(0)
            yield* Effect.yieldNow()
            assert.isNull(waiting.unsafePoll(), "the first generation still drains")
            yield* self.exit(0)
            yield* waiting
          }).pipe(Effect.provide(Upgrader.layerWithoutEnv(options)), Effect.provide(thirdProcess.layer))
        }).pipe(Effect.provide(Upgrader.layerWithoutEnv(options)), Effect.provide(toSecond.child.layer))
      }).pipe(Effect.provide(machine({ maxDraining: 2 }))))
  })

  describe("building", () => {
    const refused = (option: string, options: Upgrader.Options) =>
      it.effect(`refuses ${option}: ${String(Object.values(options)[0])}`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(Effect.scoped(Layer.build(Upgrader.layerWithoutEnv(options))))
          assert.strictEqual(error._tag, "InvalidOptionError")
          assert.include(error.message, option)
        }).pipe(Effect.provide(TestEnv.layer)))
    refused("upgradeTimeout", { upgradeTimeout: 0 })
    refused("upgradeTimeout", { upgradeTimeout: -1 })
    refused("upgradeTimeout", { upgradeTimeout: Infinity })
    refused("upgradeTimeout", { upgradeTimeout: Duration.infinity })
    refused("upgradeTimeout", { upgradeTimeout: Number.NaN })
    refused("drainTimeout", { drainTimeout: "-5 seconds" as "5 seconds" })
    refused("probation", { probation: Duration.infinity })
    refused("maxDraining", { maxDraining: 0 })
    refused("maxDraining", { maxDraining: 1.5 })
    refused("pidFile", { pidFile: "" })
    refused("signals", { signals: ["SIGKILL"] })
    refused("signals", { signals: ["HUP" as "SIGHUP"] })
    refused("signals", { signals: ["SIGBREAK"] })

    it.effect("takes every signal that can be heard here, and an exitTimeout that never comes", () =>
      Effect.gen(function*() {
        const deadly = ["SIGKILL", "SIGSTOP", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGILL", "SIGUNUSED"]
        const signals = Object.keys(os.constants.signals).filter((name) => !deadly.includes(name))
        for (const exitTimeout of [Infinity, Duration.infinity]) {
          yield* Effect.scoped(
            Layer.build(Upgrader.layerWithoutEnv({ signals: signals as Array<NodeJS.Signals>, exitTimeout }))
          )
        }
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("a second one names the first", () =>
      Effect.gen(function*() {
        yield* Upgrader.Upgrader
        const second = yield* Effect.flip(Effect.scoped(Layer.build(Upgrader.layerWithoutEnv())))
        assert.strictEqual(second._tag, "UpgraderExistsError")
        assert.include(second.message, "/run/first.pid")
      }).pipe(Effect.provide(machine({ pidFile: "/run/first.pid" }))))

    it.effect("is free again when the first is closed", () =>
      Effect.gen(function*() {
        yield* Effect.scoped(Layer.build(Upgrader.layerWithoutEnv()))
        yield* Effect.scoped(Layer.build(Upgrader.layerWithoutEnv()))
      }).pipe(Effect.provide(TestEnv.layer)))

    it.effect("takes nonsense in the variables for what it is, and removes it", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Upgrader.layerWithoutEnv())))
        assert.strictEqual(error._tag, "ProtocolError")
        assert.include(error.message, "TABLEFLIP_FDS")
        // Removed, so that now it is a first process.
        yield* Effect.scoped(Layer.build(Upgrader.layerWithoutEnv()))
      }).pipe(Effect.provide(TestEnv.layerVariables({ TABLEFLIP_HAS_PARENT_7DIU3: "yes", TABLEFLIP_FDS: "a,b" }))))

    it.effect("takes descriptors that are not open for nonsense", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Upgrader.layerWithoutEnv())))
        assert.strictEqual(error._tag, "ProtocolError")
        assert.include(error.message, "TABLEFLIP_FDS")
      }).pipe(Effect.provide(TestEnv.layerVariables({ TABLEFLIP_HAS_PARENT_7DIU3: "yes", TABLEFLIP_FDS: "3,4" }))))
  })

  describe("draining", () => {
    it.effect("stops everywhere, after the hooks when it is a stop, and tells of every server", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { accepting } = yield* TestEnv
        const events = yield* upgrader.events
        yield* Fds.listen(net.createServer(), address)
        yield* Fds.listen(net.createServer(), { path: "/run/app.sock" })
        yield* upgrader.ready
        const seen: Array<unknown> = []
        yield* upgrader.onDrain((reason) =>
          Effect.map(accepting(address), (pids) => seen.push(reason._tag, pids.length))
        )
        yield* upgrader.onDrain(() => Effect.fail("the registry does not answer"))
        yield* upgrader.onDrain(() => Effect.never)
        yield* upgrader.stop
        const drain = yield* Effect.fork(upgrader.drain)
        yield* TestClock.adjust("5 seconds")
        const report = yield* drain
        assert.deepStrictEqual(seen, ["Stopped", 1])
        assert.deepStrictEqual(yield* accepting(address), [])
        assert.deepStrictEqual(report.servers.map(({ address }) => address), ["127.0.0.1:8080", "/run/app.sock"])
        assert.strictEqual(yield* upgrader.drain, report, "there is one drain")
        assert.deepStrictEqual(
          (yield* seam.drain(events)).map(({ _tag }) => _tag),
          ["Ready", "Stopped", "Draining", "Drained"]
        )
      }).pipe(Effect.scoped, Effect.provide(machine())))

    it.effect("goes on when a hook fails and a logger too", () => {
      let words = 0
      const broken = Logger.make(({ message }) => {
        if (!String(message).startsWith("An onDrain hook failed")) return
        words++
        throw new Error("no disk")
      })
      return Effect.gen(function*() {
        const { drain, onDrain, ready, stop } = yield* Upgrader.Upgrader
        yield* Fds.listen(net.createServer(), address)
        yield* onDrain(() => Effect.fail("no registry"))
        yield* ready
        yield* stop
        assert.strictEqual((yield* drain).servers.length, 1)
        assert.strictEqual(words, 1)
      }).pipe(Effect.scoped, Effect.provide(machine()), Effect.provide(Logger.add(broken)))
    })

    it.effect("stops before the hooks when a newer process has taken over", () =>
      Effect.gen(function*() {
        const upgrader = yield* Upgrader.Upgrader
        const { accepting } = yield* TestEnv
        yield* Fds.listen(net.createServer(), address)
        yield* upgrader.ready
        const seen: Array<unknown> = []
        yield* upgrader.onDrain((reason) =>
          Effect.map(accepting(address), (pids) => seen.push(reason._tag, pids.length))
        )
        const { child, upgrade } = yield* startUpgrade
        yield* child.notifyReady
        yield* upgrade
        yield* upgrader.drain
        assert.deepStrictEqual(seen, ["Upgraded", 0])
      }).pipe(Effect.scoped, Effect.provide(machine())))
  })

  describe("launch", () => {
    const steps: Array<string> = []
    const app = Layer.scopedDiscard(
      Effect.acquireRelease(Effect.sync(() => steps.push("built")), () => Effect.sync(() => steps.push("released")))
    )

    it.effect("builds, is ready, waits, and releases after a hand-over and after an interruption", () =>
      Effect.gen(function*() {
        const { nextChild, self } = yield* TestEnv
        const launched = yield* Effect.fork(Upgrader.launch(app))
        while (!steps.includes("built")) yield* Effect.yieldNow()
        yield* self.kill("SIGHUP")
        const child = yield* nextChild
        assert.deepStrictEqual(steps, ["built"])
        yield* child.notifyReady
        assert.strictEqual((yield* launched)._tag, "Upgraded")
        assert.deepStrictEqual(steps, ["built", "released"])
      }).pipe(Effect.provide(machine())))

    it.effect("fails when the app does", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Upgrader.launch(Layer.fail("no database")))
        assert.deepStrictEqual(exit, Exit.failCause(Cause.fail("no database")))
      }).pipe(Effect.provide(machine())))

    it.effect("tells finalizers without waiting whether another process goes on", () =>
      Effect.gen(function*() {
        const { nextChild, self } = yield* TestEnv
        const { exitReason } = yield* Upgrader.Upgrader
        const told: Array<Option.Option<ExitReason>> = []
        const asking = Layer.scopedDiscard(
          Effect.acquireRelease(Effect.void, () => Effect.map(exitReason, (reason) => told.push(reason)))
        )
        yield* Effect.exit(Upgrader.launch(Layer.provide(Layer.effectDiscard(Effect.fail("no database")), asking)))
        assert.deepStrictEqual(told, [Option.none()])
        const launched = yield* Effect.fork(Upgrader.launch(asking))
        while ((yield* (yield* Upgrader.Upgrader).status).state !== "serving") yield* Effect.yieldNow()
        yield* self.kill("SIGHUP")
        const child = yield* nextChild
        yield* child.notifyReady
        const reason = yield* launched
        assert.deepStrictEqual(told, [Option.none(), Option.some(reason)])
        assert.strictEqual(reason._tag, "Upgraded")
      }).pipe(Effect.provide(machine())))
  })
})
