import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { once } from "node:events"
import * as http from "node:http"
import * as http2 from "node:http2"
import * as https from "node:https"
import * as net from "node:net"
import { Duplex } from "node:stream"
import * as Drain from "../../src/Drain.ts"
import { certificate } from "../kit/certificate.ts"
import { connect, connectTls, get, listen } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

const answer = (_: unknown, response: http.ServerResponse) => void response.end("ok")

/** The two ends of a connection in memory. */
const makePair = (): readonly [Duplex, Duplex] => {
  const end = (other: () => Duplex): Duplex =>
    new Duplex({
      read: () => {},
      write: (chunk, _, done) => {
        other().push(chunk)
        done()
      },
      final: (done) => {
        other().push(null)
        done()
      }
    })
  const one: Duplex = end(() => two)
  const two: Duplex = end(() => one)
  return [one, two]
}

describe("Drain.server: a connection that is no socket", () => {
  it.scopedLive("is answered with close, and decides for no other", () =>
    Effect.gen(function*() {
      const server = http.createServer(answer)
      const drainable = yield* Drain.server(server, { drainTimeout: "3 seconds", lingerTimeout: "100 millis" })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      const [inside, outside] = makePair()
      let received = ""
      outside.setEncoding("latin1").on("data", (text: string) => received += text)
      server.emit("connection", inside)
      outside.write(get("/"))
      yield* until("the first answer", () => received.endsWith("ok"))
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers.connection, "close")
      received = ""
      outside.write(get("/"))
      yield* until("the last answer", () => received.endsWith("ok"))
      assert.match(received, /^Connection: close\r$/m)
      assert.deepInclude(yield* Fiber.join(draining), { open: 2, forced: 0 })
    }))
})

describe("Drain.server: a server that hands on what it accepts", () => {
  const settings = { drainTimeout: "5 seconds" } as const

  it.scopedLive("to an HTTP server: it is told that its connections end", () =>
    Effect.gen(function*() {
      const inner = http.createServer({ keepAliveTimeout: 1_000 }, answer)
      const front = net.createServer((socket) => void inner.emit("connection", socket))
      const drainable = yield* Drain.server(front, settings)
      const client = yield* connect(yield* listen(front))
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers.connection, "keep-alive")
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !front.listening)
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers.connection, "close")
      assert.strictEqual(yield* client.closed, "end")
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, idle: 1, sentAway: 1, forced: 0 })
      assert.strictEqual(inner.keepAliveTimeout, 1_000)
      assert.isFalse(Object.hasOwn(inner, "emit"))
    }))

  it.scopedLive("to an HTTPS server", () =>
    Effect.gen(function*() {
      const inner = https.createServer(certificate, answer)
      const front = net.createServer((socket) => void inner.emit("connection", socket))
      const drainable = yield* Drain.server(front, settings)
      const client = yield* connectTls(yield* listen(front))
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers.connection, "keep-alive")
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !front.listening)
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers.connection, "close")
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
    }))

  it.scopedLive("to an HTTP/2 server: its sessions get a GOAWAY and finish", () =>
    Effect.gen(function*() {
      const inner = http2.createServer((_, response) => void setTimeout(() => response.end("ok"), 200))
      const front = net.createServer((socket) => void setTimeout(() => inner.emit("connection", socket), 10))
      const drainable = yield* Drain.server(front, settings)
      const port = yield* listen(front)
      const session = http2.connect(`http://127.0.0.1:${port}`)
      let goaways = 0
      session.on("goaway", () => goaways++).on("error", () => {})
      const ask = () => {
        const request = session.request()
        let text = ""
        request.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        return Effect.promise(() => once(request, "end").then(() => text))
      }
      assert.strictEqual(yield* ask(), "ok")
      const first = yield* Effect.fork(ask())
      yield* Effect.sleep("50 millis")
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !front.listening)
      assert.deepStrictEqual(yield* Effect.all([Fiber.join(first), ask()], { concurrency: 2 }), ["ok", "ok"])
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
      assert.strictEqual(goaways > 0, true)
    }))
})
