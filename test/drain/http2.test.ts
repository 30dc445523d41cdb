import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { once } from "node:events"
import * as http2 from "node:http2"
import * as net from "node:net"
import * as Drain from "../../src/Drain.ts"
import { certificate } from "../kit/certificate.ts"
import { connect, listen, makeGate } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

const request = (session: http2.ClientHttp2Session, path: string) =>
  Effect.async<string, Error>((resume) => {
    const stream = session.request({ ":path": path })
    let body = ""
    stream.setEncoding("utf8").on("data", (chunk) => body += chunk)
    stream.once("error", (error) => resume(Effect.fail(error)))
    stream.once("end", () => resume(Effect.succeed(body)))
  })

const serve = (secure: boolean, options?: Drain.Options) =>
  Effect.gen(function*() {
    const gate = makeGate()
    const executed: Array<string> = []
    const trailers: Array<string> = []
    let streams = 0
    const onStream = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      const path = headers[":path"] ?? ""
      executed.push(path)
      streams++
      stream.on("error", () => {}).on("close", () => streams--)
      stream.respond({ ":status": 200 })
      if (path === "/trailers") {
        stream.on("trailers", ({ sum }) => trailers.push(String(sum))).on("end", () => stream.end()).resume()
        return
      }
      if (path !== "/slow") return void stream.end(path)
      stream.write("first ")
      void gate.opened.then(() => stream.end("last"))
    }
    const server = secure ? http2.createSecureServer(certificate) : http2.createServer()
    server.on("stream", onStream)
    const drainable = yield* Drain.server(server, { idleTimeout: "3 seconds", drainTimeout: "6 seconds", ...options })
    const port = yield* listen(server)
    yield* Effect.addFinalizer(() => gate.open)
    const session = Effect.acquireRelease(
      Effect.async<{ readonly session: http2.ClientHttp2Session; goneAway: () => boolean; closed: () => boolean }>(
        (resume) => {
          let goneAway = false
          let closed = false
          const session = http2.connect(`${secure ? "https" : "http"}://localhost:${port}`, {
            rejectUnauthorized: false
          })
          session.on("goaway", () => goneAway = true)
          session.on("close", () => closed = true)
          session.on("error", () => {})
          session.once("remoteSettings", () =>
            resume(Effect.succeed({ session, goneAway: () => goneAway, closed: () => closed })))
        }
      ),
      ({ session }) =>
        Effect.sync(() => session.destroy())
    )
    const started = Effect.gen(function*() {
      const fiber = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      return fiber
    })
    return { drainable, port, session, executed, trailers, openStreams: () => streams, release: gate.open, started }
  })

/** A port in front of another one: what comes from either side is passed on as `change` says, so much later. */
const before = (port: number, milliseconds: number, change = (_side: "client" | "server") => (data: Buffer) => data) =>
  Effect.gen(function*() {
    const sockets = new Set<net.Socket>()
    const pass = (from: net.Socket, to: net.Socket, changed: (data: Buffer) => Buffer) => {
      sockets.add(from)
      from.on("error", () => {}).on("data", (data) => setTimeout(() => to.write(changed(data)), milliseconds))
      from.on("close", () => setTimeout(() => to.destroy(), milliseconds))
    }
    const proxy = net.createServer((socket) => {
      const behind = net.connect(port)
      pass(socket, behind, change("client"))
      pass(behind, socket, change("server"))
    })
    const far = yield* listen(proxy)
    yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
    return far
  })

const sessionTo = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => http2.connect(`http://localhost:${port}`).on("error", () => {})),
    (session) => Effect.sync(() => session.destroy())
  )

/** Frames of a client without those that acknowledge a PING. */
const withoutAcknowledgements = () => {
  const preface = 24
  const head = 9
  let rest = Buffer.alloc(0)
  let begun = false
  return (data: Buffer): Buffer => {
    rest = Buffer.concat([rest, data])
    const passed: Array<Buffer> = []
    const take = (length: number) => {
      const taken = rest.subarray(0, length)
      rest = rest.subarray(length)
      return taken
    }
    if (!begun && rest.length >= preface) {
      begun = true
      passed.push(take(preface))
    }
    if (!begun) return Buffer.alloc(0)
    while (rest.length >= head && rest.length >= head + rest.readUIntBE(0, 3)) {
      const frame = take(head + rest.readUIntBE(0, 3))
      if (frame[3] !== 6 || frame[4] !== 1) passed.push(frame)
    }
    return Buffer.concat(passed)
  }
}

describe("Drain.server: HTTP/2 to a client that is far away", () => {
  it.scopedLive("refuses no request of one that waits for answers", () =>
    Effect.gen(function*() {
      const app = yield* serve(false)
      const session = yield* sessionTo(yield* before(app.port, 300))
      const client = yield* Effect.fork(Effect.forEach(["/slow", "/next"], (path) => request(session, path)))
      yield* until("the request to arrive", () => app.executed.length === 1)
      const draining = yield* app.started
      const other = yield* Effect.fork(request(session, "/other"))
      // The next request of this client is a round trip after its answer: more than a second after the other one came.
      yield* Effect.sleep("800 millis")
      yield* app.release
      assert.deepStrictEqual(yield* Fiber.join(client), ["first last", "/next"])
      assert.strictEqual(yield* Fiber.join(other), "/other")
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
    }))
})

