import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as net from "node:net"
import * as Fds from "../../src/Fds.ts"
import * as Systemd from "../../src/Systemd.ts"
import { SpawnError } from "../../src/TableflipError.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const notified = { NOTIFY_SOCKET: "/run/systemd/notify" }

const app = (options?: Upgrader.Options) =>
  Systemd.layerWithoutEnv().pipe(Layer.provideMerge(Upgrader.layerWithoutEnv(options)))

const machine = (variables: Record<string, string> = notified, options?: Upgrader.Options) =>
  app(options).pipe(Layer.provideMerge(TestEnv.layerVariables(variables)))

/** Whoever waits for something gets on. */
const settle = Effect.repeatN(Effect.yieldNow(), 50)

/** What was told since the last time, without the moment of a reload. */
const teller = Effect.map(TestEnv, ({ notifications }) => {
  let seen = 0
  return Effect.map(Effect.zipRight(settle, notifications), (all) => {
    const more = all.slice(seen)
    seen = all.length
    return more.map(({ pid, state }) =>
      `${pid} ${state.map((line) => line.replace(/^MONOTONIC_USEC=\d+$/, "MONOTONIC_USEC")).join(" ")}`
    )
  })
})

const upgrade = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const { nextChild } = yield* TestEnv
  const running = yield* Effect.fork(Effect.exit(upgrader.upgrade))
  return { child: yield* nextChild, running }
})

