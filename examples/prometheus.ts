/**
 * A service whose metrics Prometheus reads: counters go on through upgrades, and the upgrades are measured too.
 *
 *     PORT=8080 PID_FILE=app.pid node --import tsx examples/prometheus.ts
 *     curl localhost:8080/metrics
 *
 * A dashboard for it is in examples/grafana.json.
 */
import { HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Metric, MetricState, Option } from "effect"
import { createServer } from "node:http"
import { HandOver, UpgradableHttpServer, Upgrader } from "../src/index.ts"

const requests = Metric.counter("http.requests", { description: "Requests answered", incremental: true })

const nameOf = (name: string) => name.replaceAll(/\W/g, "_")

const labelsOf = (labels: ReadonlyArray<readonly [string, string]>) =>
  labels.length === 0
    ? ""
    : `{${labels.map(([name, value]) => `${nameOf(name)}=${JSON.stringify(value)}`).join(",")}}`

/** The text format that Prometheus reads: https://prometheus.io/docs/instrumenting/exposition_formats */
const exposition = Effect.map(Metric.snapshot, (pairs) => {
  const families = new Map<string, Array<string>>()
  for (const { metricKey, metricState: state } of pairs) {
    const labels = metricKey.tags.map(({ key, value }) => [key, value] as const)
    const samples: Array<string> = []
    let type = "gauge"
    let name = nameOf(metricKey.name)
    if (MetricState.isCounterState(state)) {
      type = "counter"
      name += "_total"
      samples.push(`${name}${labelsOf(labels)} ${state.count}`)
    } else if (MetricState.isGaugeState(state)) {
      samples.push(`${name}${labelsOf(labels)} ${state.value}`)
    } else if (MetricState.isHistogramState(state)) {
      type = "histogram"
      name += "_seconds"
      for (const [bound, count] of state.buckets) {
        samples.push(
          `${name}_bucket${labelsOf([...labels, ["le", bound < Infinity ? String(bound) : "+Inf"]])} ${count}`
        )
      }
      samples.push(`${name}_sum${labelsOf(labels)} ${state.sum}`, `${name}_count${labelsOf(labels)} ${state.count}`)
    }
    const help = Option.getOrElse(metricKey.description, () => "")
    families.set(name, [...families.get(name) ?? [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`], ...samples])
  }
  return `${[...families.values()].flat().join("\n")}\n`
})

const Routes = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    HttpServerResponse.text(`hello from process ${process.pid}\n`).pipe(Effect.zipLeft(Metric.update(requests, 1)))
  ),
  HttpRouter.get("/metrics", Effect.flatMap(exposition, HttpServerResponse.text)),
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

Upgrader.launch(Routes.pipe(Layer.provide(Server), Layer.provide(HandOver.layerCounters()))).pipe(
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
