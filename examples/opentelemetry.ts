/**
 * A service whose traces, metrics and logs go to an OpenTelemetry collector. An upgrade is one trace over both processes.
 *
 *     PORT=8080 PID_FILE=app.pid OTLP_URL=http://127.0.0.1:4318 node --import tsx examples/opentelemetry.ts
 */
import * as Otlp from "@effect/opentelemetry/Otlp"
import { FetchHttpClient, HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { UpgradableHttpServer, Upgrader } from "../src/index.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text(`hello from process ${process.pid}\n`)),
  HttpServer.serve(HttpMiddleware.logger),
  UpgradableHttpServer.withLogAddress
)

const Server = UpgradableHttpServer.layerConfig(createServer, {
  port: Config.integer("PORT").pipe(Config.withDefault(8080)),
  host: Config.succeed("127.0.0.1")
})

const UpgraderLive = Upgrader.layerConfig({
  pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined))
})

/** Around the upgrader, or it would not see the start of this process; and what is left is sent when all else has ended. */
const TelemetryLive = Config.string("OTLP_URL").pipe(
  Config.withDefault("http://127.0.0.1:4318"),
  Effect.map((baseUrl) =>
    Otlp.layerJson({
      baseUrl,
      resource: { serviceName: "hello", attributes: { "process.pid": process.pid } }
    })
  ),
  Layer.unwrapEffect,
  Layer.provide(FetchHttpClient.layer)
)

Upgrader.launch(Layer.provide(Routes, Server)).pipe(
  Effect.provide(UpgraderLive),
  Effect.provide(TelemetryLive),
  NodeRuntime.runMain
)
