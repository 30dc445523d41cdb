/**
 * A service whose metrics Prometheus reads: counters go on through upgrades, and the upgrades are measured too.
 *
 *     PORT=8080 PID_FILE=app.pid node --import tsx examples/prometheus.ts
 *     curl localhost:8080/metrics
 *
 * A dashboard for it is in examples/grafana.json.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { createServer } from "node:http"
import { HandOver, UpgradableHttpServer, Upgrader } from "../src/index.ts"

const requests = Metric.counter("http.requests", { description: "Requests answered", incremental: true })

const nameOf = (name: string) => name.replaceAll(/\W/g, "_")

const labelsOf = (labels: ReadonlyArray<readonly [string, string]>) =>
  labels.length === 0
    ? ""
    : `{${labels.map(([name, value]) => `${nameOf(name)}=${JSON.stringify(value)}`).join(",")}}`

/** The text format that Prometheus reads: https://prometheus.io/docs/instrumenting/exposition_formats */
const exposition = Effect.map(Metric.snapshot, (all) => {
  const families = new Map<string, Array<string>>()
  for (const metric of all) {
    const labels = Object.entries(metric.attributes ?? {})
    const samples: Array<string> = []
    let type = "gauge"
    let name = nameOf(metric.id)
    if (metric.type === "Counter") {
      type = "counter"
      name += "_total"
      samples.push(`${name}${labelsOf(labels)} ${metric.state.count}`)
    } else if (metric.type === "Gauge") {
      samples.push(`${name}${labelsOf(labels)} ${metric.state.value}`)
    } else if (metric.type === "Histogram") {
      const { buckets, count, sum } = metric.state
      type = "histogram"
      name += "_seconds"
      for (const [bound, below] of buckets) {
        if (bound < Infinity) samples.push(`${name}_bucket${labelsOf([...labels, ["le", String(bound)]])} ${below}`)
      }
      samples.push(
        `${name}_bucket${labelsOf([...labels, ["le", "+Inf"]])} ${count}`,
        `${name}_sum${labelsOf(labels)} ${sum}`,
        `${name}_count${labelsOf(labels)} ${count}`
      )
    }
    const help = metric.description ?? ""
    families.set(name, [...families.get(name) ?? [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`], ...samples])
  }
  return `${[...families.values()].flat().join("\n")}\n`
})

const hello = HttpServerResponse.text(`hello from process ${process.pid}\n`)

const Routes = Layer.mergeAll(
  HttpRouter.add("GET", "/", Effect.as(Metric.update(requests, 1), hello)),
  HttpRouter.add("GET", "/metrics", Effect.map(exposition, (text) => HttpServerResponse.text(text)))
).pipe(
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

Upgrader.launch(Routes.pipe(Layer.provide(Server), Layer.provide(HandOver.layerCounters()))).pipe(
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
