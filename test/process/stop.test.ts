/**
 * What a process that drains shows, and how more signals, limits and the end of the parent show in it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const serving = (slow: number, upgrader: object = {}, behaviour: object = {}) =>
  Effect.gen(function*() {
    const app = yield* start(fixture("app.mjs"), { app: { upgrader, ...behaviour } })
    const up = yield* app.up(1)
    const request = yield* Effect.fork(Effect.either(ask(up.port, { path: `/?slow=${slow}`, within: 30_000 })))
    yield* app.waitFor(/^SERVING/)
    return { app, up, request }
  })

const forced = (line: RegExpExecArray) => JSON.parse(line[1]!).report.servers[0].forced

describe.runIf(isLinux)("while it drains, a process", () => {
  it.scopedLive("says so in its title and its log, and the new one waits for its end", () =>
    Effect.gen(function*() {
      const { app, request, up } = yield* serving(1_000)
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* eventually(
        "the title",
        () => fs.readFileSync(`/proc/${up.pid}/cmdline`, "latin1").startsWith("app.mjs: draining (generation 1)")
      )
      assert.strictEqual(app.count(new RegExp(`^ALONE ${next.pid}`)), 0)
      assert.isTrue(Either.isRight(yield* request))
      yield* app.waitFor(new RegExp(`^LOG ${next.pid} INFO Every older process has ended`))
      yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
      yield* app.waitFor(new RegExp(`^EVENT ${next.pid} ParentExited`))
      const lines = app.lines()
      const at = (pattern: RegExp) => lines.findIndex((line) => pattern.test(line))
      const course = [
        at(new RegExp(`^EVENT ${next.pid} Ready`)),
        at(new RegExp(`^LOG ${up.pid} INFO Drained .* state=draining \\(generation 1\\)`)),
        at(new RegExp(`^EXIT ${up.pid} 0`)),
        at(new RegExp(`^EVENT ${next.pid} ParentExited`))
      ]
      assert.isAtLeast(course[0]!, 0, app.dump())
      for (let index = 1; index < course.length; index++) {
        assert.isAbove(course[index]!, course[index - 1]!, app.dump())
      }
      assert.isBelow(course[2]!, at(new RegExp(`^ALONE ${next.pid}`)))
    }))

  it.scopedLive("is hastened by a second SIGTERM, and ends with forcedExitCode", () =>
    Effect.gen(function*() {
      const { app, request, up } = yield* serving(20_000, { forcedExitCode: 3 })
      yield* signal(up.pid, "SIGTERM")
      yield* app.waitFor(new RegExp(`^EVENT ${up.pid} Draining`))
      yield* Effect.sleep("1200 millis")
      assert.strictEqual(app.count(/^EXIT/), 0)
      yield* signal(up.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 3, signal: null })
      assert.isTrue(Either.isLeft(yield* request))
      assert.strictEqual(forced(yield* app.waitFor(/^EVENT \d+ Drained (.*)/)), 1)
    }))

  it.scopedLive("is cut at drainTimeout, and ends with forcedExitCode; the new one serves", () =>
    Effect.gen(function*() {
      const { app, request, up } = yield* serving(20_000, { forcedExitCode: 9, drainTimeout: 300 })
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      assert.deepStrictEqual(yield* app.exit, { code: 9, signal: null })
      assert.isTrue(Either.isLeft(yield* request))
      assert.strictEqual(forced(yield* app.waitFor(new RegExp(`^EVENT ${up.pid} Drained (.*)`))), 1)
      assert.strictEqual((yield* ask(next.port)).pid, next.pid)
    }))

  // A press that is passed on by a wrapper arrives again within milliseconds, before anything else could listen to it.
  for (const delay of [0, 1, 3, 200]) {
    it.scopedLive(`is not hastened by one Ctrl-C that arrives again after ${delay} ms`, () =>
      Effect.gen(function*() {
        const pidFile = path.join(yield* directory, "app.pid")
        const { app, request, up } = yield* serving(700, { pidFile })
        yield* Effect.sync(() => {
          process.kill(up.pid, "SIGINT")
          const from = performance.now()
          while (performance.now() - from < delay);
          process.kill(up.pid, "SIGINT")
        })
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
        assert.isTrue(Either.isRight(yield* Fiber.join(request)))
        assert.isFalse(fs.existsSync(pidFile))
      }))
  }

  for (const raises of [0, 1_300]) {
    it.scopedLive(`is not hastened by a library that raises SIGTERM again after ${raises} ms, which is told`, () =>
      Effect.gen(function*() {
        const pidFile = path.join(yield* directory, "app.pid")
        const { app, request, up } = yield* serving(2_500, { pidFile }, { raises })
        yield* signal(up.pid, "SIGTERM")
        yield* app.waitFor(/^LOG \d+ WARN This process has sent SIGTERM to itself while it stops/)
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
        assert.isTrue(Either.isRight(yield* Fiber.join(request)))
        assert.strictEqual(app.count(/Told to stop again/), 0)
        assert.strictEqual(forced(yield* app.waitFor(/^EVENT \d+ Drained (.*)/)), 0)
        assert.isFalse(fs.existsSync(pidFile))
      }))
  }

  it.scopedLive("without anything to finish, is not ended by the second of two SIGTERM", () =>
    Effect.gen(function*() {
      for (const delay of [1, 2, 4, 8]) {
        const app = yield* start(fixture("app.mjs"))
        const up = yield* app.up(1)
        yield* Effect.sync(() => {
          process.kill(up.pid, "SIGTERM")
          const from = performance.now()
          while (performance.now() - from < delay);
          process.kill(up.pid, "SIGTERM")
        })
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      }
    }))
})

describe.runIf(isLinux)("a process in which nobody listens to SIGTERM", () => {
  it.scopedLive("is ended by it, as without an upgrader", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("servers.mjs"), { app: { server: "router", unheard: true } })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: null, signal: "SIGTERM" })
    }))
})

describe.runIf(isLinux)("told to stop, a process", () => {
  it.scopedLive("resets none of those who have been connected", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("app.mjs"), { app: {} })
      const up = yield* app.up(1)
      const clients = yield* load(up.port, 30)
      yield* eventually("answers", () => (clients.answers.get(up.pid) ?? 0) > 200)
      yield* signal(up.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      yield* clients.stop
      assert.deepStrictEqual(clients.failures.filter((failure) => !failure.includes("ECONNREFUSED")), [])
    }))
})
