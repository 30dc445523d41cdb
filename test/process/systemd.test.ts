/**
 * What systemd is told by an app, over a socket that it has opened for it and by its own program.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { existsSync } from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { deploy, directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"

const startUnder = (how: "opened" | "named") =>
  Effect.gen(function*() {
    const dir = yield* directory
    const port = yield* freePort
    const program = path.join(dir, "main.mjs")
    const release = (more = "") => deploy(program, `${more}\nawait import(${JSON.stringify(fixture("systemd.mjs"))})\n`)
    yield* release()
    const manager = yield* start(undefined, {
      executable: "python3",
      args: ["-u", fixture("commands/manager.py"), how, path.join(dir, "notify"), process.execPath, program],
      app: { port }
    })
    const { pid } = yield* manager.up(1)
    return { manager, pid, port, release }
  })

describe.runIf(isLinux)("systemd", () => {
  const told = (pid: number | string, what: string) => new RegExp(`^TOLD ${pid} ${what}`)

  it.scopedLive("is told over the socket that it has opened, through upgrades", () =>
    Effect.gen(function*() {
      const { manager, pid, port, release } = yield* startUnder("opened")
      yield* manager.waitFor(told(pid, `READY=1 STATUS=Serving as generation 1 \\(process ${pid}\\)`))
      yield* manager.waitFor(told(pid, "WATCHDOG=1"))

      yield* release("throw new Error(\"broken on purpose\")")
      yield* signal(pid, "SIGHUP")
      yield* manager.waitFor(told(pid, "RELOADING=1 MONOTONIC_USEC=\\d+"))
      yield* manager.waitFor(told(pid, "READY=1 STATUS=Serving as .*the last upgrade failed at .*exited with code 1"))

      yield* release()
      yield* signal(pid, "SIGHUP")
      const next = yield* manager.up(2)
      yield* manager.waitFor(told(pid, `READY=1 STATUS=Process ${next.pid} serves as generation 2`))
      yield* manager.waitFor(told(next.pid, "READY=1 STATUS=Serving as generation 2"))
      yield* manager.waitFor(told(next.pid, "WATCHDOG=1"))

      const slow = yield* Effect.fork(ask(port, { path: "/?slow=6000" }))
      yield* manager.waitFor(new RegExp(`^SERVING ${next.pid}`))
      yield* signal(next.pid, "SIGTERM")
      yield* manager.waitFor(told(next.pid, "STOPPING=1 STATUS=Stopping: generation 2 .*, 1 connection"))
      yield* manager.waitForCount(told(next.pid, "EXTEND_TIMEOUT_USEC=15000000 STATUS=Stopping"), 2)
      assert.strictEqual((yield* Fiber.join(slow)).pid, next.pid)
      yield* manager.waitFor(told(next.pid, "EXTEND_TIMEOUT_USEC=15000000 STATUS=Stopping: .* has finished and ends"))
      assert.strictEqual(manager.count(/^TOLD .*MAINPID/), 0)
    }))

  it.scopedLive.skipIf(!existsSync("/usr/bin/systemd-notify"))(
    "is told by its own program where it has not",
    () =>
      Effect.gen(function*() {
        const { manager, pid } = yield* startUnder("named")
        yield* manager.waitFor(told("\\d+", "READY=1 STATUS=Serving as generation 1"))
        yield* signal(pid, "SIGHUP")
        yield* manager.waitFor(told("\\d+", "RELOADING=1 MONOTONIC_USEC=\\d+ STATUS=Upgrading"))
        yield* manager.waitFor(told("\\d+", "READY=1 STATUS=Process \\d+ serves as generation 2"))
        yield* manager.waitFor(told("\\d+", "READY=1 STATUS=Serving as generation 2"))
        const { pid: next } = yield* manager.up(2)
        yield* signal(next, "SIGTERM")
        yield* manager.waitFor(told("\\d+", "STOPPING=1 STATUS=Stopping: generation 2"))
        yield* manager.waitFor(new RegExp(`^EXIT ${next} 0`))
      })
  )
})
