/** Ways to start Node that take something away from a program, or put it in another shape. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { fixture, root } from "../kit/paths.ts"
import { isLinux, readOrEmpty } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { run } from "../kit/run.ts"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

const permission = [
  major < 22 ? "--experimental-permission" : "--permission",
  `--allow-fs-read=${root}/*`,
  ...major >= 25 ? ["--allow-net"] : []
]

describe.runIf(isLinux && (major !== 22 || minor >= 13))("under Node's permission model", () => {
  it.scopedLive("an app serves that may read nothing but its own files, and is told what an upgrade takes", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("app.mjs"), { nodeFlags: permission, app: {} })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(/^LOG \d+ ERROR .*may not be run.*--allow-child-process/)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      yield* signal(up.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
    }))

  it.scopedLive("an app that may start processes is upgraded", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("app.mjs"), { nodeFlags: [...permission, "--allow-child-process"], app: {} })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* onlyAlive(app, [next.pid])
      assert.strictEqual((yield* ask(next.port)).pid, next.pid)
    }))
})

/** The same as one file, which Node has in itself. */
const buildExecutable = Effect.gen(function*() {
  const dir = yield* directory
  const file = path.join(dir, "app")
  yield* run(
    dir,
    path.join(root, "node_modules/.bin/esbuild"),
    fixture("app.mjs"),
    "--bundle",
    "--platform=node",
    "--format=cjs",
    "--log-level=error",
    `--outfile=${file}.cjs`
  )
  fs.writeFileSync(
    `${file}.json`,
    JSON.stringify({ main: `${file}.cjs`, output: file, disableExperimentalSEAWarning: true })
  )
  yield* run(dir, process.execPath, "--build-sea", `${file}.json`)
  return file
})

describe.runIf(isLinux && (major > 25 || major === 25 && minor >= 5))("a single executable", () => {
  it.scopedLive("is started again with the arguments that it was started with", () =>
    Effect.gen(function*() {
      const executable = yield* buildExecutable
      const app = yield* start(undefined, { executable, args: ["--first", "second"], app: {} })
      let { pid } = yield* app.up(1)
      const words = readOrEmpty(`/proc/${pid}/cmdline`)
      for (const generation of [2, 3]) {
        yield* signal(pid, "SIGHUP")
        pid = (yield* app.up(generation)).pid
        yield* onlyAlive(app, [pid])
        assert.strictEqual(readOrEmpty(`/proc/${pid}/cmdline`), words)
      }
    }), 60_000)
})
