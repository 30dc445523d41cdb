/** A program with as many listeners as its first argument says. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as net from "node:net"
import * as Fds from "../../src/Fds.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { sayAlone } from "./alone.ts"

const count = Number(process.argv[2])

const Listeners = Layer.scopedDiscard(Effect.forEach(
  Array.from({ length: count }, (_, index) => `listener ${index}`),
  (name) => Fds.listen(net.createServer((socket) => socket.end()), { port: 0, host: "127.0.0.1", name }),
  { discard: true }
))

process.on("exit", (code) => console.log(`Process ${process.pid} exits with ${code}`))

Upgrader.launch(Layer.merge(Listeners, sayAlone)).pipe(
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
