/**
 * What a control socket answers for a supervisor, on a simulated machine.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type { Status } from "../../src/internal/controlSocket/protocol.ts"
import { make } from "../../src/internal/controlSocket/supervisor.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"

const settle = Effect.repeat(Effect.yieldNow(), { times: 200 })

/** A supervisor whose commands do not end at their signal by themselves, and what its control socket controls. */
const opened = (options: Partial<Supervisor.Options> = {}) =>
  Effect.gen(function*() {
    const { nextChild } = yield* TestEnv
    const supervisor = yield* Supervisor.make({
      command: { name: "app" },
      ready: { when: Readiness.Wire },
      ...options
    })
    yield* Effect.addFinalizer(() => supervisor.hasten)
    const { target } = yield* make({ supervisor, stop: supervisor.stop() })
    const child: Effect.Effect<FakeProcess> = Effect.tap(nextChild, (child) => Effect.zipRight(settle, child.silent))
    const up = Effect.tap(child, (child) => Effect.zipRight(child.notifyReady, settle))
    const start = yield* Effect.fork(supervisor.start)
    return {
      child,
      states: Effect.map(
        Effect.zipLeft(target.status, settle),
        ({ generation, olderDraining, size, state }) => ({ generation, olderDraining, size, state })
      ),
      started: Fiber.join(start),
      target,
      up,
      /** Asks, and has what is asked begin. */
      ask: <A>(request: Effect.Effect<A>) => Effect.zipLeft(Effect.fork(request), settle)
    }
  })

const isOpen = <A>(fiber: Fiber.RuntimeFiber<A>) => fiber.unsafePoll() === null

const last = ({ lastUpgrade }: Status) => lastUpgrade

describe("the control socket of a supervisor", () => {
  it.scoped("tells what state its command is in", () =>
    Effect.gen(function*() {
      const { ask, child, started, states, target, up } = yield* opened()
      assert.deepInclude(yield* target.status, { kind: "supervisor", pid: 100, generation: 1, state: "starting" })
      const first = yield* up
      yield* started
      assert.deepStrictEqual(yield* states, { generation: 1, olderDraining: 0, size: 1, state: "serving" })
      yield* ask(target.reload("switched", Effect.void))
      const second = yield* child
      assert.deepInclude(yield* states, { generation: 1, state: "upgrading" })
      yield* second.notifyReady
      yield* settle
      assert.deepInclude(yield* states, { olderDraining: 1, size: 1 })
      yield* first.exit(0)
      yield* settle
      assert.deepStrictEqual(yield* states, { generation: 2, olderDraining: 0, size: 1, state: "serving" })
      yield* second.exit(1)
      yield* settle
      assert.deepInclude(yield* states, { generation: 2, state: "starting" })
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("tells since when its command serves, also if nobody has asked until later", () =>
    Effect.gen(function*() {
      const { child, started, target } = yield* opened()
      const first = yield* child
      yield* TestClock.adjust("1 second")
      yield* first.notifyReady
      yield* settle
      yield* started
      yield* TestClock.adjust("1 minute")
      const { since, state } = yield* target.status
      assert.deepStrictEqual({ since, state }, { since: "1970-01-01T00:00:01.000Z", state: "serving" })
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("answers a reload when the new process serves, or when the old one has ended, as it was asked", () =>
    Effect.gen(function*() {
      const { ask, started, target, up } = yield* opened()
      const first = yield* up
      yield* started
      const switched = yield* ask(target.reload("switched", Effect.void))
      const second = yield* up
      assert.deepInclude((yield* Fiber.join(switched)).json, {
        outcome: "upgraded",
        generation: 2,
        from: { pid: 100, generation: 1 }
      })
      yield* first.exit(0)
      yield* settle
      const drained = yield* ask(target.reload("drained", Effect.void))
      yield* up
      assert.isTrue(isOpen(drained))
      yield* TestClock.adjust("3 seconds")
      yield* second.exit(0)
      const { json, status } = yield* Fiber.join(drained)
      assert.strictEqual(status, 200)
      assert.deepInclude(json, { outcome: "upgraded", generation: 3, millis: 0, drained: { millis: 3000 } })
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("says why a reload has failed, in the answer and in the status", () =>
    Effect.gen(function*() {
      const { ask, child, started, states, target, up } = yield* opened()
      yield* up
      yield* started
      const reload = yield* ask(target.reload("switched", Effect.void))
      yield* (yield* child).exit(3)
      const { json, status } = yield* Fiber.join(reload)
      assert.strictEqual(status, 502)
      const { error } = json as { readonly error: { readonly _tag: string; readonly message: string } }
      assert.strictEqual(error._tag, "ReplaceError")
      assert.include(error.message, "code 3")
      assert.deepInclude(last(yield* target.status), { outcome: "failed", generation: 2, error })
      assert.deepInclude(yield* states, { generation: 1, size: 1, state: "serving" })
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("answers one who asks during a reload by the next one", () =>
    Effect.gen(function*() {
      const { ask, started, target, up } = yield* opened()
      const first = yield* up
      yield* started
      const one = yield* ask(target.reload("switched", Effect.void))
      const other = yield* ask(target.reload("switched", Effect.void))
      const second = yield* up
      assert.deepInclude((yield* Fiber.join(one)).json, { generation: 2 })
      assert.isTrue(isOpen(other))
      yield* first.exit(0)
      yield* up
      assert.deepInclude((yield* Fiber.join(other)).json, { generation: 3 })
      yield* second.exit(0)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("answers a stop at once, or says how many it had to kill", () =>
    Effect.gen(function*() {
      const { ask, started, states, target, up } = yield* opened({ stop: { timeout: "4 seconds" } })
      yield* up
      yield* started
      assert.deepStrictEqual(yield* target.stop(undefined), {
        status: 202,
        json: { outcome: "stopping", pid: 100, generation: 1 }
      })
      assert.deepInclude(yield* states, { state: "stopping" })
      const stop = yield* ask(target.stop("drained"))
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(isOpen(stop))
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* Fiber.join(stop), {
        status: 200,
        json: { outcome: "stopped", pid: 100, generation: 1, drained: { killed: 1 } }
      })
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("refuses what a supervisor does not do, and says what does", () =>
    Effect.gen(function*() {
      const { target } = yield* opened()
      const refusals = [yield* target.scale(2), yield* target.replace(0)]
      assert.deepStrictEqual(refusals.map(({ status }) => status), [501, 501])
      assert.include(JSON.stringify(refusals[0]?.json), "--workers")
      assert.include(JSON.stringify(refusals[1]?.json), "reload")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("answers a stop that is waited for when nothing more will happen", () =>
    Effect.gen(function*() {
      const { ask, started, target, up } = yield* opened()
      yield* up
      yield* started
      const stop = yield* ask(target.stop("drained"))
      yield* target.end
      assert.deepStrictEqual((yield* Fiber.join(stop)).json, { outcome: "stopped", pid: 100, generation: 1 })
    }).pipe(Effect.provide(TestEnv.layer)))
})
