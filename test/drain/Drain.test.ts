import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as http from "node:http"
import * as net from "node:net"
import { promisify } from "node:util"
import * as Drain from "../../src/Drain.ts"
import * as Node from "../../src/internal/node/internals.ts"
import { connect, get, listen } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

const echoServer = () => net.createServer((socket) => void socket.on("error", () => {}).pipe(socket))

const accepted = (server: net.Server) => {
  let count = 0
  server.on("connection", () => count++)
  return (expected: number) => until("accept", () => count === expected)
}

/** Clients that the system has connected and that the server has not heard of yet. */
const queue = (port: number, count: number) => {
  const ends: Array<string> = []
  const sockets = Array.from({ length: count }, () => {
    const socket = net.connect({ host: "127.0.0.1", port })
    let answer = ""
    socket.on("data", (chunk) => answer += chunk)
    socket.on("error", (error: NodeJS.ErrnoException) => ends.push(error.code ?? error.message))
    socket.on("end", () => ends.push(answer.split("\r\n")[0]!))
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return socket
  })
  return Effect.async<typeof ends>((resume) => process.nextTick(() => resume(Effect.succeed(ends)))).pipe(
    Effect.tap(() => Effect.sync(() => assert.isTrue(sockets.every(Node.isConnected))))
  )
}

