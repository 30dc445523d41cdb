import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { accepterOf } from "../../src/internal/node/accepter.ts"
import { ask, load } from "../kit/clients.ts"
import { post } from "../kit/control.ts"
import { deploy, directory, goodVersion } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux, megabytes } from "../kit/proc.ts"
import { onlyAlive, signal } from "../kit/processes.ts"
import { commands, ready, run, server, soon } from "../kit/tableflip.ts"

/** A server that shares its port by SO_REUSEPORT or its own means is not needed here: all share one socket. */
const shared = (port: number) => ["--listen", `127.0.0.1:${port}`]

describe.runIf(isLinux)("a command is ready", () => {
  it.scopedLive("with a newline on the descriptor that was named", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      // A gap between the sockets and the descriptor must not be one in the child.
      for (const number of ["4", "9"]) {
        const app = yield* run({
          options: [...shared(port), "--ready-fd", number],
          env: { READY_FD: number, READY_AFTER: "700", GRANDCHILD: "yes" }
        })
        yield* app.waitFor(/^UP/)
        yield* Effect.sleep("200 millis")
        assert.strictEqual(app.count(/is ready/), 0)
        yield* ready(app, 1)
        yield* signal(app.pid, "SIGTERM")
        yield* app.exit
      }
    }))

  it.scopedLive("and may write on: it neither waits for us nor dies of it, and we keep nothing of that", () =>
    Effect.gen(function*() {
      const script = "echo >&3; head -c 200000000 /dev/zero >&3; echo WRITTEN; exec sleep 60"
      const app = yield* run({ options: ["--ready-fd", "3"], command: ["sh", "-c", script] })
      yield* app.waitFor(/^WRITTEN/, "60 seconds")
      assert.isBelow(megabytes(app.pid), 200)
    }))

  it.scopedLive("not with another one: it is killed, and the old one stays", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "env")
      fs.writeFileSync(file, "READY_FD=3\n")
      const app = yield* run({ options: ["--ready-fd", "3", "--ready-timeout", "2", "--env-file", file] })
      const first = yield* ready(app, 1)
      fs.writeFileSync(file, "")
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/The reload has failed.* was not ready within 2s.*a newline on descriptor 3/)
      yield* onlyAlive(app, [app.pid, first])

      // Closed without a word.
      const silent = yield* run({ options: ["--ready-fd", "3"], command: ["sh", "-c", "exec 3>&-; sleep 60"] })
      const { code } = yield* silent.exit
      assert.strictEqual(code, 1)
      yield* silent.waitFor(/descriptor 3 was closed without the newline/)
    }))

  it.scopedLive("when the new process answers, and not when the old one does", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "env")
      const port = yield* freePort
      for (const probe of [["--ready-http", `http://127.0.0.1:${port}/health`], ["--ready-tcp", `127.0.0.1:${port}`]]) {
        fs.writeFileSync(file, "VERSION=1\n")
        const app = yield* run({ options: [...shared(port), ...probe, "--env-file", file, "--ready-timeout", "3"] })
        const first = yield* ready(app, 1)
        const clients = yield* load(port)

        // It lives, and accepts nothing. The old one accepts every probe.
        fs.writeFileSync(file, "NO_SOCKETS=yes\n")
        yield* signal(app.pid, "SIGHUP")
        yield* app.waitFor(/The reload has failed.* was not ready within 3s.*by another process/)
        yield* clients.stop
        assert.deepStrictEqual([...clients.answers.keys()], [first])
        assert.deepStrictEqual(clients.failures, [])

        fs.writeFileSync(file, "VERSION=2\n")
        yield* signal(app.pid, "SIGHUP")
        yield* app.waitFor(/has taken over/)
        assert.strictEqual((yield* ask(port)).generation, 2)
        yield* signal(app.pid, "SIGTERM")
        yield* app.exit
      }
    }))

  it.scopedLive("with a good answer, and not with a bad one", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: [...shared(port), "--ready-http", `http://localhost:${port}/health`, "--ready-timeout", "5"],
        env: { HEALTH: "503" }
      })
      assert.strictEqual((yield* app.exit).code, 70)
      yield* app.waitFor(/the answer has the status 503/)
    }))

  it.scopedLive("when a child of it answers", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: ["--ready-http", `http://127.0.0.1:${port}/`, "--ready-timeout", "10"],
        command: ["sh", "-c", `python3 -m http.server --bind 127.0.0.1 ${port} & wait`]
      })
      yield* ready(app, 1)
    }))

  it.scopedLive("when it is alive after the warm-up", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["-w", "0.6"], command: ["sleep", "60"] })
      yield* app.waitFor(/has been started/)
      yield* Effect.sleep("200 millis")
      assert.strictEqual(app.count(/is ready/), 0)
      yield* ready(app, 1)
      const dead = yield* run({ options: ["-w", "5"], command: ["sh", "-c", "sleep 0.2; echo no >&2; exit 4"] })
      assert.strictEqual((yield* dead.exit).code, 4)
      yield* dead.waitFor(/^ +no$/)
    }))

  it.scopedLive("when a program on this library says so, however long the warm-up", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", `web=127.0.0.1:${port}`, "--warmup", "3"],
        command: [process.execPath, fixture("app.mjs")],
        app: { listen: [{ host: "127.0.0.1", port }], gate }
      })
      yield* app.waitFor(/^BOUND/)
      yield* Effect.sleep("3500 millis")
      // Alive after the warm-up, but it has said that it will say when it is ready.
      assert.strictEqual(app.count(/generation 1: .* is ready$/), 0)
      fs.writeFileSync(gate, "")
      yield* ready(app, 1)
      assert.strictEqual((yield* ask(port)).pid, commands(app)[0])
    }))
})

