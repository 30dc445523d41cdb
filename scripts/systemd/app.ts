/** The app of docs/deploying.md, with routes that take their time or all of it, as one process or, with `WORKERS`, as a pool. */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { createServer } from "node:http"
import { Control, Systemd, UpgradableHttpServer, Upgrader, Workers } from "../../src/index.ts"

const address = { port: Number(process.env["PORT"]), host: "127.0.0.1" }

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function*() {
      const { url } = yield* HttpServerRequest.HttpServerRequest
      const { searchParams } = new URL(url, "http://localhost")
      yield* Effect.sleep(Number(searchParams.get("slow") ?? 0))
      const end = performance.now() + Number(searchParams.get("stuck") ?? 0)
      while (performance.now() < end);
      return HttpServerResponse.text(`hello from process ${process.pid}\n`)
    })
  ),
  HttpServer.serve(),
  Layer.provide(UpgradableHttpServer.layer(createServer, address))
)

const directory = process.env["RUNTIME_DIRECTORY"]
const pidFile = `${directory}/app.pid`
const Operating = Layer.merge(Systemd.layer(), Control.layer({ path: `${directory}/control.sock` }))
const size = Number(process.env["WORKERS"] ?? 0)

const main = size === 0
  ? Upgrader.launch(Routes).pipe(
    Effect.provide(Operating.pipe(Layer.provideMerge(Upgrader.layer({ pidFile }))))
  )
  : Workers.launch(Routes, { size, listen: [address], pidFile, main: Workers.main(Operating) })

NodeRuntime.runMain(Effect.asVoid(main))