describe("Drain.server", () => {
  it.scopedLive("serves what the system has accepted before it closes the socket", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      const drainable = yield* Drain.server(server, { drainTimeout: "5 seconds" })
      const ends = yield* queue(yield* listen(server), 20)
      const report = yield* drainable.drain
      yield* until("the clients", () => ends.length === 20)
      assert.deepStrictEqual([...new Set(ends)], ["HTTP/1.1 200 OK"])
      assert.deepInclude(report, { open: 20, forced: 0 })
      assert.isFalse(server.listening)
    }))

  it.scopedLive("a request that comes late has as much time as those that were there", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => void setTimeout(() => response.end("ok"), 700))
      const drainable = yield* Drain.server(server, { drainTimeout: "1 second" })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      yield* Effect.sleep("600 millis")
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).status, 200)
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1, forced: 0 })
    }))

  it.scopedLive("a drain goes on although the hook fails and the logger throws", () =>
    Effect.gen(function*() {
      const server = http.createServer()
      const drainable = yield* Drain.server(server, { onDrain: () => Effect.die("no registry") })
      yield* listen(server)
      assert.deepInclude(yield* drainable.drain, { open: 0, forced: 0 })
      assert.isFalse(server.listening)
    }).pipe(Effect.provide(Logger.add(Logger.make(() => {
      throw new Error("the disk of the log is full")
    })))))

  it.scopedLive("a request that comes late is forced in its turn", () =>
    Effect.gen(function*() {
      const server = http.createServer((request, response) => request.url === "/" ? response.end("ok") : undefined)
      const drainable = yield* Drain.server(server, { drainTimeout: "400 millis" })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      yield* client.send(get("/never"))
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, forced: 1 })
    }))

  it.scopedLive("a wall clock that is set closes nothing that is held", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      const drainable = yield* Drain.server(server, { drainTimeout: "10 seconds" })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      yield* Effect.sleep("150 millis")
      const { now } = Date
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          Date.now = () => now() + 3_600_000
        }),
        () =>
          Effect.sync(() => {
            Date.now = now
          })
      )
      yield* Effect.sleep("150 millis")
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).status, 200)
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, sentAway: 1 })
    }))

  it.scopedLive("the app may close the server too, and is told when it is closed", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      const drainable = yield* Drain.server(server, { drainTimeout: "5 seconds" })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      const early = promisify(server.close.bind(server))()
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).status, 200)
      yield* Fiber.join(draining)
      yield* Effect.promise(() => early)
      yield* Effect.promise(() => promisify(server.close.bind(server))())
    }))

  it.scopedLive("closes a socket at once that others go on accepting from", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      const drainable = yield* Drain.server(server, { drainTimeout: "5 seconds", sharedSocket: true })
      const ends = yield* queue(yield* listen(server), 20)
      const report = yield* drainable.drain
      yield* until("the clients", () => ends.length === 20)
      assert.deepStrictEqual([...new Set(ends)], ["ECONNRESET"])
      assert.strictEqual(report.open, 0)
    }))

  it.scopedLive("a raw server waits for its clients", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const arrived = accepted(server)
      const drainable = yield* Drain.server(server, { drainTimeout: "5 seconds" })
      const client = yield* connect(yield* listen(server))
      yield* arrived(1)
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      let received = ""
      client.socket.on("data", (chunk) => received += chunk)
      yield* client.send("still here")
      yield* until("the echo", () => received === "still here")
      client.socket.end()
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, opaque: 1, finished: 1, forced: 0 })
    }))

  it.scopedLive("onDrain gets the sockets before anything else, and can say goodbye", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const arrived = accepted(server)
      let listening = true
      const drainable = yield* Drain.server(server, {
        onDrain: ({ server, sockets }) =>
          Effect.sync(() => {
            listening = server.listening
            for (const socket of sockets) socket.end("BYE")
          })
      })
      const client = yield* connect(yield* listen(server))
      client.socket.on("end", () => client.socket.end())
      let received = ""
      client.socket.on("data", (chunk) => received += chunk)
      yield* arrived(1)
      const report = yield* drainable.drain
      assert.isFalse(listening)
      assert.strictEqual(received, "BYE")
      assert.deepInclude(report, { open: 1, finished: 1 })
    }))

  it.scopedLive("onDrain runs when there is no connection, its failure is ignored, and it is cut short", () =>
    Effect.gen(function*() {
      let ran = 0
      let interrupted = false
      const failing = yield* Drain.server(echoServer(), {
        onDrain: () =>
          Effect.suspend(() => {
            ran++
            return Effect.fail("no registry")
          })
      })
      const endless = yield* Drain.server(echoServer(), {
        hookTimeout: "100 millis",
        onDrain: () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              interrupted = true
            }))
      })
      const stubborn = yield* Drain.server(echoServer(), {
        hookTimeout: "100 millis",
        onDrain: () => Effect.uninterruptible(Effect.sleep("2 seconds"))
      })
      yield* failing.drain
      assert.strictEqual(ran, 1)
      const report = yield* endless.drain
      assert.isAtLeast(Duration.toMillis(report.duration), 90)
      assert.isTrue(interrupted)
      assert.isBelow(Duration.toMillis((yield* stubborn.drain).duration), 1000)
    }))

  it.scopedLive("hasten closes what is left", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const arrived = accepted(server)
      const drainable = yield* Drain.server(server)
      const client = yield* connect(yield* listen(server))
      yield* arrived(1)
      const draining = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      yield* drainable.hasten
      yield* client.closed
      const report = yield* Fiber.join(draining)
      assert.deepInclude(report, { open: 1, opaque: 1, forced: 1 })
      assert.isBelow(Duration.toMillis(report.duration), 2000)
      yield* drainable.hasten
    }))

  it.scopedLive("hasten without a drain does both, also while the hook runs", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const arrived = accepted(server)
      const drainable = yield* Drain.server(server, { onDrain: () => Effect.never })
      const client = yield* connect(yield* listen(server))
      yield* arrived(1)
      yield* drainable.hasten
      assert.isFalse(server.listening)
      yield* client.closed
      assert.deepInclude(yield* drainable.drain, { open: 1, forced: 1 })
    }))

  it.scopedLive("drains once, however often and by whomever it is asked, even if they are interrupted", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      const drainable = yield* Drain.server(server)
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      const first = yield* Effect.fork(drainable.drain)
      const second = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      yield* Fiber.interrupt(first)
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers["connection"], "close")
      const report = yield* Fiber.join(second)
      assert.strictEqual(yield* drainable.drain, report)
      assert.deepInclude(report, { open: 1, sentAway: 1 })
    }))

  it.scopedLive("stopAccepting is synchronous and leaves the connections alone", () =>
    Effect.gen(function*() {
      const servers = [http.createServer((_, response) => response.end("ok")), echoServer()]
      const drainables = yield* Effect.forEach(servers, (server) => Drain.server(server))
      const ports = yield* Effect.forEach(servers, listen)
      const client = yield* connect(ports[0]!)
      let turns = 0
      const immediate = setImmediate(() => turns++)
      yield* Effect.forEach(drainables, (drainable) => drainable.stopAccepting)
      assert.deepStrictEqual(servers.map((server) => server.listening), [false, false])
      assert.strictEqual(turns, 0)
      clearImmediate(immediate)
      yield* Effect.forEach(drainables, (drainable) => drainable.stopAccepting)
      yield* client.send(get("/"))
      assert.strictEqual((yield* client.response).headers["connection"], "keep-alive")
      const refused = yield* Effect.exit(connect(ports[0]!))
      assert.isTrue(Exit.isFailure(refused))
    }))

  it.live("closing the scope drains", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const server = http.createServer((_, response) => response.end("ok"))
      yield* Scope.extend(Drain.server(server, { idleTimeout: "4 seconds" }), scope)
      const port = yield* listen(server)
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* connect(port)
        yield* client.send(get("/"))
        yield* client.response
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* until("the drain to begin", () => !server.listening)
        yield* client.send(get("/"))
        assert.strictEqual((yield* client.response).headers["connection"], "close")
        client.socket.end()
        yield* Fiber.join(closing)
      }))
      for (const event of ["secureConnection", "session", "listening"]) {
        assert.strictEqual(server.listenerCount(event), event === "listening" ? 1 : 0)
      }
      assert.strictEqual(server.listenerCount("connection"), 1)
    }))

  it.live("closing the scope ends at drainTimeout", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const arrived = accepted(server)
      const [elapsed] = yield* Effect.timed(Effect.scoped(Effect.gen(function*() {
        yield* Drain.server(server, { drainTimeout: "200 millis" })
        const socket = net.connect(yield* listen(server), "127.0.0.1").on("error", () => {})
        yield* arrived(1)
        socket.unref()
      })))
      assert.isBelow(Duration.toMillis(elapsed), 1500)
    }))

  it.scopedLive("a server that never listened, and one that others have closed", () =>
    Effect.gen(function*() {
      const never = yield* Drain.server(http.createServer())
      assert.deepInclude(yield* never.drain, { open: 0, forced: 0 })
      const server = echoServer()
      let closes = 0
      server.on("close", () => closes++)
      const drainable = yield* Drain.server(server)
      yield* listen(server)
      server.close()
      yield* until("the server to close", () => closes === 1)
      assert.deepInclude(yield* drainable.drain, { open: 0, forced: 0 })
      assert.strictEqual(closes, 1)
    }))

  it.scopedLive("a server whose listen has not come through does not begin to accept", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const drainable = yield* Drain.server(server)
      // the look-up of the name takes a turn of the event loop
      server.listen(0, "localhost")
      assert.isFalse(server.listening)
      yield* drainable.drain
      yield* Effect.sleep("50 millis")
      assert.isFalse(server.listening)
    }))

  it.scopedLive("connections that never emit 'close' do not hold it up", () =>
    Effect.gen(function*() {
      const server = echoServer()
      const drainable = yield* Drain.server(server, { drainTimeout: "100 millis" })
      const stuck = new net.Socket({ handle: undefined } as any)
      stuck.destroy = () => stuck
      server.emit("connection", stuck)
      const report = yield* drainable.drain
      assert.deepInclude(report, { open: 1, forced: 1 })
      assert.isBelow(Duration.toMillis(report.duration), 2000)
    }))
})