describe("Drain.server: HTTP/2 to a client that acknowledges nothing", () => {
  it.scopedLive("answers a request that comes while another one is served, however short drainTimeout", () =>
    Effect.gen(function*() {
      const app = yield* serve(false, { drainTimeout: "4 seconds" })
      const change = (side: "client" | "server") =>
        side === "client" ? withoutAcknowledgements() : (data: Buffer) => data
      const session = yield* sessionTo(yield* before(app.port, 0, change))
      const slow = yield* Effect.fork(request(session, "/slow"))
      yield* until("the request to arrive", () => app.executed.length === 1)
      const draining = yield* app.started
      const next = yield* Effect.fork(request(session, "/next"))
      yield* app.release
      assert.strictEqual(yield* Fiber.join(slow), "first last")
      assert.strictEqual(yield* Fiber.join(next), "/next")
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
    }))
})

for (const secure of [false, true]) {
  describe(`Drain.server: HTTP/2 ${secure ? "over TLS" : "in the clear"}`, () => {
    it.scopedLive("streams in flight finish, and the session has been told", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure)
        const client = yield* app.session
        const bodies = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 20 }), () => request(client.session, "/slow"), { concurrency: 20 })
        )
        yield* until("the requests to arrive", () => app.executed.length === 20)
        const draining = yield* app.started
        yield* until("the GOAWAY", client.goneAway)
        yield* app.release
        assert.deepStrictEqual(new Set(yield* Fiber.join(bodies)), new Set(["first last"]))
        const report = yield* Fiber.join(draining)
        assert.deepInclude(report, { open: 1, inFlight: 1, sentAway: 1, forced: 0 })
      }))

    it.scopedLive("an idle session is told when it makes its next request", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure)
        const client = yield* app.session
        assert.strictEqual(yield* request(client.session, "/1"), "/1")
        yield* until("the stream to close", () => app.openStreams() === 0)
        const draining = yield* app.started
        yield* Effect.sleep("150 millis")
        assert.isFalse(client.goneAway())
        const bodies = yield* Effect.forEach(["/2", "/3"], (path) => request(client.session, path), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(bodies, ["/2", "/3"])
        yield* until("the end of the session", client.closed)
        assert.isTrue(client.goneAway())
        assert.deepInclude(yield* Fiber.join(draining), { open: 1, idle: 1, sentAway: 1, forced: 0 })
      }))

    it.scopedLive("a request that crosses the start of the drain is answered", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure)
        const client = yield* app.session
        assert.strictEqual(yield* request(client.session, "/1"), "/1")
        yield* until("the stream to close", () => app.openStreams() === 0)
        const crossing = yield* Effect.fork(request(client.session, "/2"))
        const report = yield* app.drainable.drain
        assert.strictEqual(yield* Fiber.join(crossing), "/2")
        assert.deepInclude(report, { open: 1, sentAway: 1 })
      }))

    it.scopedLive("a request that waits for the GOAWAY keeps its trailers", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure)
        const client = yield* app.session
        assert.strictEqual(yield* request(client.session, "/1"), "/1")
        yield* until("the stream to close", () => app.openStreams() === 0)
        const draining = yield* app.started
        const stream = client.session.request({ ":method": "POST", ":path": "/trailers" }, { waitForTrailers: true })
        stream.on("wantTrailers", () => stream.sendTrailers({ sum: "42" })).end("body")
        yield* Effect.promise(() => once(stream.resume(), "close"))
        assert.deepStrictEqual(app.trailers, ["42"])
        assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
      }))

    it.scopedLive("an idle session ends after idleTimeout", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure, { idleTimeout: "300 millis" })
        const client = yield* app.session
        assert.strictEqual(yield* request(client.session, "/1"), "/1")
        const report = yield* app.drainable.drain
        yield* until("the end of the session", client.closed)
        assert.isTrue(client.goneAway())
        assert.deepInclude(report, { open: 1, timedOut: 1 })
        assert.isAtLeast(Duration.toMillis(report.duration), 290)
        assert.isBelow(Duration.toMillis(report.duration), 1500)
      }))

    it.scopedLive("a session that has made no request is served", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure)
        const client = yield* app.session
        const draining = yield* app.started
        yield* Effect.sleep("150 millis")
        const paths = ["/1", "/2", "/3"]
        const bodies = yield* Effect.forEach(paths, (path) => request(client.session, path), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(bodies, paths)
        const report = yield* Fiber.join(draining)
        assert.deepInclude(report, { open: 1, fresh: 1, sentAway: 1 })
        assert.isTrue(client.goneAway())
      }))

    it.scopedLive("a connection that has not said a word is served, and one that never does is given up", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure, { idleTimeout: "300 millis" })
        const silent = yield* connect(app.port)
        const client = yield* app.session
        const draining = yield* app.started
        assert.strictEqual(yield* request(client.session, "/1"), "/1")
        yield* silent.closed
        const report = yield* Fiber.join(draining)
        assert.deepInclude(report, { open: 2, fresh: 2, sentAway: 1, timedOut: 1 })
      }))

    it.scopedLive("streams that do not finish are forced at drainTimeout", () =>
      Effect.gen(function*() {
        const app = yield* serve(secure, { drainTimeout: "300 millis" })
        const client = yield* app.session
        const body = yield* Effect.fork(Effect.exit(request(client.session, "/slow")))
        yield* until("the request to arrive", () => app.executed.length === 1)
        const report = yield* app.drainable.drain
        assert.deepInclude(report, { open: 1, inFlight: 1, forced: 1 })
        yield* until("the end of the session", client.closed)
        yield* Fiber.join(body)
      }))
  })
}
