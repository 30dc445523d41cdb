/**
 * A service whose traces, metrics and logs go to an OpenTelemetry collector. An upgrade is one trace over both processes.
 *
 *     PORT=8080 PID_FILE=app.pid OTLP_URL=http://127.0.0.1:4318 node --import tsx examples/opentelemetry.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import { createServer } from "node:http"
import { UpgradableHttpServer, Upgrader } from "../src/index.ts"

const Routes = HttpRouter.add("GET", "/", HttpServerResponse.text(`hello from process ${process.pid}\n`)).pipe(
  (routes) => HttpRouter.serve(routes, { disableListenLog: true }),
  UpgradableHttpServer.withLogAddress
)

const Server = UpgradableHttpServer.layerConfig(createServer, {
  port: Config.Int("PORT").pipe(Config.withDefault(8080)),
  host: Config.succeed("127.0.0.1")
})

const UpgraderLive = Upgrader.layerConfig({
  pidFile: Config.String("PID_FILE").pipe(Config.withDefault(undefined))
})

/** Around the upgrader, or it would not see the start of this process; and what is left is sent when all else has ended. */
const TelemetryLive = Effect.gen(function*() {
  const baseUrl = yield* Config.String("OTLP_URL").pipe(Config.withDefault("http://127.0.0.1:4318"))
  return Otlp.layerJson({
    baseUrl,
    resource: { serviceName: "hello", attributes: { "process.pid": process.pid } }
  })
}).pipe(Layer.unwrap, Layer.provide(FetchHttpClient.layer))

Upgrader.launch(Layer.provide(Routes, Server)).pipe(
  Effect.provide(UpgraderLive),
  Effect.provide(TelemetryLive),
  NodeRuntime.runMain
)
