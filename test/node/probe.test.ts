import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import { setImmediate as nextTurn } from "node:timers/promises"
import { probe } from "../../src/internal/node/probe.ts"
import { certificate } from "../kit/certificate.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"

const { pid } = process

const listening = <A extends net.Server>(server: A, host = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      await once(server.listen(0, host), "listening")
      return (server.address() as net.AddressInfo).port
    }),
    () => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
  )

const answering = (status: number): http.RequestListener => (_, response) => {
  response.writeHead(status, { connection: "close" }).end()
}

/** A process that is no part of this one's family but has nothing to do. */
const another = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => spawn("sleep", ["60"], { stdio: "ignore" })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  ),
  (child) => child.pid!
)

/** A port whose accept queue is full: the system does not answer those who connect. */
const full = Effect.gen(function*() {
  const program =
    `const server = require("node:net").createServer().listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => {
    require("node:fs").writeSync(1, String(server.address().port))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const port = Number(String((yield* Effect.promise(() => once(child.stdout, "data")))[0]))
  const connect = Effect.acquireRelease(
    Effect.sync(() => net.connect(port, "127.0.0.1").on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  )
  const clients = yield* Effect.replicateEffect(connect, 10)
  // The system takes one more than the backlog.
  yield* Effect.promise(() => Promise.all(clients.slice(0, 2).map((client) => once(client, "connect"))))
  return port
})

describe.runIf(isLinux)("a probe over TCP", () => {
  it.scopedLive("finds the process that has accepted", () =>
    Effect.gen(function*() {
      const port = yield* listening(net.createServer((socket) => socket.on("error", () => {}).resume()))
      assert.deepStrictEqual(yield* probe({ _tag: "Tcp", host: "127.0.0.1", port, pid }), { _tag: "Served" })
    }))

  it.scopedLive("does not take another process for it", () =>
    Effect.gen(function*() {
      const port = yield* listening(net.createServer((socket) => socket.on("error", () => {}).resume()))
      const outcome = yield* probe({ _tag: "Tcp", host: "127.0.0.1", port, pid: yield* another })
      assert.strictEqual(outcome._tag, "Elsewhere")
    }))

  for (const target of ["Tcp", "Http"] as const) {
    it.scopedLive(`over ${target} can be given up while its connection is not answered`, () =>
      Effect.gen(function*() {
        const port = yield* full
        const fiber = yield* Effect.fork(
          probe(
            target === "Tcp"
              ? { _tag: target, host: "127.0.0.1", port, pid }
              : { _tag: target, url: new URL(`http://127.0.0.1:${port}`), pid }
          )
        )
        yield* Effect.promise(() => nextTurn())
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      }).pipe(Effect.timeout("10 seconds")))
  }

  it.scopedLive("says why nobody could be asked", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const outcome = yield* probe({ _tag: "Tcp", host: "127.0.0.1", port, pid })
      assert.strictEqual(outcome._tag, "Refused")
      assert.include(JSON.stringify(outcome), "ECONNREFUSED")
    }))
})

describe.runIf(isLinux)("a probe over HTTP", () => {
  const probeAt = (url: string, asked = pid) => probe({ _tag: "Http", url: new URL(url), pid: asked })

  it.scopedLive.each([200, 204, 302])(
    "takes the status %s for a process that serves",
    (status) =>
      Effect.gen(function*() {
        const port = yield* listening(http.createServer(answering(status)))
        assert.deepStrictEqual(yield* probeAt(`http://127.0.0.1:${port}/healthy`), { _tag: "Served" })
      })
  )

  it.scopedLive("waits for one that answers with another status, and says which", () =>
    Effect.gen(function*() {
      const port = yield* listening(http.createServer(answering(503)))
      assert.deepStrictEqual(yield* probeAt(`http://127.0.0.1:${port}/`), {
        _tag: "Refused",
        detail: "the answer has the status 503"
      })
    }))

  it.scopedLive("does not mind whose certificate it is", () =>
    Effect.gen(function*() {
      const port = yield* listening(https.createServer(certificate, answering(200)))
      assert.deepStrictEqual(yield* probeAt(`https://127.0.0.1:${port}/`), { _tag: "Served" })
    }))

  it.scopedLive("sends no request to another process", () =>
    Effect.gen(function*() {
      let requests = 0
      const server = http.createServer((_, response) => {
        requests++
        response.end()
      })
      const port = yield* listening(server)
      const outcome = yield* probeAt(`http://127.0.0.1:${port}/`, yield* another)
      assert.strictEqual(outcome._tag, "Elsewhere")
      assert.strictEqual(requests, 0)
    }))

  it.scopedLive("says that a server hung up", () =>
    Effect.gen(function*() {
      const port = yield* listening(net.createServer((socket) => void socket.on("error", () => {}).end().resume()))
      assert.strictEqual((yield* probeAt(`http://127.0.0.1:${port}/`))._tag, "Refused")
    }))
})