describe.runIf(isLinux)("a program on this library under tableflip", () => {
  it.scopedLive(
    "loses nothing in 20 reloads, on TCP and on a Unix path, and hears when it is alone",
    () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const unix = path.join(yield* directory, "app.sock")
        const app = yield* run({
          options: ["--listen", String(port), "--listen", `unix:${unix}`, "--mode", "600"],
          command: [process.execPath, fixture("app.mjs")],
          app: { listen: [{ port }, { path: unix }] }
        })
        const first = yield* app.up(1)
        assert.deepStrictEqual([first.hasParent, first.port], [false, port])
        yield* ready(app, 1)
        assert.strictEqual(fs.statSync(unix).mode & 0o777, 0o600)
        const clients = [yield* load(port), yield* load(unix)]
        for (let generation = 2; generation <= 21; generation++) {
          yield* signal(app.pid, "SIGHUP")
          const { hasParent, pid } = yield* app.up(generation)
          assert.isTrue(hasParent)
          yield* app.waitFor(new RegExp(`generation ${generation} has taken over`))
          yield* app.waitFor(new RegExp(`^ALONE ${pid}`))
        }
        for (const { stop } of clients) yield* stop
        assert.deepStrictEqual(clients.flatMap(({ failures }) => failures), [])
        assert.strictEqual(commands(app).length, 1)
        yield* signal(app.pid, "SIGTERM")
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
        assert.isFalse(fs.existsSync(unix))
      }),
    240_000
  )

  it.scopedLive("has itself reloaded, by whatever asks it for an upgrade, and is told how that went", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const dir = yield* directory
      const socket = path.join(dir, "control.sock")
      const program = path.join(dir, "app.mjs")
      yield* deploy(program, goodVersion())
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, "--listen", `unix:${socket}`],
        command: [process.execPath, program],
        app: { listen: [{ host: "127.0.0.1", port }], control: socket }
      })
      const first = yield* app.up(1)
      yield* ready(app, 1)
      const clients = yield* load(port)
      const { json, status } = yield* post(socket, "/v1/reload?wait=drained")
      const second = yield* app.up(2)
      assert.deepStrictEqual([status, json.outcome, json.pid, json.generation], [200, "upgraded", second.pid, 2])
      assert.strictEqual(json.drained.forced, 0)
      yield* app.waitFor(new RegExp(`Process ${first.pid} asks for a reload`))
      yield* app.waitFor(new RegExp(`^EXIT ${first.pid} 0`))
      assert.strictEqual(app.count(/is killed|SIGKILL/), 0, app.dump())

      yield* app.waitFor(/generation 2 has taken over/)
      yield* deploy(program, `process.exit(7)`)
      const failed = yield* post(socket, "/v1/reload")
      assert.deepStrictEqual([failed.status, failed.json.error._tag, failed.json.pid], [502, "ReloadError", second.pid])
      assert.include(failed.json.error.message, "code 7")
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      yield* onlyAlive(app, [app.pid, second.pid])
    }))

  it.scopedLive("leaves the signal that comes to the whole group to tableflip", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", String(port)],
        command: [process.execPath, fixture("app.mjs")],
        // An upgrader that would go ahead although an older process lives.
        app: { listen: [{ port }], upgrader: { maxDraining: 2 } },
        detached: true
      })
      const first = yield* app.up(1)
      yield* ready(app, 1)
      for (const whom of [first.pid, -app.pid]) process.kill(whom, "SIGHUP")
      const second = yield* app.up(2)
      yield* app.waitFor(/generation 2 has taken over/)
      yield* app.waitFor(new RegExp(`^EXIT ${first.pid} 0`))
      assert.strictEqual(app.count(/Started process|No upgrade/), 0, app.dump())
      assert.isAbove(app.count(new RegExp(`^LOG ${first.pid} INFO SIGHUP is left alone: .*runs under tableflip`)), 0)
      assert.strictEqual((yield* ask(port)).pid, second.pid)
      yield* onlyAlive(app, [app.pid, second.pid])
    }))

  it.scopedLive("starts alone behind a program that closes what it inherits", () =>
    Effect.gen(function*() {
      // As npm does: variables are passed on, descriptors are not.
      const wrapper = `require("node:child_process").spawn(process.execPath, [${
        JSON.stringify(fixture("app.mjs"))
      }], { stdio: "inherit" })`
      const app = yield* run({ options: soon, command: [process.execPath, "-e", wrapper] })
      yield* app.waitFor(/has not passed on what the supervisor handed over/)
      const { port } = yield* app.up(1)
      assert.strictEqual((yield* ask(port)).generation, 1)
    }))
})

