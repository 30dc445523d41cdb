/**
 * An HTTP server that is operated at a control socket: a deploy waits for its upgrade, and fails when that has failed.
 *
 *     PORT=8080 CONTROL=./control.sock node --import tsx examples/control.ts
 *     export TABLEFLIP_CONTROL_SOCKET=./control.sock
 *     npx tableflip status
 *     npx tableflip reload --wait ended
 *     curl --unix-socket control.sock http://localhost/v1/status
 *     npx tableflip stop
 */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { Control, UpgradableHttpServer, Upgrader } from "../src/index.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text(`hello from process ${process.pid}\n`)),
  HttpServer.serve(),
  UpgradableHttpServer.withLogAddress
)

const Server = UpgradableHttpServer.layerConfig(createServer, {
  port: Config.integer("PORT").pipe(Config.withDefault(8080)),
  host: Config.succeed("127.0.0.1")
})

const ControlSocket = Layer.unwrapEffect(
  Effect.map(Config.withDefault(Config.string("CONTROL"), "control.sock"), (path) => Control.layer({ path }))
)

Upgrader.launch(Layer.merge(Layer.provide(Routes, Server), ControlSocket)).pipe(
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
