/**
 * Whose a PID file is.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { signal } from "../kit/processes.ts"
import { run, soon } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

const inDirectory = Effect.map(directory, (dir) => path.join(dir, "app.pid"))

const sleeper = ["sleep", "60"]

const start = (file: string) => run({ options: ["--pid-file", file, ...soon], command: sleeper })

const read = (file: string) => Number(fs.readFileSync(file, "utf8"))

describe.runIf(isLinux)("a PID file", () => {
  it.scopedLive("stays with the tableflip that runs, and is removed by that one only", () =>
    Effect.gen(function*() {
      const file = yield* inDirectory
      const first = yield* start(file)
      yield* first.waitFor(/generation 1: .* is ready/)
      const second = yield* start(file)
      yield* second.waitFor(
        new RegExp(`The PID file ${file} is that of process ${first.pid}, which runs; stop that first, or name another`)
      )
      assert.deepStrictEqual(yield* second.exit, { code: 73, signal: null })
      assert.strictEqual(second.count(/has been started/), 0)
      assert.strictEqual(read(file), first.pid)
      yield* signal(first.pid, "SIGTERM")
      yield* first.exit
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), [])
    }))

  it.scopedLive("goes to one of several that start at once", () =>
    Effect.gen(function*() {
      const file = yield* inDirectory
      const all = yield* Effect.all(Array.from({ length: 5 }, () => start(file)), { concurrency: "unbounded" })
      yield* eventually(
        "all but one have given up",
        () => all.filter((app) => app.count(/is that of/) > 0).length === 4
      )
      const [left] = all.filter((app) => app.count(/is that of/) === 0)
      assert.strictEqual(read(file), left!.pid)
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["app.pid"])
    }))

  it.scopedLive("that names a process which has not written it is replaced", () =>
    Effect.gen(function*() {
      const file = yield* inDirectory
      fs.writeFileSync(file, `${process.pid}\n`)
      const app = yield* start(file)
      yield* app.waitFor(/is ready/)
      assert.strictEqual(read(file), app.pid)
    }))

  it.scopedLive("of one that was killed is replaced, and so is that of one that stops", () =>
    Effect.gen(function*() {
      const file = yield* inDirectory
      const first = yield* start(file)
      yield* first.waitFor(/is ready/)
      yield* signal(first.pid, "SIGKILL")
      yield* first.exit
      const second = yield* run({
        options: ["--pid-file", file, ...soon],
        command: ["sh", "-c", "trap 'echo HEARD' TERM; while :; do sleep 0.1; done"]
      })
      yield* second.waitFor(/is ready/)
      assert.strictEqual(read(file), second.pid)
      yield* signal(second.pid, "SIGTERM")
      yield* second.waitFor(/^HEARD$/)
      const third = yield* start(file)
      yield* third.waitFor(/is ready/)
      yield* signal(second.pid, "SIGTERM")
      yield* second.exit
      assert.strictEqual(read(file), third.pid)
    }))
})
