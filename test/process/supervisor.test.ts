import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { descriptorsAtRest, ours, sameDescriptors } from "../kit/descriptors.ts"
import { directory, pidIn, waitForPid } from "../kit/files.ts"
import { freePort } from "../kit/ports.ts"
import { children, isAlive, isLinux } from "../kit/proc.ts"
import { onlyAlive, signal } from "../kit/processes.ts"
import { commands, ready, run, server, soon } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

describe.runIf(isLinux)("tableflip run", () => {
  it.scopedLive("reloads on SIGHUP, and keeps its process id", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, ...soon] })
      const first = yield* ready(app, 1)
      assert.strictEqual((yield* ask(port)).pid, first)

      yield* signal(app.pid, "SIGHUP")
      const second = yield* ready(app, 2)
      yield* app.waitFor(new RegExp(`^DOWN ${first}`))
      yield* app.waitFor(/generation 2 has taken over/)
      assert.strictEqual((yield* ask(port)).pid, second)
      yield* onlyAlive(app, [app.pid, second])

      yield* signal(app.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      assert.strictEqual(app.count(new RegExp(`^STOP ${second} SIGTERM`)), 1)
      yield* onlyAlive(app, [])
    }))

  it.scopedLive("keeps the old generation when the new one fails, and shows why", () =>
    Effect.gen(function*() {
      // Behind a link, as releases are, and longer than what is read at once.
      const dir = yield* directory
      const file = path.join(dir, "env")
      fs.writeFileSync(path.join(dir, "release"), `# ${"-".repeat(5_000)}\nVERSION=1\n`)
      fs.symlinkSync("release", file)
      const port = yield* freePort
      // With a warm-up, one that is slow to fail would be taken for ready.
      const health = `http://127.0.0.1:${port}/health`
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, "--env-file", file, "--ready-http", health] })
      const first = yield* ready(app, 1)
      const before = yield* descriptorsAtRest(app.pid)
      const clients = yield* load(port)

      for (const code of [3, 4]) {
        fs.writeFileSync(file, `FAIL=${code}\n`)
        yield* signal(app.pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`The reload has failed.* exited with code ${code} before it was ready`))
        yield* app.waitFor(new RegExp(`^ +because of ${code}$`))
      }
      fs.writeFileSync(file, "VERSION=2\nHASH=\"open\n")
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(
        /The reload has failed.*Line 2 of the environment file .*env has a quote \("\) that is not closed/
      )
      fs.rmSync(file)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/The reload has failed.*Could not read the environment file .*no such file/)
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.deepStrictEqual([...clients.answers.keys()], [first])
      yield* onlyAlive(app, [app.pid, first])
      yield* sameDescriptors(app.pid, before)

      fs.writeFileSync(file, "VERSION=2\n")
      yield* signal(app.pid, "SIGHUP")
      yield* eventually("version 2", () => app.lines().some((line) => /^UP \d+ 2 /.test(line)))
      yield* app.waitFor(/has taken over/)
      assert.strictEqual((yield* ask(port)).generation, 2)
    }))

  it.scopedLive("loses nothing in 20 reloads under load, and leaves nothing behind", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, "--ready-http", `http://127.0.0.1:${port}/health`]
      })
      yield* ready(app, 1)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/generation 2 has taken over/)
      yield* onlyAlive(app, [app.pid, ...commands(app)])
      const before = yield* descriptorsAtRest(app.pid)
      const clients = yield* load(port)
      for (let generation = 3; generation <= 22; generation++) {
        yield* signal(app.pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`generation ${generation} has taken over`))
      }
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.isAbove(clients.answers.size, 15)
      assert.strictEqual(commands(app).length, 1)
      yield* onlyAlive(app, [app.pid, ...commands(app)])
      yield* sameDescriptors(app.pid, before)
    }))

  it.scopedLive("keeps one reload behind the one that runs, however many are asked for", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--warmup", "0.5"] })
      yield* ready(app, 1)
      for (let n = 0; n < 30; n++) {
        yield* signal(app.pid, "SIGHUP")
        yield* Effect.sleep("5 millis")
      }
      yield* app.waitFor(/generation 2 has taken over/)
      yield* app.waitFor(/generation 3 has taken over/)
      yield* Effect.sleep("1 second")
      assert.strictEqual(app.count(/has been started/), 3)
      assert.strictEqual(commands(app).length, 1)
    }))

  it.scopedLive("lets the connections of a command that crashes wait for the next one", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, ...soon] })
      let pid = yield* ready(app, 1)
      for (let n = 0; n < 3; n++) {
        yield* signal(pid, "SIGKILL")
        yield* eventually("the end of it", () => !isAlive(pid))
        // Nobody accepts at this moment, and nobody is refused.
        const next = (yield* ask(port)).pid
        assert.notStrictEqual(next, pid)
        pid = next
        yield* app.waitForCount(/is ready/, n + 2)
      }
      yield* onlyAlive(app, [app.pid, pid])
    }))

  it.scopedLive("refuses no connection, whenever the command is killed, also in the middle of a reload", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: [
          "--listen",
          `127.0.0.1:${port}`,
          "--ready-http",
          `http://127.0.0.1:${port}/health`,
          "--restart-delay",
          "0.02",
          "--max-restart-delay",
          "0.1"
        ]
      })
      yield* ready(app, 1)
      const clients = yield* load(port)
      for (let n = 0; n < 25; n++) {
        if (n % 3 === 0) yield* signal(app.pid, "SIGHUP")
        // From the moment of its start to the moment in which it serves, which takes about a fifth of a second.
        yield* Effect.sleep(`${(n * 37) % 250} millis`)
        for (const pid of commands(app)) {
          yield* Effect.sync(() => {
            try {
              process.kill(pid, "SIGKILL")
            } catch {
              // It ended in between.
            }
          })
        }
      }
      yield* eventually("answers after the last kill", () => commands(app).length === 1)
      const { pid } = yield* ask(port)
      yield* clients.stop
      // What a killed process was serving is lost with it.
      const refused = clients.failures.filter((failure) => !/ECONNRESET|socket hang up|EPIPE/.test(failure))
      assert.deepStrictEqual(refused, [])
      yield* eventually("rest", () => commands(app).length === 1)
      yield* signal(app.pid, "SIGTERM")
      yield* app.exit
      assert.isFalse(isAlive(pid))
      yield* onlyAlive(app, [])
    }))

  it.scopedLive("starts a command again that is killed before it was ever ready", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--warmup", "1.5"] })
      const started = yield* app.waitFor(/generation 1: process (\d+) has been started/)
      yield* app.waitFor(/^UP /)
      yield* signal(Number(started[1]), "SIGKILL")
      yield* app.waitForCount(/generation 1: process \d+ has been started/, 2)
      yield* ready(app, 1)
    }))

  it.scopedLive("gives up after too many restarts, with the status of the command", () =>
    Effect.gen(function*() {
      const app = yield* run({
        options: ["--restart", "always", "--restart-delay", "0.01", "--max-restarts", "3/60", "--warmup", "0"],
        command: ["sh", "-c", "exit 7"]
      })
      assert.deepStrictEqual(yield* app.exit, { code: 7, signal: null })
      yield* app.waitFor(/not started again: .* after 3 restart/)
    }))

  it.scopedLive("ends with a command that ends by itself and is not to be started again", () =>
    Effect.gen(function*() {
      const endsWith = (command: string, ...options: ReadonlyArray<string>) =>
        Effect.flatMap(
          run({ options: ["--warmup", "0.05", ...options], command: ["sh", "-c", `sleep 0.3; ${command}`] }),
          ({ exit }) => exit
        )
      assert.deepStrictEqual(yield* endsWith("exit 0"), { code: 0, signal: null })
      const early = yield* run({ options: ["--warmup", "5"], command: ["true"] })
      assert.deepStrictEqual(yield* early.exit, { code: 1, signal: null })
      yield* early.waitFor(/exited with code 0 before it was ready; does it put itself in the background/)
      assert.deepStrictEqual(yield* endsWith("exit 5", "--restart", "never"), { code: 5, signal: null })
      assert.deepStrictEqual(yield* endsWith("kill -9 $$", "--restart", "never"), { code: 137, signal: null })
    }))

  it.scopedLive("ends with a command that speaks its protocol, fails before it is ready, and was alive after the warm-up", () =>
    Effect.gen(function*() {
      const hello = `printf '{"_tag":"Hello"}\\n' >&$TABLEFLIP_SUPERVISOR`
      const command = ["sh", "-c", `sleep 1.5; ${hello}; sleep 0.5; exit 3`]
      const app = yield* run({ options: soon, command })
      assert.deepStrictEqual(yield* app.exit, { code: 3, signal: null })
      yield* app.waitFor(/has never said that it is ready, .* with --ready-wire/)
    }))

  it.scopedLive("ends with the status of the command that it stops", () =>
    Effect.gen(function*() {
      const graceful = yield* run({ options: soon, env: { EXIT_CODE: "9" } })
      yield* ready(graceful, 1)
      yield* signal(graceful.pid, "SIGTERM")
      assert.deepStrictEqual(yield* graceful.exit, { code: 9, signal: null })

      const plain = yield* run({ options: soon, command: ["sleep", "60"] })
      yield* ready(plain, 1)
      yield* signal(plain.pid, "SIGINT")
      assert.deepStrictEqual(yield* plain.exit, { code: null, signal: "SIGTERM" })
    }))

  it.scopedLive("kills what does not stop in time, and at once when it is told a second time", () =>
    Effect.gen(function*() {
      const env = { STUBBORN: "yes" }
      const slow = yield* run({ options: ["--stop-timeout", "0.3", "--stop-signal", "QUIT", ...soon], env })
      const pid = yield* ready(slow, 1)
      yield* signal(slow.pid, "SIGTERM")
      assert.deepStrictEqual(yield* slow.exit, { code: 137, signal: null })
      assert.strictEqual(slow.count(new RegExp(`^STOP ${pid} SIGQUIT 1`)), 1)
      yield* slow.waitFor(/has not ended within 300ms and is killed/)
      yield* slow.waitFor(/everything has stopped, 1 by SIGKILL/)

      const hurried = yield* run({ options: soon, env })
      const stubborn = yield* ready(hurried, 1)
      yield* signal(hurried.pid, "SIGTERM")
      yield* hurried.waitFor(new RegExp(`^STOP ${stubborn} SIGTERM 1`))
      yield* signal(hurried.pid, "SIGTERM")
      assert.deepStrictEqual(yield* hurried.exit, { code: 137, signal: null })
      assert.strictEqual(hurried.count(/^STOP/), 1)
    }))

  it.scopedLive("stops both generations in the middle of a reload", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--warmup", "5"], env: { READY_AFTER: "0" } })
      yield* ready(app, 1)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitForCount(/^UP/, 2)
      yield* signal(app.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      assert.strictEqual(app.count(/^DOWN/), 2)
      yield* onlyAlive(app, [])
    }))

  it.scopedLive("passes other signals on to the generation that serves", () =>
    Effect.gen(function*() {
      const signals = ["SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTTIN", "SIGTTOU"] as const
      const app = yield* run({ options: soon, env: { SAY_SIGNALS: signals.join(",") } })
      const first = yield* ready(app, 1)
      for (const name of signals) {
        yield* signal(app.pid, name)
        yield* app.waitFor(new RegExp(`^GOT ${first} ${name}`))
      }
      yield* signal(app.pid, "SIGHUP")
      const second = yield* ready(app, 2)
      yield* app.waitFor(/generation 2 has taken over/)
      for (const name of signals) {
        yield* signal(app.pid, name)
        yield* app.waitFor(new RegExp(`^GOT ${second} ${name}`))
      }
      assert.strictEqual(app.count(new RegExp(`^GOT ${first}`)), signals.length)
      assert.strictEqual(app.count(/Debugger listening/), 0)
    }))

  it.scopedLive("starts what is behind a symbolic link at that moment", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      for (const release of ["1", "2"]) {
        fs.mkdirSync(path.join(dir, release))
        fs.writeFileSync(
          path.join(dir, release, "app"),
          `#!/bin/sh\necho "RELEASE ${release} $PWD $(pwd -P)"\nexec sleep 60\n`,
          { mode: 0o755 }
        )
      }
      const current = path.join(dir, "current")
      const link = (release: string) => {
        fs.symlinkSync(release, `${current}.new`)
        fs.renameSync(`${current}.new`, current)
      }
      link("1")
      const app = yield* run({ options: ["--cwd", current, ...soon], command: ["./app"] })
      yield* app.waitFor(new RegExp(`^RELEASE 1 ${current} ${dir}/1$`))
      yield* ready(app, 1)
      link("2")
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(new RegExp(`^RELEASE 2 ${current} ${dir}/2$`))
      // Gone releases do no harm.
      yield* app.waitFor(/generation 2 has taken over/)
      fs.rmSync(path.join(dir, "1"), { recursive: true })
      fs.rmSync(current)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/The reload has failed/)
      assert.strictEqual(commands(app).length, 1)
    }))

  it.scopedLive("runs several copies on the same sockets and replaces them one by one", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, "--workers", "3", ...soon] })
      yield* app.waitForCount(/generation 1: .* is ready/, 3)
      const clients = yield* load(port, 6)
      yield* eventually("answers of all", () => clients.answers.size === 3)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/generation 2 has taken over/)
      yield* eventually("answers of all the new ones", () => clients.answers.size === 6)
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual(commands(app).length, 3)
      yield* signal(app.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
    }))

  it.scopedLive("says that one of several copies has ended in good order, and how many go on", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--workers", "2", ...soon] })
      yield* app.waitForCount(/is ready/, 2)
      const [, pid] = yield* app.waitFor(/^UP (\d+)/)
      yield* signal(Number(pid), "SIGTERM")
      yield* app.waitFor(
        /WARN .* worker \d \(process \d+\) exited with code 0 and is not started again; 1 process\(es\) go on/
      )
    }))

  it.scopedLive("writes its process id, whatever was in the file, and takes it away", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "tableflip.pid")
      fs.writeFileSync(file, "1\n")
      const app = yield* run({ options: ["--pid-file", file, ...soon] })
      yield* waitForPid(file, app.pid)
      yield* ready(app, 1)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/generation 2 has taken over/)
      assert.strictEqual(pidIn(file), app.pid)
      yield* signal(app.pid, "SIGTERM")
      yield* app.exit
      assert.isFalse(fs.existsSync(file))
    }))

  it.scopedLive("leaves no descriptor of ours to what the command starts", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, ...soon], env: { GRANDCHILD: "yes" } })
      yield* ready(app, 1)
      const seen = app.lines().join("\n")
      assert.include(seen, " 0 -> ")
      assert.deepStrictEqual(ours(seen), [])
    }))

  it.scopedLive("takes the command with it when it is killed", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, ...soon] })
      const pid = yield* ready(app, 1)
      const slow = yield* Effect.fork(ask(port, { path: "/?slow=700" }))
      yield* app.waitFor(new RegExp(`^SERVING ${pid}`))
      yield* signal(app.pid, "SIGKILL")
      // What it prints goes nowhere then, which it is told (EPIPE), and which must not hold it up.
      assert.strictEqual((yield* slow).pid, pid)
      yield* eventually("the end of the command", () => !isAlive(pid))
    }))

  it.scopedLive("leaves the command running if it is told so, also when it is killed", () =>
    Effect.gen(function*() {
      for (const name of ["SIGTERM", "SIGKILL"] as const) {
        const port = yield* freePort
        const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, "--leave-running", ...soon] })
        const pid = yield* ready(app, 1)
        yield* signal(app.pid, name)
        const { code } = yield* app.exit
        assert.strictEqual(code, name === "SIGTERM" ? 0 : null)
        for (let n = 0; n < 10; n++) assert.strictEqual((yield* ask(port)).pid, pid)
        yield* onlyAlive(app, [pid])
      }
    }))

  it.scopedLive("has no zombie and starts nothing in the environment of another", () =>
    Effect.gen(function*() {
      const app = yield* run({
        options: soon,
        command: [...server, "a b", "$HOME", ""],
        env: { LISTEN_FDS: "2", LISTEN_PID: "1", LISTEN_FDNAMES: "x:y", "spring.name": "kept" }
      })
      yield* app.waitFor(/^UP \d+ 1 fds=undefined names=undefined meant=false .*args=a b,\$HOME,$/)
      yield* ready(app, 1)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/generation 2 has taken over/)
      assert.deepStrictEqual(children(app.pid).map(({ state }) => state).filter((state) => state === "Z"), [])
    }))
})
