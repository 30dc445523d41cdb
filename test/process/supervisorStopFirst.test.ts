/**
 * `tableflip run --stop-first`: reloads of programs of which there can be only one at a time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { post, status } from "../kit/control.ts"
import { directory } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { ready, run, server } from "../kit/tableflip.ts"
import { canRun } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

/** A server that does not start beside another: it keeps a PID file. */
const single = (file: string) => [
  "python3",
  "-c",
  `
import atexit, os, runpy, sys
try:
    os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))
except FileExistsError:
    sys.exit("there is one already")
atexit.register(os.unlink, sys.argv[1])
runpy.run_path(sys.argv[2], run_name="__main__")
`,
  file,
  fixture("commands/listen_fds.py")
]

const reloads = 5

const loseNothing = (app: Handle, port: number) =>
  Effect.gen(function*() {
    yield* ready(app, 1)
    const clients = yield* load(port, 8)
    yield* eventually("answers", () => [...clients.answers.values()].some((count) => count > 20))
    for (let generation = 2; generation <= reloads + 1; generation++) {
      yield* signal(app.pid, "SIGHUP")
      const pid = yield* ready(app, generation)
      yield* app.waitFor(new RegExp(`generation ${generation} has taken over`), "30 seconds")
      const before = clients.answers.get(pid) ?? 0
      yield* eventually("answers", () => (clients.answers.get(pid) ?? 0) > before + 20)
    }
    yield* clients.stop
    assert.deepStrictEqual(clients.failures, [])
    assert.strictEqual(clients.answers.size, reloads + 1)
    yield* signal(app.pid, "SIGTERM")
    assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
    yield* onlyAlive(app, [])
  })

describe.runIf(isLinux)("a program that cannot run twice, under tableflip run", () => {
  it.scopedLive.runIf(canRun("python3", "--version"))(
    "is reloaded under load, and nobody is refused",
    () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const file = path.join(yield* directory, "single.pid")
        const options = ["--listen", `127.0.0.1:${port}`, "--ready-tcp", `127.0.0.1:${port}`]
        const app = yield* run({ options: [...options, "--stop-first"], command: single(file) })
        yield* loseNothing(app, port)

        // It is what keeps it from being reloaded as others are.
        const other = yield* run({ options, command: single(file) })
        const pid = yield* ready(other, 1)
        yield* signal(other.pid, "SIGHUP")
        yield* other.waitFor(/generation 2 has not come up, the older one goes on/)
        yield* other.waitFor(/there is one already/)
        assert.strictEqual((yield* ask(port)).pid, pid)
      }),
    120_000
  )

  it.scopedLive.runIf(canRun("gunicorn", "--version"))("is gunicorn with --pid", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      fs.writeFileSync(
        path.join(dir, "app.py"),
        `import os\n\ndef app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"%d 1" % os.getppid()]\n`
      )
      const port = yield* freePort
      const app = yield* run({
        options: [
          "--listen",
          `127.0.0.1:${port}`,
          "--cwd",
          dir,
          "--ready-http",
          `http://127.0.0.1:${port}/`,
          "--stop-first"
        ],
        command: ["gunicorn", "--pid", path.join(dir, "gunicorn.pid"), "app:app"]
      })
      yield* loseNothing(app, port)
    }), 120_000)

  it.scopedLive("may be one on this library", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, "--ready-wire", "--stop-first"],
        command: [process.execPath, fixture("app.mjs")],
        app: { listen: [{ host: "127.0.0.1", port }] }
      })
      yield* loseNothing(app, port)
    }), 120_000)

  it.scopedLive("is started again when the new one fails, and a reload says so", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const port = yield* freePort
      const control = path.join(dir, "control")
      const file = path.join(dir, "env")
      fs.writeFileSync(file, "")
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, "--control", control, "--env-file", file].concat(
          ["--stop-first", "--restart-delay", "0.2", "--max-restart-delay", "0.2", "--ready-fd", "4"]
        ),
        env: { READY_FD: "4" },
        command: server
      })
      yield* ready(app, 1)
      fs.writeFileSync(file, "FAIL=3\n")
      const reload = yield* start(bin, { args: ["reload", "--control", control] })
      assert.deepStrictEqual(yield* reload.exit, { code: 1, signal: null })
      yield* reload.waitFor(/Replaced 0 process\(es\), kept 0, and had stopped 1 first, which is started again/)
      yield* app.waitFor(/generation 2 has not come up, and the older one had been stopped first/)
      assert.deepInclude((yield* status(control)).lastUpgrade, { outcome: "failed", generation: 2 })
      const client = yield* Effect.fork(ask(port, { within: 30_000 }))
      fs.writeFileSync(file, "VERSION=2\n")
      const pid = yield* ready(app, 2)
      assert.deepInclude(yield* Fiber.join(client), { pid, tag: "" })
      const now = yield* status(control)
      assert.deepInclude(now, { state: "serving", generation: 2 })
      assert.deepInclude(now.processes[0], { pid, state: "serving", generation: 2 })

      const again = yield* post(control, "/v1/reload")
      assert.deepInclude(again.json, { outcome: "upgraded", generation: 3 })
      assert.strictEqual((yield* ask(port)).pid, yield* ready(app, 3))
    }), 60_000)
})
