import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as http from "node:http"
import * as net from "node:net"
import { Duplex } from "node:stream"
import * as Drain from "../../src/Drain.ts"
import { connect, get, listen } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

/** A stream in user land that cannot even be looked at. */
const oddStream = () =>
  Object.defineProperty(new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() }), "parser", {
    get: () => {
      throw new Error("odd")
    }
  })

describe("an odd connection", () => {
  it.scopedLive("is counted in a state like every other", () =>
    Effect.gen(function*() {
      const server = net.createServer((socket) => void socket.on("error", () => {}).resume())
      const drainable = yield* Drain.server(server, { drainTimeout: "100 millis" })
      const client = yield* connect(yield* listen(server))
      server.emit("connection", oddStream())
      yield* until("accept", () => client.socket.readyState === "open")
      const report = yield* drainable.drain
      assert.strictEqual(report.open, report.idle + report.fresh + report.inFlight + report.opaque)
      assert.strictEqual(report.open, report.finished + report.sentAway + report.timedOut + report.forced)
    }))

  it.scopedLive("that comes while the server drains does not throw at whoever hands it on", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      // Not Node's listener, which has its own opinion of such a stream.
      server.removeAllListeners("connection")
      const thrown: Array<unknown> = []
      const drainable = yield* Drain.server(server, {
        drainTimeout: "100 millis",
        onDrain: () =>
          Effect.sync(() => {
            try {
              server.emit("connection", oddStream())
            } catch (cause) {
              thrown.push(cause)
            }
          })
      })
      yield* listen(server)
      const report = yield* drainable.drain
      assert.deepStrictEqual(thrown, [])
      assert.deepInclude(report, { open: 1, opaque: 1, forced: 1 })
    }))

  it.scopedLive("that is there when the drain begins ends no drain", () =>
    Effect.gen(function*() {
      const server = http.createServer((_, response) => response.end("ok"))
      const drainable = yield* Drain.server(server, { drainTimeout: "100 millis" })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* client.response
      server.listeners("connection").filter(({ name }) => name === "connectionListener").forEach((listener) =>
        server.off("connection", listener as () => void)
      )
      server.emit("connection", oddStream())
      assert.deepInclude(yield* drainable.drain, { open: 2, idle: 1, opaque: 1, forced: 1 })
    }))
})
