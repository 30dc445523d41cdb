import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as http from "node:http"
import * as http2 from "node:http2"
import * as https from "node:https"
import * as net from "node:net"
import * as Drain from "../../src/Drain.ts"
import { make } from "../../src/internal/drain/server.ts"
import { certificate } from "../kit/certificate.ts"
import type { Client } from "../kit/drainClient.ts"
import { connect, connectTls, follow, get, listen, makeGate, post } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

const big = Buffer.alloc(64 * 1024 * 1024, "tableflip ")

/** An app in which what takes long takes until the test lets it go. */
const makeApp = () => {
  const gate = makeGate()
  const executed: Array<string> = []
  const handler = (request: http.IncomingMessage, response: http.ServerResponse) => {
    executed.push(request.url ?? "")
    const url = new URL(request.url ?? "/", "http://x")
    switch (url.pathname) {
      case "/slow":
        return void gate.opened.then(() => response.end("slow"))
      case "/stream":
        response.writeHead(200, { "Content-Type": "text/event-stream", Connection: "keep-alive" })
        response.write("data: 1\n\n")
        return void gate.opened.then(() => response.end("data: 2\n\n"))
      case "/early":
        response.writeHead(413)
        return void response.end("too large")
      case "/limit":
        // what body parsers do with a body that is too large: they have begun to read it and stop
        return void request.on("data", () => {
          if (response.headersSent) return
          request.pause()
          response.writeHead(413)
          response.end("too large")
        })
      case "/begun":
        return void request.once("readable", () => {
          request.read(1)
          response.end("ok")
        })
      case "/left":
        return void request.once("data", () => {
          request.pause()
          response.end("ok")
        })
      case "/late":
        request.on("data", () => {
          request.pause()
          void gate.opened.then(() => request.resume())
        })
        return void response.end("ok")
      case "/set":
        response.setHeader("Connection", "keep-alive")
        return void response.end("ok")
      case "/removed":
        response.removeHeader("Connection")
        return void response.end("ok")
      case "/object":
        return void response.writeHead(200, { connection: "keep-alive", "Content-Length": 2 }).end("ok")
      case "/array":
        return void response.writeHead(200, ["Connection", "keep-alive", "Content-Length", "2"]).end("ok")
      case "/pairs":
        return void response.writeHead(200, [["Connection", "keep-alive"], ["Content-Length", "2"]] as any).end("ok")
      case "/message":
        return void response.writeHead(200, "Fine", { Connection: "keep-alive", "Content-Length": 2 }).end("ok")
      case "/big":
        return void response.writeHead(200, { "Content-Length": big.length }).end(big)
      case "/async":
        return void setImmediate(() => response.end(url.search))
      case "/echo": {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk) => chunks.push(chunk))
        return void request.on("end", () => response.end(Buffer.concat(chunks)))
      }
      default:
        return void response.end(url.search)
    }
  }
  return { handler, executed, release: gate.open }
}

interface Transport {
  readonly name: string
  readonly server: (handler: http.RequestListener) => net.Server
  readonly connect: (port: number) => ReturnType<typeof connect>
}

const transports: ReadonlyArray<Transport> = [
  { name: "http", server: (handler) => http.createServer(handler), connect },
  { name: "https", server: (handler) => https.createServer(certificate, handler), connect: connectTls },
  {
    name: "http2 with allowHTTP1",
    server: (handler) => http2.createSecureServer({ ...certificate, allowHTTP1: true }, handler as any),
    connect: connectTls
  }
]

const serve = (transport: Transport, options?: Drain.Options) =>
  Effect.gen(function*() {
    const app = makeApp()
    const server = transport.server(app.handler)
    const drainable = yield* Drain.server(server, { idleTimeout: "4 seconds", drainTimeout: "8 seconds", ...options })
    // nothing waits any more when a failed test closes its scope
    yield* Effect.addFinalizer(() => app.release)
    const port = yield* listen(server)
    const started = Effect.gen(function*() {
      const fiber = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      return fiber
    })
    return { ...app, server, drainable, port, connect: transport.connect(port), started }
  })

const tally = (report: Drain.ServerReport) => {
  const { finished, forced, fresh, idle, inFlight, opaque, open, sentAway, timedOut } = report
  assert.strictEqual(open, idle + fresh + inFlight + opaque)
  assert.strictEqual(open, finished + sentAway + timedOut + forced)
  const counts = { open, idle, fresh, inFlight, opaque, finished, sentAway, timedOut, forced }
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0))
}

const isLast = Effect.fnUntraced(function*(client: Client, body: string) {
  const response = yield* client.response
  assert.strictEqual(response.status, 200)
  assert.strictEqual(response.body.toString(), body)
  assert.strictEqual(response.headers["connection"], "close")
  assert.strictEqual(yield* client.closed, "end")
})

