import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
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
