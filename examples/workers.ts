/**
 * An HTTP server in several processes, with one more process for its metrics.
 *
 *     PORT=8080 METRICS_PORT=9090 PID_FILE=workers.pid node --import tsx examples/workers.ts
 *     curl localhost:9090                     # how many requests each worker has answered
 *     curl -X POST localhost:9091/replace     # new workers, one after the other
 *     curl -X POST localhost:9091/size/4      # four of them
 *     kill -HUP $(cat workers.pid)            # a new primary, with new workers
 */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Context, Effect, Layer, Schema } from "effect"
import * as fs from "node:fs"
import { createServer } from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import { UpgradableHttpServer, Workers } from "../src/index.ts"

const host = "127.0.0.1"
const port = (name: string, otherwise: number) => Effect.runSync(Config.withDefault(Config.integer(name), otherwise))
const Api = { host, port: port("PORT", 8080), name: "api" }
const Metrics = { host, port: port("METRICS_PORT", 9090), name: "metrics" }
const Admin = { host, port: port("ADMIN_PORT", 9091), name: "admin" }

/** What the primary makes before the first worker starts, removes after the last one, and tells each of them. */
class Counters extends Context.Tag("Counters")<Counters, { readonly directory: string }>() {
  static readonly layer = Layer.scoped(
    Counters,
    Effect.acquireRelease(
      Effect.sync(() => ({ directory: fs.mkdtempSync(path.join(os.tmpdir(), "counters-")) })),
      ({ directory }) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
    )
  )
  static readonly schema = Schema.Struct({ directory: Schema.String })
}

const Hello = Layer.unwrapEffect(Effect.gen(function*() {
  const { directory } = yield* Counters
  const { index } = yield* Workers.WorkerInfo
  let served = 0
  const answer = Effect.sync(() => {
    fs.writeFileSync(path.join(directory, `worker-${index}`), String(++served))
    return HttpServerResponse.text(`hello from worker ${index}, process ${process.pid}\n`)
  })
  return HttpServer.serve(HttpRouter.get(HttpRouter.empty, "/", answer)).pipe(
    UpgradableHttpServer.withLogAddress,
    Layer.provide(UpgradableHttpServer.layer(createServer, Api))
  )
}))

const MetricsServer = Layer.unwrapEffect(Effect.gen(function*() {
  const { directory } = yield* Counters
  const report = Effect.sync(() =>
    fs.readdirSync(directory).map((file) =>
      `requests_total{worker="${file.slice("worker-".length)}"} ${
        fs.readFileSync(path.join(directory, file), "utf8")
      }\n`
    ).join("")
  )
  return HttpServer.serve(HttpRouter.get(HttpRouter.empty, "/", Effect.map(report, HttpServerResponse.text))).pipe(
    Layer.provide(UpgradableHttpServer.layer(createServer, Metrics))
  )
}))

/** Runs in the primary. */
const AdminServer = Layer.unwrapEffect(Effect.gen(function*() {
  const workers = yield* Workers.Workers
  return HttpRouter.empty.pipe(
    HttpRouter.get("/status", Effect.flatMap(workers.status, HttpServerResponse.json)),
    HttpRouter.post("/replace", Effect.as(workers.replace, HttpServerResponse.text("replaced\n"))),
    HttpRouter.post(
      "/size/:size",
      Effect.gen(function*() {
        const { size } = yield* HttpRouter.schemaPathParams(Schema.Struct({ size: Schema.NumberFromString }))
        yield* workers.resize(size)
        return HttpServerResponse.text(`${size}\n`)
      })
    ),
    HttpServer.serve(),
    Layer.provide(UpgradableHttpServer.layer(createServer, Admin))
  )
}))

Workers.launch(Hello, {
  size: 2,
  listen: [Api, Metrics],
  pidFile: process.env["PID_FILE"],
  main: Workers.main(Layer.merge(Counters.layer, AdminServer), Counters, Counters.schema),
  processes: { metrics: Workers.server(MetricsServer) }
}).pipe(NodeRuntime.runMain)