const isNotLast = Effect.fnUntraced(function*(client: Client, body: string) {
  const response = yield* client.response
  assert.strictEqual(response.body.toString(), body)
  assert.notStrictEqual(response.headers["connection"], "close")
})

for (const transport of transports) {
  describe(`Drain.server: HTTP/1 over ${transport.name}`, () => {
    it.scopedLive("an idle connection gets one more request answered, a POST too", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const first = yield* app.connect
        const second = yield* app.connect
        yield* first.send(get("/?1"))
        yield* isNotLast(first, "?1")
        yield* second.send(post("/echo", "before"))
        yield* isNotLast(second, "before")
        const draining = yield* app.started
        // longer than a drain that closes idle connections at once would take to do so
        yield* Effect.sleep("150 millis")
        yield* first.send(get("/?2"))
        yield* isLast(first, "?2")
        yield* second.send(post("/echo", "after"))
        yield* isLast(second, "after")
        assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 2, idle: 2, sentAway: 2 })
      }))

    it.scopedLive("a connection that was never used is served", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        const draining = yield* app.started
        yield* Effect.sleep("150 millis")
        yield* client.send(get("/?1"))
        yield* isLast(client, "?1")
        assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 1, fresh: 1, sentAway: 1 })
      }))

    it.scopedLive("a response whose headers are not out says close", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        yield* client.send(get("/slow"))
        yield* until("the request to arrive", () => app.executed.length === 1)
        const draining = yield* app.started
        yield* app.release
        yield* isLast(client, "slow")
        assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 1, inFlight: 1, sentAway: 1 })
      }))

    it.scopedLive("a stream whose headers are out finishes, and its connection serves one more request", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        yield* client.send(get("/stream"))
        yield* client.head
        const draining = yield* app.started
        yield* app.release
        yield* isNotLast(client, "data: 1\n\ndata: 2\n\n")
        yield* client.send(get("/?2"))
        yield* isLast(client, "?2")
        assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 1, inFlight: 1, sentAway: 1 })
      }))

    it.scopedLive("every request of a pipeline is answered, and the last answer says close", () =>
      Effect.gen(function*() {
        for (const path of ["/", "/async"]) {
          const app = yield* serve(transport)
          const client = yield* app.connect
          const draining = yield* app.started
          yield* client.send(Array.from({ length: 10 }, (_, index) => get(`${path}?${index}`)).join(""))
          for (let index = 0; index < 9; index++) yield* isNotLast(client, `?${index}`)
          yield* isLast(client, "?9")
          assert.strictEqual(app.executed.length, 10)
          const report = yield* Fiber.join(draining)
          assert.deepStrictEqual(tally(report), { open: 1, fresh: 1, sentAway: 1 })
          assert.strictEqual(report.droppedRequests, 0)
        }
      }))

    it.scopedLive("a pipeline that is being answered when the drain begins is answered to its end", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        yield* client.send(get("/slow"), get("/?1"), get("/?2"))
        yield* until("the requests to arrive", () => app.executed.length === 3)
        const draining = yield* app.started
        yield* app.release
        yield* isNotLast(client, "slow")
        yield* isNotLast(client, "?1")
        yield* isNotLast(client, "?2")
        yield* client.send(get("/?3"))
        yield* isLast(client, "?3")
        assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 1, inFlight: 1, sentAway: 1 })
      }))

    it.scopedLive("a request behind an unsent response takes over saying close", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        yield* client.send(get("/slow"))
        yield* until("the request to arrive", () => app.executed.length === 1)
        const draining = yield* app.started
        yield* client.send(get("/?2"))
        yield* until("the second request to arrive", () => app.executed.length === 2)
        yield* app.release
        yield* isNotLast(client, "slow")
        yield* isLast(client, "?2")
        yield* Fiber.join(draining)
      }))

    it.scopedLive("a request behind a response that said close is not executed", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        const draining = yield* app.started
        yield* client.send(get("/big"))
        assert.strictEqual((yield* client.head).headers["connection"], "close")
        yield* client.send(post("/echo", "never"))
        assert.strictEqual((yield* client.response).body.length, big.length)
        assert.strictEqual(yield* client.closed, "end")
        client.socket.end()
        const report = yield* Fiber.join(draining)
        assert.deepStrictEqual(app.executed, ["/big"])
        assert.strictEqual(report.droppedRequests, 1)
      }), 20_000)

    it.scopedLive("a request whose headers come slowly is served", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport, { idleTimeout: "300 millis" })
        const used = yield* app.connect
        yield* used.send(get("/?1"))
        yield* isNotLast(used, "?1")
        const fresh = yield* app.connect
        for (const client of [used, fresh]) yield* client.send("GET /?2 HTTP/1.1\r\nHo")
        const draining = yield* app.started
        yield* Effect.sleep("700 millis")
        for (const client of [used, fresh]) {
          yield* client.send("st: x\r\n\r\n")
          yield* isLast(client, "?2")
        }
        const report = yield* Fiber.join(draining)
        assert.strictEqual(report.sentAway, 2)
        assert.strictEqual(report.timedOut, 0)
      }))

    it.scopedLive("uploads under way are received whole, by length and in chunks", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const byLength = yield* app.connect
        const chunked = yield* app.connect
        yield* byLength.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        yield* chunked.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        yield* until("the requests to arrive", () => app.executed.length === 2)
        const draining = yield* app.started
        yield* Effect.sleep("100 millis")
        yield* byLength.send("world")
        yield* chunked.send("5\r\nworld\r\n0\r\n\r\n")
        yield* isLast(byLength, "helloworld")
        yield* isLast(chunked, "helloworld")
        assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 2, inFlight: 2, sentAway: 2 })
      }))

    it.scopedLive("Expect: 100-continue, asked before and asked while draining", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const before = yield* app.connect
        const after = yield* app.connect
        const expecting = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        yield* before.send(expecting)
        assert.strictEqual((yield* before.response).status, 100)
        const draining = yield* app.started
        yield* after.send(expecting)
        assert.strictEqual((yield* after.response).status, 100)
        for (const client of [before, after]) {
          yield* client.send("hello")
          yield* isLast(client, "hello")
        }
        assert.strictEqual((yield* Fiber.join(draining)).sentAway, 2)
      }))

    for (const path of ["/early", "/limit"]) {
      it.scopedLive(`a client that writes its whole upload before it reads gets an early response: ${path}`, () =>
        Effect.gen(function*() {
          const app = yield* serve(transport)
          const client = yield* app.connect
          const draining = yield* app.started
          client.socket.pause()
          const body = Buffer.alloc(5 * 1024 * 1024)
          yield* client.send(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`)
          yield* until("the request to arrive", () => app.executed.length === 1)
          yield* Effect.async<void>((resume) => {
            client.socket.write(body, (error) => resume(error ? Effect.die(error) : Effect.void))
          })
          client.socket.resume()
          const response = yield* client.response
          assert.strictEqual(response.status, 413)
          assert.strictEqual(response.headers["connection"], "close")
          assert.strictEqual(yield* client.closed, "end")
          client.socket.end()
          assert.strictEqual((yield* Fiber.join(draining)).sentAway, 1)
        }))
    }

    it.scopedLive("a handler's own Connection header is overridden", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const paths = ["/set", "/removed", "/object", "/array", "/pairs", "/message"]
        const clients = yield* Effect.forEach(paths, () => app.connect)
        const draining = yield* app.started
        for (const [index, client] of clients.entries()) {
          yield* client.send(get(paths[index]!))
          yield* isLast(client, "ok")
        }
        assert.strictEqual((yield* Fiber.join(draining)).sentAway, paths.length)
      }))

    it.scopedLive("HTTP/1.0 with keep-alive", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport)
        const client = yield* app.connect
        const request = "GET /object HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        yield* client.send(request)
        yield* isNotLast(client, "ok")
        const draining = yield* app.started
        yield* client.send(request)
        yield* isLast(client, "ok")
        assert.strictEqual((yield* Fiber.join(draining)).sentAway, 1)
      }))

    it.scopedLive("a big response to a client that reads late is complete", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport, { lingerTimeout: "100 millis" })
        const client = yield* app.connect
        const draining = yield* app.started
        client.socket.pause()
        yield* client.send(get("/big"))
        yield* until("the request to arrive", () => app.executed.length === 1)
        yield* Effect.sleep("500 millis")
        client.socket.resume()
        const response = yield* client.response
        assert.strictEqual(response.body.length, big.length)
        assert.isTrue(response.body.equals(big))
        assert.strictEqual(yield* client.closed, "end")
        assert.strictEqual((yield* Fiber.join(draining)).sentAway, 1)
      }), 20_000)

    it.scopedLive("idle and never-used connections are closed after idleTimeout", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport, { idleTimeout: "300 millis" })
        const idle = yield* app.connect
        yield* idle.send(get("/?1"))
        yield* isNotLast(idle, "?1")
        const fresh = yield* app.connect
        const report = yield* app.drainable.drain
        assert.deepStrictEqual(tally(report), { open: 2, idle: 1, fresh: 1, timedOut: 2 })
        assert.isAtLeast(Duration.toMillis(report.duration), 300)
        yield* idle.closed
        yield* fresh.closed
      }))

    it.scopedLive("a connection is idle after its answer, unless the app still reads its last request", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport, { idleTimeout: "300 millis" })
        for (const path of ["/begun", "/left", "/late"]) {
          const client = yield* app.connect
          yield* client.send(post(path, "x".repeat(1_000)))
          yield* client.response
        }
        const draining = yield* app.started
        yield* Effect.sleep("500 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(draining)))
        yield* app.release
        const report = yield* Fiber.join(draining)
        assert.deepStrictEqual(tally(report), { open: 3, idle: 2, inFlight: 1, timedOut: 3 })
      }))

    it.scopedLive("what is not finished at drainTimeout is forced", () =>
      Effect.gen(function*() {
        const app = yield* serve(transport, { drainTimeout: "300 millis" })
        const client = yield* app.connect
        yield* client.send(get("/stream"))
        yield* client.head
        const report = yield* app.drainable.drain
        assert.deepStrictEqual(tally(report), { open: 1, inFlight: 1, forced: 1 })
        yield* client.closed
      }))
  })
}

describe("Drain.server: HTTP/1", () => {
  it.scopedLive("without lingering, a client that does not hang up after its last answer is not waited for", () =>
    Effect.gen(function*() {
      const app = yield* serve(transports[0]!, { lingerTimeout: 0, drainTimeout: "1 minute" })
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => net.connect({ host: "127.0.0.1", port: app.port, allowHalfOpen: true })),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const { response, send } = follow(client)
      yield* send(get("/?1"))
      yield* response
      const draining = yield* app.started
      yield* send(get("/?2"))
      assert.strictEqual((yield* response).headers["connection"], "close")
      assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 1, idle: 1, sentAway: 1 })
    }))

  it.scopedLive("a client whose endless response onDrain has ended does not come back on the same connection", () =>
    Effect.gen(function*() {
      const again = makeGate()
      const endless = new Set<http.ServerResponse>()
      let isDraining = false
      const server = http.createServer((_, response) => {
        response.writeHead(200, { "Content-Type": "text/event-stream" })
        response.write("data: 1\n\n")
        if (isDraining) response.end()
        else endless.add(response)
      })
      const drainable = yield* Drain.server(server, {
        drainTimeout: "5 seconds",
        onDrain: () =>
          Effect.promise(() => {
            isDraining = true
            for (const response of endless) response.end()
            return again.opened
          })
      })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.head
      const draining = yield* Effect.fork(drainable.drain)
      yield* client.response
      yield* client.send(get("/"))
      const { headers } = yield* client.response
      yield* again.open
      assert.strictEqual(headers.connection, "close")
      assert.strictEqual(yield* client.closed, "end")
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
    }))

  it.scopedLive("keepAliveTimeout does not close a connection that is held for one more request", () =>
    Effect.gen(function*() {
      const app = yield* serve(transports[0]!)
      const server = app.server as http.Server
      server.keepAliveTimeout = 1
      const client = yield* app.connect
      yield* client.send(get("/?1"))
      yield* isNotLast(client, "?1")
      const draining = yield* app.started
      // Node adds a second to it
      yield* Effect.sleep("1500 millis")
      yield* client.send(get("/?2"))
      yield* isLast(client, "?2")
      yield* Fiber.join(draining)
      assert.strictEqual(server.keepAliveTimeout, 1)
    }))

  it.scopedLive("a request that came after its queue was emptied is drained once, and one behind it is answered", () =>
    Effect.gen(function*() {
      const app = makeApp()
      const server = http.createServer(app.handler)
      const { drain, emptyQueue } = yield* make(server, { drainTimeout: "8 seconds" })
      yield* Effect.addFinalizer(() => app.release)
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/?1"))
      yield* isNotLast(client, "?1")
      yield* emptyQueue
      yield* client.send(get("/slow"))
      yield* until("the request to arrive", () => app.executed.length === 2)
      const draining = yield* Effect.fork(drain)
      yield* Effect.sleep("100 millis")
      yield* client.send(get("/?3"))
      yield* until("the one behind it to arrive", () => app.executed.length === 3)
      yield* app.release
      yield* isNotLast(client, "slow")
      yield* isLast(client, "?3")
      assert.deepStrictEqual(tally(yield* Fiber.join(draining)), { open: 1, inFlight: 1, sentAway: 1 })
    }))

  it.scopedLive("leaves the server as it was", () =>
    Effect.gen(function*() {
      const app = yield* serve(transports[0]!)
      const client = yield* app.connect
      yield* client.send(get("/?1"))
      yield* isNotLast(client, "?1")
      yield* app.drainable.hasten
      assert.isFalse(Object.hasOwn(app.server, "emit"))
    }))
})
