/**
 * The server of the demo. It answers with its process id and tells on standard output what becomes of it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import * as UpgradableHttpServer from "../../src/UpgradableHttpServer.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text(String(process.pid))),
  HttpServer.serve(),
  UpgradableHttpServer.withLogAddress
)

const port = Number(process.env["PORT"] ?? 0)
const Server = UpgradableHttpServer.layer(createServer, { port, host: "127.0.0.1" })

process.on("exit", (code) => console.log(`Process ${process.pid} exits with ${code}`))

const main = Effect.gen(function*() {
  yield* Upgrader.launch(Layer.provide(Routes, Server))
  const { drain } = yield* Upgrader.Upgrader
  const { duration, servers } = yield* drain
  const open = servers.reduce((sum, server) => sum + server.open, 0)
  const kept = servers.reduce((sum, server) => sum + server.handedOver, 0)
  const time = Duration.toMillis(duration).toFixed(0)
  console.log(`Process ${process.pid} has handed over ${kept} of ${open} connections in ${time} ms`)
})

main.pipe(
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
