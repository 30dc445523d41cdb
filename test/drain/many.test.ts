import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as http from "node:http"
import * as net from "node:net"
import * as Drain from "../../src/Drain.ts"
import { nextTurn } from "../../src/internal/drain/rounds.ts"
import { listen } from "../kit/drainClient.ts"

const count = 3_000

/** Counts what is done in each turn of the event loop. */
const turns = () => {
  let current = 0
  let most = 0
  let all = 0
  let isOver = false
  const turn = () => {
    current = 0
    if (!isOver) setImmediate(turn)
  }
  turn()
  return {
    note: () => {
      all++
      most = Math.max(most, ++current)
    },
    all: () => all,
    most: () => most,
    end: Effect.sync(() => {
      isOver = true
    })
  }
}

const makeTurns = Effect.acquireRelease(Effect.sync(turns), ({ end }) => end)

/** Connections that nobody is at the other end of. */
const accept = (server: net.Server, make: () => net.Socket) => {
  for (let index = 0; index < count; index++) server.emit("connection", make())
}

describe("Drain.server: many connections", () => {
  it.scopedLive("no turn of the event loop looks at more of them than a bound", () =>
    Effect.gen(function*() {
      const looks = yield* makeTurns
      const server = net.createServer()
      const drainable = yield* Drain.server(server, { drainTimeout: "300 millis" })
      accept(server, () => Object.defineProperty(new net.Socket(), "parser", { get: looks.note }))
      assert.deepInclude(yield* drainable.drain, { open: count, opaque: count, forced: count })
      assert.isAtLeast(looks.all(), count)
      // Of one connection it is asked several times.
      assert.isAtMost(looks.most(), 256 * 8)
    }))

  it.scopedLive("as many new ones in each turn do not keep it from its end", () =>
    Effect.gen(function*() {
      const server = net.createServer()
      const drainable = yield* Drain.server(server, { drainTimeout: "100 millis" })
      yield* listen(server)
      const turn = Effect.suspend(() => {
        const sockets = Array.from({ length: 300 }, () => new net.Socket())
        for (const socket of sockets) server.emit("connection", socket)
        return Effect.zipRight(nextTurn, Effect.sync(() => sockets.forEach((socket) => socket.emit("close"))))
      })
      yield* Effect.fork(Effect.repeat(turn, { until: () => !server.listening }))
      yield* Effect.timeout(drainable.drain, "10 seconds")
    }))

  it.scopedLive("no turn closes by force more than a bound", () =>
    Effect.gen(function*() {
      const closed = yield* makeTurns
      const server = net.createServer()
      const drainable = yield* Drain.server(server, { drainTimeout: "50 millis" })
      accept(server, () => new net.Socket().once("close", closed.note))
      assert.deepInclude(yield* drainable.drain, { open: count, forced: count })
      assert.strictEqual(closed.all(), count)
      assert.isAtMost(closed.most(), 64)
    }))

  it.scopedLive("no turn closes more idle ones than a bound", () =>
    Effect.gen(function*() {
      const closed = yield* makeTurns
      const server = http.createServer()
      server.removeAllListeners("connection")
      const drainable = yield* Drain.server(server, { idleTimeout: "100 millis" })
      accept(server, () => Object.assign(new net.Socket(), { parser: {} }).once("close", closed.note))
      assert.deepInclude(yield* drainable.drain, { open: count, fresh: count, timedOut: count })
      assert.isAtMost(closed.most(), 64)
    }))

  it.scopedLive("WebSockets are closed one after the other, however small the window is", () =>
    Effect.gen(function*() {
      const closes = yield* makeTurns
      const server = http.createServer()
      server.removeAllListeners("connection")
      const drainable = yield* Drain.server(server, { webSocketSpread: 0, drainTimeout: "2 seconds" })
      const webSockets = Array.from({ length: 300 }, () => {
        const socket = new net.Socket()
        server.emit("connection", socket)
        return {
          close: () => {
            closes.note()
            socket.destroy()
          },
          once: (_: "close", listener: () => void) => void socket.once("close", listener)
        }
      })
      yield* drainable.webSockets({ clients: webSockets, on: () => {}, off: () => {} })
      assert.deepInclude(yield* drainable.drain, { open: 300, webSockets: 300, forced: 0 })
      assert.isAtMost(closes.most(), 16)
    }))
})
