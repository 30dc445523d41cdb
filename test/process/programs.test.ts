import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { ended } from "../kit/run.ts"
import { commands, ready, run, server } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

/** Whether a program is there. Those that are not are named as skipped, and `.ci/run` installs them. */
const has = (program: string) => isLinux && spawnSync("sh", ["-c", `command -v ${program}`]).status === 0

const reloads = 20

/** New connections all the time, and not one of them fails. */
const loseNothing = (app: Handle, port: number) =>
  Effect.gen(function*() {
    yield* ready(app, 1)
    const clients = yield* load(port)
    for (let generation = 2; generation <= reloads + 1; generation++) {
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(new RegExp(`generation ${generation} has taken over`), "30 seconds")
    }
    yield* clients.stop
    assert.deepStrictEqual(clients.failures, [])
    yield* signal(app.pid, "SIGTERM")
    assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
    yield* onlyAlive(app, [])
    return clients.answers
  })

describe("programs of others, reloaded 20 times under load", () => {
  it.scopedLive.skipIf(!has("python3"))("a Python server that takes LISTEN_FDS", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", `web=127.0.0.1:${port}`, "--ready-tcp", `127.0.0.1:${port}`],
        command: ["python3", fixture("commands/listen_fds.py")]
      })
      const answers = yield* loseNothing(app, port)
      assert.isAbove(answers.size, reloads / 2)
    }), 240_000)

  it.scopedLive.skipIf(!has("go"))("a Go server that takes LISTEN_FDS", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const program = path.join(dir, "server")
      const built = yield* ended(dir, "go", ["build", "-o", program, fixture("commands/listen_fds.go")], {
        GOFLAGS: "-mod=mod",
        GO111MODULE: "off",
        GOCACHE: path.join(dir, "cache"),
        GOTOOLCHAIN: "local"
      })
      assert.isUndefined(built.error, built.stderr)
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, "--ready-http", `http://127.0.0.1:${port}/`],
        command: [program]
      })
      yield* loseNothing(app, port)
    }), 240_000)

  it.scopedLive.skipIf(!has("gunicorn"))(
    "gunicorn, whose release is switched by a symbolic link",
    () =>
      Effect.gen(function*() {
        const dir = yield* directory
        const current = path.join(dir, "current")
        for (const release of ["1", "2"]) {
          fs.mkdirSync(path.join(dir, release))
          fs.writeFileSync(
            path.join(dir, release, "app.py"),
            `import os\n\ndef app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"%d ${release}" % os.getpid()]\n`
          )
        }
        const link = (release: string) => {
          fs.rmSync(`${current}.new`, { force: true })
          fs.symlinkSync(release, `${current}.new`)
          fs.renameSync(`${current}.new`, current)
        }
        link("1")
        const port = yield* freePort
        const app = yield* run({
          options: ["--listen", `127.0.0.1:${port}`, "--cwd", current, "--ready-http", `http://127.0.0.1:${port}/`],
          command: ["gunicorn", "--workers", "2", "--graceful-timeout", "10", "app:app"]
        })
        yield* ready(app, 1)
        const clients = yield* load(port)
        for (let generation = 2; generation <= reloads + 1; generation++) {
          link(generation % 2 === 0 ? "2" : "1")
          yield* signal(app.pid, "SIGHUP")
          yield* app.waitFor(new RegExp(`generation ${generation} has taken over`), "30 seconds")
          assert.strictEqual((yield* ask(port)).generation, generation % 2 === 0 ? 2 : 1)
        }
        yield* clients.stop
        assert.deepStrictEqual(clients.failures, [])
      }),
    300_000
  )
})

interface Service {
  readonly app: Handle
  /** The process id that it supervises. */
  readonly supervised: () => number | undefined
  readonly reload: () => void
  readonly stop: () => void
}

const shell = (command: string, ...args: ReadonlyArray<string>) => spawnSync(command, args, { encoding: "utf8" }).stdout

const line = (
  port: number
) => [process.execPath, bin, "run", "--listen", `127.0.0.1:${port}`, "--warmup", "0.3", "--", ...server]

const executable = (file: string, content: string) => fs.writeFileSync(file, content, { mode: 0o755 })

const supervisord = (dir: string, port: number) =>
  Effect.gen(function*() {
    const config = path.join(dir, "supervisord.conf")
    const socket = path.join(dir, "s.sock")
    fs.writeFileSync(
      config,
      `[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=${dir}/supervisord.pid
[unix_http_server]
file=${socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://${socket}
[program:app]
command=${line(port).join(" ")}
autorestart=true
redirect_stderr=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
`
    )
    // It opens /dev/fd/1, which cannot be done with the socket that Node makes of a standard output.
    const app = yield* start(undefined, { executable: "sh", args: ["-c", `supervisord -n -c ${config} | cat`] })
    const ctl = (...args: ReadonlyArray<string>) => shell("supervisorctl", "-c", config, ...args)
    const service: Service = {
      app,
      supervised: () => Number(/^[1-9]\d*/.exec(ctl("pid", "app"))?.[0] ?? 0) || undefined,
      reload: () => ctl("signal", "HUP", "app"),
      stop: () => ctl("stop", "app")
    }
    return service
  })

