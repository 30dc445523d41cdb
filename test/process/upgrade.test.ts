import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { descriptorsAtRest, sameDescriptors } from "../kit/descriptors.ts"
import { directory, pidIn } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"

describe.runIf(isLinux)("an upgrade", () => {
  it.scopedLive("puts a new process in the place of the old one on SIGHUP", () =>
    Effect.gen(function*() {
      const pidFile = path.join(yield* directory, "app.pid")
      const app = yield* start(fixture("app.mjs"), { app: { upgrader: { pidFile } } })
      const first = yield* app.up(1)
      assert.deepStrictEqual([first.pid, first.generation, first.hasParent], [app.pid, 1, false])
      assert.strictEqual(pidIn(pidFile), first.pid)
      assert.strictEqual((yield* ask(first.port)).pid, first.pid)

      yield* signal(first.pid, "SIGHUP")
      const second = yield* app.up(2)
      assert.notStrictEqual(second.pid, first.pid)
      assert.deepStrictEqual([second.port, second.hasParent], [first.port, true])
      assert.strictEqual(pidIn(pidFile), second.pid)
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      yield* app.waitFor(new RegExp(`^REASON ${first.pid} Upgraded`))
      yield* app.waitFor(new RegExp(`^RELEASED ${first.pid}`))
      yield* app.waitFor(new RegExp(`^ALONE ${second.pid}`))
      assert.strictEqual((yield* ask(second.port)).pid, second.pid)
      assert.strictEqual(pidIn(pidFile), second.pid)
      yield* onlyAlive(app, [second.pid])

      yield* signal(second.pid, "SIGTERM")
      yield* app.waitFor(new RegExp(`^EXIT ${second.pid} 0`))
      yield* onlyAlive(app, [])
      assert.isFalse(fs.existsSync(pidFile))
    }))

  it.scopedLive("works 50 times in a row under load, with nothing lost and nothing left", () =>
    Effect.gen(function*() {
      const pidFile = path.join(yield* directory, "app.pid")
      const app = yield* start(fixture("app.mjs"), { app: { upgrader: { pidFile } } })
      const { port } = yield* app.up(1)
      yield* signal(app.pid, "SIGHUP")
      const second = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^ALONE ${second.pid}`))
      yield* onlyAlive(app, [second.pid])
      const before = yield* descriptorsAtRest(second.pid)
      const clients = yield* load(port)
      let last = second
      for (let generation = 3; generation <= 52; generation++) {
        yield* signal(last.pid, "SIGHUP")
        last = yield* app.up(generation)
        yield* app.waitFor(new RegExp(`^ALONE ${last.pid}`))
        assert.strictEqual(last.port, port)
        assert.strictEqual(pidIn(pidFile), last.pid)
      }
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual(clients.answers.size, 51)
      assert.strictEqual((yield* ask(port)).pid, last.pid)
      yield* onlyAlive(app, [last.pid])
      yield* sameDescriptors(last.pid, before)
    }), 240_000)
})
