/**
 * An HTTP server of @effect/platform that upgrades itself.
 *
 *     node --import tsx examples/http.ts
 *     kill -HUP <pid>
 */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { UpgradableHttpServer, Upgrader } from "../src/index.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text(`hello from process ${process.pid}\n`)),
  HttpServer.serve(),
  HttpServer.withLogAddress
)

const Server = UpgradableHttpServer.layerConfig(createServer, {
  port: Config.integer("PORT").pipe(Config.withDefault(8080)),
  host: Config.succeed("127.0.0.1")
})

const UpgraderLive = Upgrader.layer({ pidFile: process.env["PID_FILE"] })

Upgrader.launch(Layer.provide(Routes, Server)).pipe(
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
