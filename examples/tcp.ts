/**
 * A TCP echo server that upgrades itself. Open connections go to the new process: who has one keeps it, and is not greeted
 * again. An echo has nothing else to remember.
 *
 *     PORT=9000 PID_FILE=tcp.pid node --import tsx examples/tcp.ts
 *     kill -HUP $(cat tcp.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Option } from "effect"
import * as net from "node:net"
import { Fds, HandOver, Upgrader } from "../src/index.ts"

const key = "echo.v1"

const Echo = Layer.scopedDiscard(Effect.gen(function*() {
  const port = yield* Config.integer("PORT").pipe(Config.withDefault(9000))
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy())
    if (Option.isNone(HandOver.takeConnection(socket, key))) socket.write(`hello from process ${process.pid}\n`)
    HandOver.giveConnection(socket, key, () => Option.some(new Uint8Array()))
    socket.pipe(socket)
  })
  const address = yield* Fds.listen(server, { port, host: "127.0.0.1" }, { takes: [key] })
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
