/** Processes of a pool whose primary is gone, and trees of processes: real ones, which end. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { layer } from "../../src/Env.ts"
import * as tree from "../../src/internal/node/tree.ts"
import { Env } from "../../src/internal/system/env.ts"
import { primaryVariable } from "../../src/internal/wire/handOff.ts"
import { directory } from "../kit/files.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { eventually } from "../kit/waiting.ts"

/** A worker that listens, and says where, and whose event loop then stands still unless it is to turn. */
const worker = (primary: string | undefined, { at = "0", reacts = false } = {}) =>
  Effect.gen(function*() {
    const program = `
const server = require("net").createServer()
const at = process.argv[1]
server.listen(at === "0" ? 0 : at, () => {
  require("fs").writeSync(1, String(at === "0" ? server.address().port : at) + "\\n")
  if (${reacts}) setTimeout(() => process.exit(), 100)
  else for (;;);
})
`
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["-e", program, at], {
          stdio: ["ignore", "pipe", "inherit"],
          env: { PATH: process.env["PATH"], ...primary === undefined ? {} : { [primaryVariable]: primary } }
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const [said] = yield* Effect.promise(() => once(child.stdout!, "data"))
    return { pid: child.pid!, at: String(said).trim() }
  })

const gone = () => Number(spawnSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }).stdout)

describe.runIf(isLinux)("a worker whose primary is gone", () => {
  it.scopedLive(
    "is ended for whoever wants its port or path, if it does not let go of it by itself",
    () =>
      Effect.gen(function*() {
        const env = yield* Env
        const { at, pid } = yield* worker(`${gone()}:1`)
        assert.deepStrictEqual(yield* env.endOrphans({ port: Number(at) }), { found: true, killed: [pid] })
        assert.isFalse(isAlive(pid))
        const unix = yield* worker(`${gone()}:1`, { at: path.join(yield* directory, "app.sock") })
        assert.deepStrictEqual(yield* env.endOrphans({ path: unix.at }), { found: true, killed: [unix.pid] })
      }).pipe(Effect.provide(layer)),
    60_000
  )

  it.scopedLive("is given the time to let go of it", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { at } = yield* worker(`${gone()}:1`, { reacts: true })
      assert.deepInclude(yield* env.endOrphans({ port: Number(at) }), { killed: [] })
    }).pipe(Effect.provide(layer)), 60_000)

  it.scopedLive(
    "is another than one whose primary lives, than one of no pool, and than one that is elsewhere",
    () =>
      Effect.gen(function*() {
        const env = yield* Env
        const nobody = { found: false, killed: [] }
        for (const primary of [yield* env.mark, undefined]) {
          const { at, pid } = yield* worker(primary)
          assert.deepStrictEqual(yield* env.endOrphans({ port: Number(at) }), nobody)
          assert.isTrue(isAlive(pid))
        }
        const { pid } = yield* worker(`${gone()}:1`)
        assert.deepStrictEqual(yield* env.endOrphans({ path: path.join(yield* directory, "app.sock") }), nobody)
        assert.isTrue(isAlive(pid))
      }).pipe(Effect.provide(layer)),
    60_000
  )
})

describe.runIf(isLinux)("a tree of processes", () => {
  it.scopedLive("is ended with all that descends from it, also what has a session of its own", () =>
    Effect.gen(function*() {
      const script = "setsid sleep 300 & echo $!; sleep 300 & echo $!; wait"
      const child = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "inherit"], detached: true })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      let said = ""
      child.stdout!.on("data", (bytes) => said += bytes.toString())
      yield* eventually("both", () => said.split("\n").length > 2)
      const pids = said.trim().split("\n").map(Number)
      const ended = once(child, "exit")
      assert.isTrue(tree.kill(child, "own"))
      yield* Effect.promise(() => ended)
      yield* eventually("the end of all", () => !pids.some(isAlive))
      assert.isFalse(tree.kill(child, "own"))
    }))

  it.scopedLive("has those told that are left of it when it has ended", () =>
    Effect.gen(function*() {
      const child = spawn("sh", ["-c", "sleep 300 >&2 & echo $!"], {
        stdio: ["ignore", "pipe", "ignore"],
        detached: true
      })
      const ended = once(child, "exit")
      const [said] = yield* Effect.promise(() => once(child.stdout!, "data"))
      const left = Number(said)
      yield* Effect.promise(() => ended)
      assert.deepStrictEqual(tree.signalSession(child.pid!, 0), [left])
      assert.deepStrictEqual(tree.signalSession(child.pid!, "SIGTERM"), [left])
      yield* eventually("its end", () => !isAlive(left))
      yield* eventually("nobody to be left", () => tree.signalSession(child.pid!, 0).length === 0)
    }))
})
