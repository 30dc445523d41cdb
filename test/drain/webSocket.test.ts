import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as http from "node:http"
import { WebSocket, WebSocketServer } from "ws"
import * as Drain from "../../src/Drain.ts"
import { connect, listen } from "../kit/drainClient.ts"
import { until } from "../kit/waiting.ts"

const serve = (options?: Drain.Options & { readonly register?: boolean }) =>
  Effect.gen(function*() {
    const server = http.createServer((_, response) => response.end("ok"))
    const webSocketServer = new WebSocketServer({ noServer: true })
    let upgraded = 0
    server.on("upgrade", (request, socket, head) => {
      upgraded++
      if (request.url === "/raw") {
        return void socket.write("HTTP/1.1 101 Go\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n")
      }
      webSocketServer.handleUpgrade(request, socket, head, (webSocket) => {
        webSocketServer.emit("connection", webSocket, request)
        webSocket.on("message", (message) => webSocket.send(message))
      })
    })
    const drainable = yield* Drain.server(server, {
      idleTimeout: "2 seconds",
      drainTimeout: "5 seconds",
      webSocketSpread: 0,
      ...options
    })
    if (options?.register !== false) yield* drainable.webSockets(webSocketServer)
    const port = yield* listen(server)
    const open = Effect.acquireRelease(
      Effect.async<{ readonly webSocket: WebSocket; readonly closeCode: Effect.Effect<number> }>((resume) => {
        const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`)
        let code = 0
        webSocket.on("close", (closed) => code = closed)
        webSocket.on("error", () => {})
        const closeCode = Effect.map(until("the close", () => code !== 0), () => code)
        webSocket.on("open", () => resume(Effect.succeed({ webSocket, closeCode })))
      }),
      ({ webSocket }) => Effect.sync(() => webSocket.terminate())
    )
    const started = Effect.gen(function*() {
      const fiber = yield* Effect.fork(drainable.drain)
      yield* until("the drain to begin", () => !server.listening)
      return fiber
    })
    return { drainable, port, open, started, upgraded: (count: number) => until("upgrade", () => upgraded === count) }
  })

const upgrade = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

describe("Drain.server: WebSocket", () => {
  for (const register of [true, false]) {
    it.scopedLive(`closes with 1012${register ? "" : ", without a WebSocketServer that was registered"}`, () =>
      Effect.gen(function*() {
        const app = yield* serve({ register })
        const clients = yield* Effect.all([app.open, app.open, app.open])
        const report = yield* app.drainable.drain
        for (const client of clients) assert.strictEqual(yield* client.closeCode, 1012)
        assert.deepInclude(report, { open: 3, opaque: 3, sentAway: 3, webSockets: 3, forced: 0 })
      }))

    it.scopedLive(`a late upgrade is closed too${register ? "" : ", without registration"}`, () =>
      Effect.gen(function*() {
        const app = yield* serve({ register })
        const client = yield* connect(app.port)
        const draining = yield* app.started
        yield* client.send(upgrade("/"))
        assert.strictEqual((yield* client.response).status, 101)
        const bytes: Array<number> = []
        client.socket.on("data", (chunk) => bytes.push(...chunk))
        yield* until("the close frame", () => bytes.length >= 4)
        assert.strictEqual(bytes[0], 0x88)
        assert.strictEqual(bytes[2]! * 256 + bytes[3]!, 1012)
        client.socket.destroy()
        assert.deepInclude(yield* Fiber.join(draining), { open: 1, fresh: 1, sentAway: 1, webSockets: 1 })
      }))
  }

  it.scopedLive("closes with 1001 if told so, spread over a window", () =>
    Effect.gen(function*() {
      const app = yield* serve({ webSocketCloseCode: 1001, webSocketSpread: "600 millis" })
      const clients = yield* Effect.all([app.open, app.open, app.open])
      const report = yield* app.drainable.drain
      for (const client of clients) assert.strictEqual(yield* client.closeCode, 1001)
      assert.isAtLeast(Duration.toMillis(report.duration), 400)
    }))

  it.scopedLive("gives up on a client that does not answer the close", () =>
    Effect.gen(function*() {
      const app = yield* serve({ idleTimeout: "200 millis" })
      const client = yield* connect(app.port)
      yield* client.send(upgrade("/"))
      assert.strictEqual((yield* client.response).status, 101)
      const report = yield* app.drainable.drain
      assert.deepInclude(report, { open: 1, opaque: 1, timedOut: 1, webSockets: 1 })
    }))

  it.scopedLive("leaves other upgraded connections alone until drainTimeout", () =>
    Effect.gen(function*() {
      const app = yield* serve({ drainTimeout: "400 millis", idleTimeout: "100 millis" })
      const client = yield* connect(app.port)
      yield* client.send(upgrade("/raw"))
      assert.strictEqual((yield* client.response).status, 101)
      yield* app.upgraded(1)
      const report = yield* app.drainable.drain
      assert.deepInclude(report, { open: 1, opaque: 1, forced: 1, webSockets: 0 })
      assert.isAtLeast(Duration.toMillis(report.duration), 390)
    }))

  it.scopedLive("a WebSocket that throws does not keep the others from being closed", () =>
    Effect.gen(function*() {
      const app = yield* serve({ drainTimeout: "1 second" })
      const broken = {
        close: () => {
          throw new Error("broken")
        },
        once: () => {}
      }
      yield* app.drainable.webSockets({ clients: [broken], on: () => {}, off: () => {} })
      const client = yield* app.open
      const report = yield* app.drainable.drain
      assert.strictEqual(yield* client.closeCode, 1012)
      assert.deepInclude(report, { open: 1, sentAway: 1, forced: 0 })
    }))
})
