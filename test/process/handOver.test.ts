import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ask, load } from "../kit/clients.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"

describe.runIf(isLinux)("state that goes along", () => {
  it.scopedLive("counts every request of eight upgrades under load", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("counters.mjs"), { app: {} })
      let last = yield* app.up(1)
      yield* app.waitFor(new RegExp(`^SHOWN ${last.pid} nothing`))
      const clients = yield* load(last.port)
      for (let generation = 2; generation <= 9; generation++) {
        yield* signal(last.pid, "SIGHUP")
        last = yield* app.up(generation)
        yield* app.waitFor(new RegExp(`^SHOWN ${last.pid} \\d+`))
        yield* app.waitFor(new RegExp(`^ALONE ${last.pid}`))
        yield* app.waitFor(new RegExp(`^OLDER ${last.pid}`))
      }
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      const asked = [...clients.answers.values()].reduce((sum, count) => sum + count, 0)
      assert.strictEqual(clients.answers.size, 9)
      assert.strictEqual(Number((yield* ask(last.port, { path: "/total" })).body), asked)
    }), 60_000)

  it.scopedLive(
    "lets the counters of effect/Metric go on through eight upgrades under load",
    () =>
      Effect.gen(function*() {
        const app = yield* start(fixture("counters.mjs"), { app: { metrics: true } })
        let last = yield* app.up(1)
        const clients = yield* load(last.port)
        const total = Effect.map(ask(last.port, { path: "/total" }), ({ body }) => body.split(" ").map(Number))
        let seen = 0
        for (let generation = 2; generation <= 9; generation++) {
          yield* signal(last.pid, "SIGHUP")
          last = yield* app.up(generation)
          const [now = 0] = yield* total
          assert.isAtLeast(now, seen)
          seen = now
          yield* app.waitFor(new RegExp(`^ALONE ${last.pid}`))
        }
        yield* clients.stop
        assert.deepStrictEqual(clients.failures, [])
        const asked = [...clients.answers.values()].reduce((sum, count) => sum + count, 0)
        const whole = yield* Effect.repeat(total, { until: ([hits]) => hits === asked })
        assert.deepStrictEqual(whole, [asked, asked])
      }),
    60_000
  )

  it.scopedLive("of the main context of a pool is said when its workers have drained, too", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("workers.mjs"), { app: { behaviour: { state: true } } })
      const { pid } = yield* app.up(1)
      yield* signal(pid, "SIGHUP")
      const next = yield* app.up(2)
      assert.strictEqual((yield* app.waitFor(new RegExp(`^LAST ${next.pid} (.*)`)))[1], `${pid} has drained`)
    }))

  it.scopedLive("that the new release does not understand fails its start, and the old one serves on", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("counters.mjs"), {
        app: { upgrader: { environment: { WRONG_SHAPE: "yes" } } }
      })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(/^FAILED \d+ HandOverError Decode The state "hits.v1" cannot go along/)
      yield* app.waitFor(/UpgradeFailed ChildExitedError/)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))
})
