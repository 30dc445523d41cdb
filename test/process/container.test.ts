/**
 * Where the end of one process is the end of others: process 1 of a PID namespace, and the small inits of containers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { post, status } from "../kit/control.ts"
import { directory } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { children, isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"
import { server } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

const program = [process.execPath, fixture("app.mjs")]

/** A program that is called so, and runs a command line as a shell does. */
const shellCalled = (name: string) =>
  Effect.map(directory, (dir) => {
    const file = path.join(dir, name)
    fs.copyFileSync("/bin/sh", file)
    return file
  })

const inContainer = (...command: ReadonlyArray<string>) =>
  start(undefined, {
    executable: "unshare",
    args: ["--pid", "--fork", "--mount-proc", ...command],
    app: {}
  })

const refused = (why: RegExp) => new RegExp(`ERROR No upgrade(?: on SIGHUP)?: .*${why.source}.*tableflip run`)

describe.runIf(isLinux && spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0)("an upgrade", () => {
  it.scopedLive("of process 1 is refused, and it serves on", () =>
    Effect.gen(function*() {
      const container = yield* inContainer(...program)
      const up = yield* container.up(1)
      yield* container.waitFor(/^LOG 1 WARN This process cannot be upgraded: .*process 1.*tableflip run/)
      const { pid } = children(container.pid)[0]!
      yield* signal(pid, "SIGHUP")
      yield* container.waitFor(refused(/process 1/))
      assert.strictEqual(container.count(/UpgradeStarted/), 0)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      yield* signal(pid, "SIGTERM")
      assert.deepStrictEqual(yield* container.exit, { code: 0, signal: null })
    }))

  for (const init of ["tini", "sh"]) {
    it.scopedLive(`of the program that ${init} as process 1 ends with is refused`, () =>
      Effect.gen(function*() {
        const container = yield* inContainer(yield* shellCalled(init), "-c", "\"$@\"; exit", "-", ...program)
        const up = yield* container.up(1)
        const [child] = yield* eventually("the program", () => {
          const [found] = children(container.pid).flatMap(({ pid }) => children(pid))
          return found && [found.pid] as const
        })
        yield* signal(child, "SIGHUP")
        yield* container.waitFor(refused(new RegExp(init)))
        assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      }))
  }

  it.scopedLive("under dumb-init, which signals what is left when its child ends, is refused", () =>
    Effect.gen(function*() {
      const init = yield* shellCalled("dumb-init")
      const app = yield* start(undefined, { executable: init, args: ["-c", "\"$@\"; exit", "-", ...program], app: {} })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(refused(/dumb-init/))
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))

  it.scopedLive("of a program that was started from a shell at a prompt goes on", () =>
    Effect.gen(function*() {
      const container = yield* start(undefined, {
        executable: "unshare",
        args: ["--pid", "--fork", "--mount-proc", "sh"],
        stdin: `${program.join(" ")}; sleep 30\n`,
        app: {}
      })
      const up = yield* container.up(1)
      const pid = yield* eventually("the program", () =>
        children(container.pid).flatMap(({ pid }) => children(pid))[0]?.pid)
      yield* signal(pid, "SIGHUP")
      const next = yield* container.up(2)
      assert.notStrictEqual(next.pid, up.pid)
    }))

  it.scopedLive("of what tableflip run as process 1 runs is asked for, and answered, from outside", () =>
    Effect.gen(function*() {
      const control = path.join(yield* directory, "control.sock")
      const port = yield* freePort
      const run = ["run", "--control", control, "--listen", `127.0.0.1:${port}`, "--", ...server]
      const container = yield* start(undefined, {
        executable: "unshare",
        args: ["--pid", "--fork", "--mount-proc", process.execPath, bin, ...run]
      })
      yield* container.waitFor(/generation 1: process \d+ is ready/, "30 seconds")
      assert.deepInclude(yield* status(control), { kind: "supervisor", pid: 1, generation: 1, state: "serving" })
      const { pid } = yield* ask(port)
      const { json } = yield* post(control, "/v1/reload?wait=drained")
      assert.deepInclude(json, { outcome: "upgraded", generation: 2 })
      assert.notStrictEqual((yield* ask(port)).pid, pid)
      yield* post(control, "/v1/stop")
      assert.deepStrictEqual(yield* container.exit, { code: 0, signal: null })
    }))
})
