/**
 * A TCP echo server that upgrades itself. Open connections stay with the process that accepted them.
 *
 *     PORT=9000 PID_FILE=tcp.pid node --import tsx examples/tcp.ts
 *     kill -HUP $(cat tcp.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import * as net from "node:net"
import { Fds, Upgrader } from "../src/index.ts"

const Echo = Layer.scopedDiscard(Effect.gen(function*() {
  const port = yield* Config.integer("PORT").pipe(Config.withDefault(9000))
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy())
    socket.write(`hello from process ${process.pid}\n`)
    socket.pipe(socket)
  })
  const address = yield* Fds.listen(server, { port, host: "127.0.0.1" })
  if (address !== null && typeof address === "object") {
    yield* Effect.log(`Listening on tcp://${address.address}:${address.port}`)
  }
}))

const UpgraderLive = Upgrader.layerConfig({
  pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined))
})

Upgrader.launch(Echo).pipe(
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
