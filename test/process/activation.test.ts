/**
 * Sockets that a service manager has opened, by `LISTEN_FDS`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { deploy, directory } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { StartOptions } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { ready } from "../kit/tableflip.ts"

const host = "127.0.0.1"

type Spec = ReadonlyArray<readonly [kind: "tcp" | "unix" | "udp" | "notify", address: string, name: string]>

/** Node with these descriptors, by a script or a program of its own. */
const activated = (spec: Spec, script: string, options: StartOptions = {}) =>
  start(fixture("commands/activate.py"), {
    ...options,
    executable: "python3",
    args: [JSON.stringify(spec), process.execPath, script, ...options.args ?? []]
  })

/** A datagram socket that somebody else has. */
const datagrams = (at: string) =>
  start(undefined, {
    executable: "python3",
    args: [
      "-u",
      "-c",
      "import socket,sys,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('BOUND'); time.sleep(60)",
      at
    ]
  }).pipe(Effect.tap((receiver) => receiver.waitFor(/^BOUND/)))

describe.runIf(isLinux)("sockets that a service manager has opened", () => {
  it.scopedLive("are those that the app asks for by their addresses, through upgrades, and stay the manager's", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const socket = path.join(yield* directory, "app.sock")
      const app = yield* activated([["tcp", `${host}:${port}`, "web"], ["unix", socket, "admin"]], fixture("app.mjs"), {
        app: { listen: [{ host: "localhost", port }, { path: socket }] }
      })
      for (const generation of [1, 2, 3]) {
        const { pid } = yield* app.up(generation)
        assert.strictEqual((yield* ask(port)).pid, pid)
        assert.strictEqual((yield* ask(socket)).pid, pid)
        assert.notInclude((yield* ask(port, { path: "/grandchild" })).body, "LISTEN_")
        if (generation === 3) yield* signal(pid, "SIGTERM")
        else yield* signal(pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`^EXIT ${pid} 0`))
      }
      assert.isTrue(fs.existsSync(socket), "the path is not the app's to remove")
    }))

  it.scopedLive("are found by the name that the app gives the address, wherever they are", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* activated(
        [["tcp", `${host}:${yield* freePort}`, "other"], ["tcp", `${host}:${port}`, "web"]],
        fixture("app.mjs"),
        { app: { listen: [{ port: 0, name: "web" }] } }
      )
      const up = yield* app.up(1)
      assert.strictEqual(up.port, port)
      yield* app.waitFor(/A service manager listens on other@.* for this program, which has not asked for that/)
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
      assert.strictEqual(next.port, port)
      assert.strictEqual((yield* ask(port)).pid, next.pid)
    }))

  it.scopedLive("of all addresses are meant by any spelling of that", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* activated([["tcp", `0.0.0.0:${port}`, "web"]], fixture("app.mjs"), {
        app: { listen: [{ port }] }
      })
      const { pid } = yield* app.up(1)
      assert.strictEqual((yield* ask(port)).pid, pid)
    }))

  it.scopedLive("and not asked for go on to a release that asks for them", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const [port, more] = [yield* freePort, yield* freePort]
      const program = path.join(dir, "main.mjs")
      const release = (listen: ReadonlyArray<object>) =>
        deploy(
          program,
          `process.env.APP = ${JSON.stringify(JSON.stringify({ listen }))}\nawait import(${
            JSON.stringify(fixture("app.mjs"))
          })\n`
        )
      yield* release([{ host, port }])
      const app = yield* activated([["tcp", `${host}:${port}`, "web"], ["tcp", `${host}:${more}`, "more"]], program)
      const { pid } = yield* app.up(1)
      yield* signal(pid, "SIGHUP")
      const second = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^ALONE ${second.pid}`))
      yield* release([{ host, port }, { host, port: more }])
      yield* signal(second.pid, "SIGHUP")
      const third = yield* app.up(3)
      assert.strictEqual((yield* ask(more)).pid, third.pid)
    }))

  it.scopedLive("have the queue that they had when a pool on them has stopped", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const queue = `
import socket, struct
print("QUEUE", struct.unpack_from("I", socket.socket(fileno=3).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0])
`
      const script = `sh -c 'LISTEN_PID=$$ exec "$@"' sh "$@"; exec python3 -c '${queue}'`
      const app = yield* start(fixture("commands/activate.py"), {
        executable: "python3",
        args: [
          JSON.stringify([["tcp", `${host}:${port}`, "api"]]),
          "sh",
          "-c",
          script,
          "sh",
          process.execPath,
          fixture("workers.mjs")
        ],
        app: { behaviour: { port } }
      })
      const { pid } = yield* app.up(1)
      yield* signal(pid, "SIGTERM")
      const [, queued] = yield* app.waitFor(/^QUEUE (\d+)/)
      assert.isAbove(Number(queued), 1)
    }))

  it.scopedLive("for another process are none", () =>
    Effect.gen(function*() {
      const app = yield* activated([["tcp", `${host}:${yield* freePort}`, "web"]], fixture("app.mjs"), {
        env: { ACTIVATE_PID: "1" },
        app: { listen: [{ port: 0, host, name: "web" }] }
      })
      yield* app.up(1)
      assert.strictEqual(app.count(/service manager/), 0)
    }))

  it.scopedLive("and not connected are what tableflip gives to its command", () =>
    Effect.gen(function*() {
      const notify = path.join(yield* directory, "notify")
      yield* datagrams(notify)
      const [port, udp] = [yield* freePort, yield* freePort]
      const command = [
        "python3",
        "-u",
        "-c",
        "import os, socket, time\n" +
        "kinds = [socket.socket(fileno=3 + n).type.name for n in range(int(os.environ['LISTEN_FDS']))]\n" +
        "print('GOT', os.environ['LISTEN_FDNAMES'], *kinds); time.sleep(60)"
      ]
      const app = yield* activated(
        [["notify", notify, "notify"], ["tcp", `${host}:${port}`, "web"], ["udp", `${host}:${udp}`, "dns"]],
        bin,
        { args: ["run", "--warmup", "0.2", "--", ...command] }
      )
      yield* app.waitFor(/^GOT web:dns SOCK_STREAM SOCK_DGRAM$/)
      yield* ready(app, 1)
    }))
})
