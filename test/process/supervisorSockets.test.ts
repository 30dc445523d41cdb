/**
 * Sockets that one generation breaks for the next, and sockets as programs of other languages expect them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal } from "../kit/processes.ts"
import { ready, run, server, soon } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

/** A server that answers with its process id, and does something to its socket when it is told to stop. */
const breaking = (how: string) => [
  "python3",
  "-u",
  "-c",
  `
import os, signal, socket, sys
family = socket.AF_UNIX if sys.argv[1:] else socket.AF_INET
listener = socket.socket(family, socket.SOCK_STREAM, fileno=3)
def stop(*_):
    ${how}
    print("BROKEN", os.getpid(), flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
print("UP", os.getpid(), "at", listener.getsockname(), flush=True)
while True:
    try:
        connection, _ = listener.accept()
    except OSError:
        continue
    if connection.recv(1000):
        body = str(os.getpid()).encode()
        connection.send(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    connection.close()
`
]

/** From here on it breaks the socket when it is told to stop; to be alive after the warm-up is less. */
const up = (app: Handle, pid: number) => app.waitFor(new RegExp(`^UP ${pid} `))

describe.runIf(isLinux)("a socket", () => {
  it.scopedLive("that a generation shuts down as it stops listens again", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: ["--listen", `127.0.0.1:${port}`, ...soon],
        command: breaking("listener.shutdown(socket.SHUT_RDWR)")
      })
      yield* up(app, yield* ready(app, 1))
      for (const generation of [2, 3]) {
        yield* signal(app.pid, "SIGHUP")
        const pid = yield* ready(app, generation)
        yield* up(app, pid)
        yield* app.waitForCount(/was shut down by a process .*; it listens again/, generation - 1)
        assert.strictEqual((yield* ask(port)).pid, pid)
      }
    }))

  it.scopedLive("that a generation shuts down as it stops has lost the port that the system chose", () =>
    Effect.gen(function*() {
      const app = yield* run({
        options: ["--listen", "127.0.0.1:0", ...soon],
        command: breaking("listener.shutdown(socket.SHUT_RDWR)")
      })
      const [, port] = yield* app.waitFor(/^UP .* (\d+)\)$/)
      yield* ready(app, 1)
      yield* signal(app.pid, "SIGHUP")
      yield* ready(app, 2)
      const [line, address, other] = yield* app.waitFor(
        /socket (\S+) was shut down by a process .*, and nobody can connect: .* now at port (\d+)\. Restart tableflip/
      )
      assert.strictEqual(address, `127.0.0.1:${port}`)
      assert.notStrictEqual(other, port, line)
    }))

  it.scopedLive("whose path a generation removes as it stops is there again", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "s")
      const app = yield* run({
        options: ["--listen", `unix:${socket}`, ...soon],
        command: [...breaking("os.unlink(sys.argv[1])"), socket]
      })
      yield* up(app, yield* ready(app, 1))
      for (const generation of [2, 3]) {
        yield* signal(app.pid, "SIGHUP")
        const pid = yield* ready(app, generation)
        yield* up(app, pid)
        yield* app.waitForCount(/was robbed of its path by a process .*; the path is there again/, generation - 1)
        assert.strictEqual((yield* ask(socket)).pid, pid)
      }
    }))

  it.scopedLive("has the accept queue that was asked for, and blocks whoever accepts from it", () =>
    Effect.gen(function*() {
      const command = [
        "python3",
        "-u",
        "-c",
        `
import fcntl, os, socket, struct, time
listener = socket.socket(fileno=3)
info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
print("QUEUE", struct.unpack_from("I", info, 28)[0], flush=True)
print("BLOCKING", fcntl.fcntl(3, fcntl.F_GETFL) & os.O_NONBLOCK == 0, flush=True)
time.sleep(60)
`
      ]
      const options = ["--listen", `127.0.0.1:${yield* freePort}`, "--backlog", "7", ...soon]
      const app = yield* run({ options, command })
      yield* app.waitFor(/^QUEUE 7$/)
      yield* app.waitFor(/^BLOCKING True$/)
    }))
})

describe.runIf(isLinux)("a last stop", () => {
  const stopUnderLoad = (command: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({ options: ["--listen", `127.0.0.1:${port}`, ...soon], command })
      const pid = yield* ready(app, 1)
      const clients = yield* load(port, 30)
      yield* eventually("answers", () => (clients.answers.get(pid) ?? 0) > 200)
      yield* signal(app.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      yield* clients.stop
      return clients.failures.filter((failure) => !failure.includes("ECONNREFUSED"))
    })

  it.scopedLive("resets none of those who have been connected", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* stopUnderLoad(server), [])
    }))

  it.scopedLive("resets no more than the one who comes while a program has stopped accepting and not closed yet", () =>
    Effect.gen(function*() {
      assert.isAtMost((yield* stopUnderLoad(["python3", "-u", fixture("commands/listen_fds.py")])).length, 1)
    }))

  it.scopedLive("takes the path of a Unix socket away first, and serves who waits there", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "s")
      const app = yield* run({
        options: ["--listen", `unix:${socket}`, ...soon],
        env: { STUBBORN: "yes" }
      })
      const pid = yield* ready(app, 1)
      yield* signal(app.pid, "SIGTERM")
      yield* app.waitFor(new RegExp(`^STOP ${pid} SIGTERM`))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(socket)).filter((name) => name === "s"), [])
      yield* signal(app.pid, "SIGTERM")
      yield* app.exit
    }))
})
