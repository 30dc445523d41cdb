import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as https from "node:https"
import * as net from "node:net"
import * as Drain from "../../src/Drain.ts"
import { certificate } from "../kit/certificate.ts"
import { connect, connectTls, get, listen } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

const serve = (options?: Drain.Options) =>
  Effect.gen(function*() {
    const server = https.createServer(certificate, (_, response) => response.end("ok"))
    const drainable = yield* Drain.server(server, { idleTimeout: "3 seconds", drainTimeout: "6 seconds", ...options })
    let accepted = 0
    server.on("connection", () => accepted++)
    const port = yield* listen(server)
    const started = Effect.gen(function*() {
      const fiber = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      return fiber
    })
    return { server, drainable, port, started, accepted: (count: number) => until("accept", () => accepted === count) }
  })

describe("Drain.server: TLS", () => {
  it.scopedLive("a handshake that begins after the drain is served", () =>
    Effect.gen(function*() {
      const app = yield* serve()
      const plain = yield* connect(app.port)
      yield* app.accepted(1)
      const draining = yield* app.started
      yield* Effect.sleep("150 millis")
      const client = yield* connectTls(app.port, { socket: plain.socket })
      yield* client.send(get("/"))
      const response = yield* client.response
      assert.strictEqual(response.headers["connection"], "close")
      const report = yield* Fiber.join(draining)
      assert.deepInclude(report, { open: 1, fresh: 1, sentAway: 1, forced: 0 })
    }))

  it.scopedLive("a handshake cut in two by the start of the drain is served", () =>
    Effect.gen(function*() {
      const app = yield* serve()
      // between the client and the server, so that it can hold back the second half of the ClientHello
      let hold = true
      let held: Array<Buffer> = []
      let release: (() => void) | undefined
      const relay = net.createServer((inner) => {
        const outer = net.connect(app.port, "127.0.0.1")
        const destroy = () => {
          inner.destroy()
          outer.destroy()
        }
        for (const socket of [inner, outer]) socket.on("error", destroy).on("close", destroy)
        outer.pipe(inner)
        inner.on("data", (chunk) => {
          if (!hold) return void outer.write(chunk)
          if (held.length === 0) outer.write(chunk.subarray(0, 50))
          held.push(held.length === 0 ? chunk.subarray(50) : chunk)
        })
        release = () => {
          hold = false
          outer.write(Buffer.concat(held))
          held = []
        }
      })
      const port = yield* listen(relay)
      yield* Effect.addFinalizer(() => Effect.sync(() => relay.close()))
      const connecting = yield* Effect.fork(connectTls(port))
      yield* until("the ClientHello", () => held.length > 0)
      yield* app.accepted(1)
      const draining = yield* app.started
      yield* Effect.sleep("150 millis")
      release?.()
      const client = yield* Fiber.join(connecting)
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers["connection"], "close")
      assert.strictEqual((yield* Fiber.join(draining)).sentAway, 1)
    }))

  it.scopedLive("a handshake that never begins is given up after idleTimeout", () =>
    Effect.gen(function*() {
      const app = yield* serve({ idleTimeout: "200 millis" })
      const plain = yield* connect(app.port)
      yield* app.accepted(1)
      const report = yield* app.drainable.drain
      assert.deepInclude(report, { open: 1, fresh: 1, timedOut: 1 })
      yield* plain.closed
    }))
})