const runit = (dir: string, port: number) =>
  Effect.gen(function*() {
    const service = path.join(dir, "app")
    fs.mkdirSync(service)
    executable(path.join(service, "run"), `#!/bin/sh\nexec ${line(port).join(" ")} 2>&1\n`)
    const app = yield* start(undefined, { executable: "runsv", args: [service] })
    const started: Service = {
      app,
      supervised: () => Number(/^run: .*\(pid (\d+)\)/.exec(shell("sv", "status", service))?.[1] ?? 0) || undefined,
      reload: () => shell("sv", "hup", service),
      stop: () => shell("sv", "-w", "20", "stop", service)
    }
    return started
  })

const s6 = (dir: string, port: number) =>
  Effect.gen(function*() {
    const service = path.join(dir, "app")
    fs.mkdirSync(service)
    executable(path.join(service, "run"), `#!/bin/sh\nexec ${line(port).join(" ")} 2>&1\n`)
    const app = yield* start(undefined, { executable: "s6-supervise", args: [service] })
    const started: Service = {
      app,
      supervised: () => {
        const pid = Number(shell("s6-svstat", "-o", "pid", service))
        return pid > 0 ? pid : undefined
      },
      reload: () => shell("s6-svc", "-h", service),
      stop: () => shell("s6-svc", "-wD", "-T", "20000", "-d", service)
    }
    return started
  })

const supervises = (make: (dir: string, port: number) => ReturnType<typeof runit>) =>
  Effect.gen(function*() {
    const port = yield* freePort
    const { app, reload, stop, supervised } = yield* make(yield* directory, port)
    yield* app.waitFor(/generation 1: process (\d+) is ready/, "30 seconds")
    const pid = yield* eventually("the supervised process", supervised)
    const clients = yield* load(port)
    for (let generation = 2; generation <= 4; generation++) {
      reload()
      yield* app.waitFor(new RegExp(`generation ${generation} has taken over`))
      assert.strictEqual(supervised(), pid)
    }
    yield* clients.stop
    assert.deepStrictEqual(clients.failures, [])

    // A crash of the command is tableflip's business.
    const crashed = (yield* ask(port)).pid
    yield* signal(crashed, "SIGKILL")
    yield* eventually("the end of it", () => !isAlive(crashed))
    assert.notStrictEqual((yield* ask(port)).pid, crashed)
    assert.strictEqual(supervised(), pid)
    yield* app.waitForCount(/generation 4: process \d+ is ready/, 2)

    // A crash of tableflip is the supervisor's. The command goes with it, and makes room for the next one.
    yield* signal(pid, "SIGKILL")
    const next = yield* eventually("a new tableflip", () => {
      const now = supervised()
      return now !== pid && now
    })
    yield* eventually("the new one to be ready", () =>
      app.count(/generation 1: process \d+ is ready/) === 2 && supervised(), {
      seen: app.dump,
      within: "30 seconds"
    })
    assert.isDefined(next)
    const current = (yield* ask(port)).pid
    stop()
    assert.isUndefined(supervised())
    assert.isFalse(isAlive(current))
    assert.strictEqual(
      yield* Effect.flip(ask(port)).pipe(Effect.map(({ code }) =>
        code
      )),
      "ECONNREFUSED"
    )
  })

describe("real supervisors see one process that stays, through reloads and crashes", () => {
  it.scopedLive.skipIf(!has("supervisord"))("supervisord", () => supervises(supervisord))
  it.scopedLive.skipIf(!has("runsv"))("runit", () => supervises(runit))
  it.scopedLive.skipIf(!has("s6-supervise"))("s6", () => supervises(s6))
})

describe.runIf(isLinux)("tableflip that is started twice", () => {
  it.scopedLive("leaves the first one alone", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const options = [
        "--listen",
        `127.0.0.1:${port}`,
        "--pid-file",
        path.join(yield* directory, "pid"),
        "--warmup",
        "0.2"
      ]
      const first = yield* run({ options })
      const pid = yield* ready(first, 1)
      const second = yield* run({ options })
      assert.strictEqual((yield* second.exit).code, 69)
      assert.strictEqual((yield* ask(port)).pid, pid)
      assert.deepStrictEqual(commands(first), [pid])
      assert.strictEqual(fs.readFileSync(options[3]!, "utf8"), `${first.pid}\n`)
    }))
})
