/**
 * Whose a PID file is.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
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
      fs.writeFileSync(file, "1\n")
      const all = yield* Effect.all(Array.from({ length: 5 }, () => start(file)), { concurrency: "unbounded" })
      yield* eventually(
        "all but one have given up",
        () => all.filter((app) => app.count(/is that of/) > 0).length === 4
      )
      const [left] = all.filter((app) => app.count(/is that of/) === 0)
      assert.strictEqual(read(file), left!.pid)
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["app.pid"])
    }))

  it.scopedLive("that is a leftover goes to one of several, however close together they are", () =>
    Effect.gen(function*() {
      const starters = yield* Effect.acquireRelease(
        Effect.sync(() => Array.from({ length: 5 }, () => fork(fixture("claim.mjs")))),
        (starters) => Effect.sync(() => starters.forEach((starter) => starter.kill("SIGKILL")))
      )
      const answers = Effect.promise(() =>
        Promise.all(starters.map((starter) => once(starter, "message").then(([answer]) => answer as unknown)))
      )
      yield* answers
      for (let round = 1; round <= 60; round++) {
        const file = yield* inDirectory
        fs.writeFileSync(file, "1\n")
        const at = Date.now() + 20
        const [got] = yield* Effect.zip(
          answers,
          Effect.sync(() => starters.forEach((starter) => starter.send({ at, file }))),
          { concurrent: true }
        )
        const winners = starters.filter((_, index) => got[index] === null)
        assert.deepStrictEqual(winners.map(({ pid }) => pid), [read(file)], `round ${round}: ${JSON.stringify(got)}`)
      }
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