describe("Systemd", () => {
  it.effect("says nothing before this process is ready, and then that it is", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const told = yield* teller
      assert.deepStrictEqual(yield* told, [])
      yield* upgrader.ready
      assert.deepStrictEqual(yield* told, ["100 READY=1 STATUS=Serving as generation 1 (process 100)"])
    }).pipe(Effect.provide(machine())))

  it.effect("says nothing where nobody wants to know", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const told = yield* teller
      yield* upgrader.ready
      yield* upgrader.stop
      assert.deepStrictEqual(yield* told, [])
    }).pipe(Effect.provide(machine({}))))

  it.effect("tells of an upgrade, the end of the older process, and a stop", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { self } = yield* TestEnv
      const told = yield* teller
      yield* upgrader.ready
      yield* told
      const { child, running } = yield* upgrade
      assert.deepStrictEqual(yield* told, [
        "100 RELOADING=1 MONOTONIC_USEC STATUS=Upgrading: process 101 starts as generation 2, generation 1 (process 100) serves"
      ])
      yield* Effect.gen(function*() {
        const next = yield* Upgrader.Upgrader
        yield* next.ready
        yield* running
        const finishing = "STATUS=Process 101 serves as generation 2; generation 1 (process 100) finishes"
        assert.deepStrictEqual(yield* told, [`100 READY=1 ${finishing}, 0 connection(s) open`])
        yield* upgrader.drain
        assert.deepStrictEqual(
          (yield* told).at(-1),
          "100 STATUS=Process 101 serves as generation 2: generation 1 (process 100) has finished and ends"
        )
        yield* self.exit(0)
        assert.deepStrictEqual(yield* told, [], "the manager may not have seen the end yet")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* told, ["101 READY=1 STATUS=Serving as generation 2 (process 101)"])
        yield* next.stop
        assert.deepStrictEqual(yield* told, [
          "101 STOPPING=1 STATUS=Stopping: generation 2 (process 101) finishes what it serves, 0 connection(s) open"
        ])
      }).pipe(Effect.provide(app()), Effect.provide(child.layer))
    }).pipe(Effect.provide(machine())))

  it.effect("does not take the end of the older process for the end of an upgrade that has begun since", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { self } = yield* TestEnv
      const told = yield* teller
      yield* upgrader.ready
      const { child, running } = yield* upgrade
      yield* Effect.gen(function*() {
        const next = yield* Upgrader.Upgrader
        yield* next.ready
        yield* running
        yield* upgrader.drain
        yield* self.exit(0)
        yield* next.waitForParent
        const { child: third, running: more } = yield* upgrade
        yield* told
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* told, [])
        yield* third.notifyReady
        yield* more
        assert.match((yield* told).join(), /^101 READY=1 STATUS=Process 102 serves/)
      }).pipe(Effect.provide(app()), Effect.provide(child.layer))
    }).pipe(Effect.provide(machine())))

  it.effect("is ready again after an upgrade that failed, that could not be tried, and that was refused", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const told = yield* teller
      const refused = Effect.zipRight(Effect.flip(upgrader.upgrade), told)
      assert.deepStrictEqual(yield* refused, [], "nobody can wait for it yet")
      yield* upgrader.ready
      yield* told
      const { child, running } = yield* upgrade
      yield* told
      assert.deepStrictEqual(yield* refused, ["100 RELOADING=1 MONOTONIC_USEC STATUS=Upgrading"])
      yield* child.exit(3)
      yield* running
      const failed = yield* told
      assert.lengthOf(failed, 1)
      assert.match(
        failed[0]!,
        /^100 READY=1 STATUS=Serving as generation 1 \(process 100\); the last upgrade failed at 1970-01-01T00:00:00Z: .*exited with code 3/
      )

      const { child: second, running: again } = yield* upgrade
      yield* second.notifyReady
      yield* again
      yield* told
      const [reloading, ready, ...more] = yield* refused
      assert.match(reloading!, /^100 RELOADING=1 MONOTONIC_USEC STATUS=Process 102 serves/)
      assert.match(ready!, /^100 READY=1 STATUS=Process 102 serves/)
      assert.deepStrictEqual(more, [])
    }).pipe(Effect.provide(machine())))

  it.effect("is ready again after an upgrade of which no process was started", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { failSpawn } = yield* TestEnv
      const told = yield* teller
      yield* upgrader.ready
      yield* told
      yield* failSpawn(new SpawnError({ reason: "Resources", command: "node", detail: "no memory" }))
      yield* Effect.flip(upgrader.upgrade)
      const [reloading, ready] = yield* told
      assert.match(reloading!, /^100 RELOADING=1 MONOTONIC_USEC/)
      assert.match(ready!, /^100 READY=1 STATUS=Serving .*the last upgrade failed/)
    }).pipe(Effect.provide(machine())))

  it.effect("asks for more time as long as it drains at a stop, and not for ever", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const told = yield* teller
      yield* Fds.listen(net.createServer(), { port: 8080, host: "127.0.0.1" })
      yield* upgrader.onDrain(() => Effect.sleep("12 seconds"))
      yield* upgrader.ready
      yield* upgrader.stop
      yield* told
      const draining = yield* Effect.fork(upgrader.drain)
      const extended = /^100 EXTEND_TIMEOUT_USEC=15000000 STATUS=Stopping: generation 1 \(process 100\) finishes/
      assert.match((yield* told).join(), extended)
      for (const _ of [1, 2]) {
        yield* TestClock.adjust("5 seconds")
        assert.match((yield* told).join(), extended)
      }
      yield* TestClock.adjust("2 seconds")
      yield* draining
      assert.deepStrictEqual(yield* told, [
        "100 EXTEND_TIMEOUT_USEC=15000000 STATUS=Stopping: generation 1 (process 100) has finished and ends"
      ])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* told, [])
    }).pipe(Effect.scoped, Effect.provide(machine(notified, { drain: { hookTimeout: "1 minute" } }))))

  it.effect("asks for more time too if the service is stopped while it finishes after an upgrade", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const { self } = yield* TestEnv
      const told = yield* teller
      yield* upgrader.onDrain(() => Effect.sleep("12 seconds"))
      yield* upgrader.ready
      const { child, running } = yield* upgrade
      yield* child.notifyReady
      yield* running
      yield* Effect.fork(upgrader.drain)
      assert.notMatch((yield* told).join(), /EXTEND|STOPPING/)
      yield* self.kill("SIGTERM")
      const [stopping, extending] = yield* told
      assert.match(stopping!, /^100 STOPPING=1 STATUS=Stopping: generation 1/)
      assert.match(extending!, /^100 EXTEND_TIMEOUT_USEC=15000000/)
    }).pipe(Effect.scoped, Effect.provide(machine(notified, { drain: { hookTimeout: "1 minute" } }))))

  it.effect("says three times in the time of the watchdog that this process is well, its successors too", () =>
    Effect.gen(function*() {
      const told = yield* teller
      const pings = Effect.map(
        told,
        (all) => all.filter((one) => one.endsWith(" WATCHDOG=1")).map((one) => one.slice(0, 3))
      )
      assert.deepStrictEqual(yield* pings, ["100"])
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* pings, ["100", "100", "100"])
      const upgrader = yield* Upgrader.Upgrader
      yield* upgrader.ready
      const { child } = yield* upgrade
      yield* pings
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* pings, ["101"])
      }).pipe(Effect.provide(app()), Effect.provide(child.layer))
    }).pipe(Effect.provide(machine({ ...notified, WATCHDOG_USEC: "9000000", WATCHDOG_PID: "100" }))))

  it.effect("leaves the watchdog of another process alone", () =>
    Effect.gen(function*() {
      const told = yield* teller
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* told, [])
    }).pipe(Effect.provide(machine({ ...notified, WATCHDOG_USEC: "9000000", WATCHDOG_PID: "99" }))))

  it.effect("may be built when this process is ready, and says so then", () =>
    Effect.gen(function*() {
      const upgrader = yield* Upgrader.Upgrader
      const told = yield* teller
      yield* upgrader.ready
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Systemd.layerWithoutEnv(), scope)
      assert.deepStrictEqual(yield* told, ["100 READY=1 STATUS=Serving as generation 1 (process 100)"])
      yield* Scope.close(scope, Exit.void)
      yield* upgrader.stop
      assert.deepStrictEqual(yield* told, [], "it belongs to its scope")
    }).pipe(
      Effect.provide(Upgrader.layerWithoutEnv().pipe(Layer.provideMerge(TestEnv.layerVariables(notified))))
    ))
})
