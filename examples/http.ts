/**
 * An HTTP server of @effect/platform that upgrades itself.
 *
 *     PORT=8080 PID_FILE=http.pid node --import tsx examples/http.ts
 *     kill -HUP $(cat http.pid)
 */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { UpgradableHttpServer, Upgrader } from "../src/index.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text(`hello from process ${process.pid}\n`)),
  HttpServer.serve(),
  UpgradableHttpServer.withLogAddress
)

const Server = UpgradableHttpServer.layerConfig(createServer, {
  port: Config.integer("PORT").pipe(Config.withDefault(8080)),
  host: Config.succeed("127.0.0.1")
})

const UpgraderLive = Upgrader.layerConfig({
  pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined))
})

Upgrader.launch(Layer.provide(Routes, Server)).pipe(
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
