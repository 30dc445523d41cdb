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

  /** Requests of one session of HTTP/2. */
  const talk = (at: string) => {
    const session = http2.connect(at, { rejectUnauthorized: false })
    let goaways = 0
    session.on("goaway", () => goaways++).on("error", () => {})
    return {
      goaways: () => goaways,
      ask: Effect.suspend(() => {
        const request = session.request()
        let text = ""
        request.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        return Effect.promise(() => once(request, "end").then(() => text))
      })
    }
  }

  const slowly = (_: unknown, response: http2.Http2ServerResponse) => void setTimeout(() => response.end("ok"), 200)

  const http2Servers = {
    "in the clear": ["http", () => http2.createServer(slowly)],
    "over TLS": ["https", () => http2.createSecureServer(certificate, slowly)]
  } as const

  for (const [how, [scheme, makeServer]] of Object.entries(http2Servers)) {
    for (const late of [false, true]) {
      const when = late ? "after it has looked at them" : "at once"

      it.scopedLive(`to an HTTP/2 server ${how}, ${when}: its sessions get a GOAWAY and finish`, () =>
        Effect.gen(function*() {
          const inner = makeServer()
          const handOn = (socket: net.Socket) => void inner.emit("connection", socket)
          const front = net.createServer(late ? (socket) => void setTimeout(handOn, 10, socket) : handOn)
          const drainable = yield* Drain.server(front, settings)
          const { ask, goaways } = talk(`${scheme}://127.0.0.1:${yield* listen(front)}`)
          assert.strictEqual(yield* ask, "ok")
          const first = yield* Effect.fork(ask)
          yield* Effect.sleep("50 millis")
          const draining = yield* Effect.fork(drainable.drain)
          yield* until("the drain to begin", () => !front.listening)
          assert.deepStrictEqual(yield* Effect.all([Fiber.join(first), ask], { concurrency: 2 }), ["ok", "ok"])
          assert.deepInclude(yield* Fiber.join(draining), { open: 1, inFlight: 1, sentAway: 1, forced: 0 })
          assert.strictEqual(goaways() > 0, true)
        }))

      it.scopedLive(`to an HTTP/2 server ${how}, ${when}: one without a request is held for its next`, () =>
        Effect.gen(function*() {
          const inner = makeServer()
          const handOn = (socket: net.Socket) => void inner.emit("connection", socket)
          const front = net.createServer(late ? (socket) => void setTimeout(handOn, 10, socket) : handOn)
          const drainable = yield* Drain.server(front, settings)
          const { ask, goaways } = talk(`${scheme}://127.0.0.1:${yield* listen(front)}`)
          assert.strictEqual(yield* ask, "ok")
          const listeners = inner.listenerCount("stream")
          const draining = yield* Effect.fork(drainable.drain)
          yield* until("the drain to begin", () => !front.listening)
          assert.strictEqual(yield* ask, "ok")
          assert.deepInclude(yield* Fiber.join(draining), { open: 1, idle: 1, sentAway: 1, forced: 0 })
          assert.strictEqual(goaways() > 0, true)
          // Nothing of ours is on the path of each request.
          assert.deepStrictEqual([listeners, inner.listenerCount("stream")], [1, 1])
        }))
    }
  }
})
