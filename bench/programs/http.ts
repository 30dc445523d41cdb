/** An app on UpgradableHttpServer that says when the older process has ended: until then it would refuse an upgrade. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import * as UpgradableHttpServer from "../../src/UpgradableHttpServer.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { sayAlone } from "./alone.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text(String(process.pid))),
  HttpServer.serve(),
  HttpServer.withLogAddress,
  Layer.provide(UpgradableHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
)

Upgrader.launch(Layer.merge(Routes, sayAlone)).pipe(
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
