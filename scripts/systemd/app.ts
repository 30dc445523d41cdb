/** The app of docs/deploying.md, with a route that takes its time. */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { createServer } from "node:http"
import { Control, Systemd, UpgradableHttpServer, Upgrader } from "../../src/index.ts"

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function*() {
      const { url } = yield* HttpServerRequest.HttpServerRequest
      yield* Effect.sleep(Number(new URL(url, "http://localhost").searchParams.get("slow") ?? 0))
      return HttpServerResponse.text(`hello from process ${process.pid}\n`)
    })
  ),
  HttpServer.serve(),
  Layer.provide(UpgradableHttpServer.layer(createServer, { port: Number(process.env["PORT"]), host: "127.0.0.1" }))
)

const directory = process.env["RUNTIME_DIRECTORY"]

const Live = Layer.merge(Systemd.layer(), Control.layer({ path: `${directory}/control.sock` })).pipe(
  Layer.provideMerge(Upgrader.layer({ pidFile: `${directory}/app.pid` }))
)

Upgrader.launch(Routes).pipe(Effect.provide(Live), NodeRuntime.runMain)