describe.runIf(isLinux)("the sockets of a command", () => {
  it.scopedLive("are listening before it accepts, have their names, and can be any number", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const ports = [yield* freePort, yield* freePort]
      const unix = path.join(dir, "s")
      const app = yield* run({
        options: [
          "--listen",
          `web=${ports[0]}`,
          "--listen",
          `[::1]:${ports[1]}`,
          "--listen",
          `admin=unix:${unix}`,
          ...soon
        ]
      })
      yield* app.waitFor(/^UP \d+ 1 fds=3 names=web:unknown:admin meant=true/)
      const pid = yield* ready(app, 1)
      assert.strictEqual((yield* ask(ports[0]!)).pid, pid)
      assert.strictEqual((yield* ask({ host: "::1", port: ports[1] })).pid, pid)
      assert.strictEqual((yield* ask(unix)).pid, pid)
    }))

  it.scopedLive("queue connections that nobody accepts, least of all tableflip", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const unix = path.join(yield* directory, "s")
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, "--listen", `unix:${unix}`, ...soon],
        command: ["sleep", "60"]
      })
      yield* ready(app, 1)
      for (const target of [{ host: "127.0.0.1", port }, { path: unix }]) {
        const socket = yield* Effect.acquireRelease(
          Effect.async<net.Socket, Error>((resume) => {
            const socket = net.connect(target, () => resume(Effect.succeed(socket)))
            socket.once("error", (error) => resume(Effect.fail(error)))
          }),
          (socket) => Effect.sync(() => socket.destroy())
        )
        yield* Effect.sleep("300 millis")
        const { localPort, remotePort } = socket
        if (localPort === undefined || remotePort === undefined) continue
        assert.strictEqual(accepterOf({ localPort, remotePort }, app.pid), "nobody")
      }
    }))

  it.scopedLive("are those that systemd has opened, too", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const more = yield* freePort
      // What systemd does, in a few lines: it binds, and becomes the program.
      const activate = `
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", ${port})); s.listen(64)
fd = s.detach()
if fd != 3: os.dup2(fd, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="front")
os.execvp(sys.argv[1], sys.argv[1:])`
      const under = (command: ReadonlyArray<string>, app?: unknown) =>
        run({
          executable: "python3",
          nodeFlags: ["-c", activate, process.execPath],
          options: ["--listen", `back=127.0.0.1:${more}`, ...soon],
          command,
          app
        })
      const plain = yield* under(server)
      yield* plain.waitFor(/^UP \d+ 1 fds=2 names=front:back meant=true/)
      const pid = yield* ready(plain, 1)
      assert.strictEqual((yield* ask(port)).pid, pid)
      yield* signal(plain.pid, "SIGHUP")
      assert.strictEqual(
        yield* Effect.zipRight(plain.waitFor(/has taken over/), Effect.map(ask(port), (answer) => answer.pid)),
        yield* ready(plain, 2)
      )
      yield* signal(plain.pid, "SIGTERM")
      yield* plain.exit

      // One on this library finds both by their addresses.
      const app = yield* under([process.execPath, fixture("app.mjs")], {
        listen: [{ host: "127.0.0.1", port }, { host: "127.0.0.1", port: more }]
      })
      yield* ready(app, 1)
      assert.strictEqual((yield* ask(port)).pid, commands(app)[0])
      assert.strictEqual((yield* ask(more)).pid, commands(app)[0])
    }))
})
