/**
 * A WebSocket echo server on `ws` that upgrades itself. Its clients get a close frame with code 1012 ("service restart"),
 * spread over a second, and find the new process when they connect again.
 *
 *     PORT=8080 PID_FILE=ws.pid node --import tsx examples/ws.ts
 *     kill -HUP $(cat ws.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { WebSocketServer } from "ws"
import { Fds, Upgrader } from "../src/index.ts"

const server = createServer()
const webSockets = new WebSocketServer({ server })
webSockets.on("connection", (webSocket) => {
  webSocket.on("error", () => webSocket.terminate())
  webSocket.on("message", (message) => webSocket.send(`${process.pid} ${String(message)}`))
})

const Echo = Layer.scopedDiscard(Effect.gen(function*() {
  const port = yield* Config.integer("PORT").pipe(Config.withDefault(8080))
  const address = yield* Fds.listen(server, { port, host: "127.0.0.1" })
  if (address !== null && typeof address === "object") {
    yield* Effect.log(`Listening on http://${address.address}:${address.port}`)
  }
}))

Upgrader.launch(Echo).pipe(
  Effect.provide(Upgrader.layerConfig({ pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined)) })),
  NodeRuntime.runMain
)
