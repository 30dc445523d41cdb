/**
 * A cluster that counts: two runners of @effect/cluster, and an HTTP server in front of them. Each counter lives in one runner,
 * and is written to an SQLite file. Any of the processes is upgraded while they count, and no count is lost or made twice.
 *
 *     RUNNER=9101 PID_FILE=one.pid node --import tsx examples/cluster.ts
 *     RUNNER=9102 PID_FILE=two.pid node --import tsx examples/cluster.ts
 *     PORT=8080 PID_FILE=front.pid node --import tsx examples/cluster.ts
 *     curl -X POST localhost:8080/counters/visits
 *     kill -HUP $(cat one.pid); kill -HUP $(cat two.pid)
 */
import {
  ClusterSchema,
  Entity,
  HttpRunner,
  RunnerAddress,
  RunnerHealth,
  Runners,
  ShardingConfig
} from "@effect/cluster"
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { Rpc, RpcSerialization } from "@effect/rpc"
import { SqlClient } from "@effect/sql"
import { Config, Effect, Layer, Option, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import * as ClusterHandOver from "../src/ClusterHandOver.ts"
import { UpgradableHttpServer, Upgrader } from "../src/index.ts"
import * as Sqlite from "./sqlite.ts"

const Counter = Entity.make("Counter", [
  Rpc.make("Increment", {
    payload: { request: Schema.String },
    success: Schema.Struct({ count: Schema.Number, pid: Schema.Number }),
    primaryKey: ({ request }) => request
  }).annotate(ClusterSchema.Persisted, true)
])

const CounterLive = Counter.toLayer(
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const { entityId } = yield* Entity.CurrentAddress
    yield* sql`CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, count INTEGER)`
    const [row] = yield* sql<{ count: number }>`SELECT count FROM counters WHERE name = ${entityId}`
    let count = row?.count ?? 0
    yield* Effect.log(`${entityId} has come to process ${process.pid} at ${count}`)
    yield* Effect.addFinalizer(() => Effect.log(`${entityId} has left process ${process.pid} at ${count}`))
    return {
      Increment: () =>
        Effect.suspend(() => sql`REPLACE INTO counters (name, count) VALUES (${entityId}, ${++count})`).pipe(
          Effect.map(() => ({ count, pid: process.pid })),
          Effect.orDie
        )
    }
  }).pipe(Effect.orDie)
)

const runner = (port: number) => {
  const address = { host: "127.0.0.1", port }
  return ClusterHandOver.entities(CounterLive).pipe(
    Layer.provide(HttpRunner.layerHttp),
    Layer.provide(RunnerHealth.layerPing.pipe(
      Layer.provide(Runners.layerRpc),
      Layer.provide(HttpRunner.layerClientProtocolHttpDefault)
    )),
    Layer.provide(ClusterHandOver.layer),
    Layer.provide(Sqlite.Storages),
    Layer.provide(ShardingConfig.layer({ runnerAddress: Option.some(RunnerAddress.make(address.host, port)) })),
    Layer.provide(UpgradableHttpServer.layer(createServer, address))
  )
}

const increment = Effect.gen(function*() {
  const { name } = yield* HttpRouter.schemaPathParams(Schema.Struct({ name: Schema.String }))
  const counter = yield* Counter.client
  return yield* HttpServerResponse.json(yield* counter(name).Increment({ request: randomUUID() }))
})

const front = (port: number) =>
  HttpRouter.empty.pipe(
    HttpRouter.post("/counters/:name", increment),
    HttpServer.serve(),
    UpgradableHttpServer.withLogAddress,
    Layer.provide(UpgradableHttpServer.layer(createServer, { host: "127.0.0.1", port })),
    Layer.provide(HttpRunner.layerHttpClientOnly),
    Layer.provide(Sqlite.Storages),
    // How often it looks for an answer that a runner in an upgrade did not send, and only then.
    Layer.provide(ShardingConfig.layer({ runnerAddress: Option.none(), entityReplyPollInterval: "50 millis" }))
  )

const App = Layer.unwrapEffect(Effect.gen(function*() {
  const port = yield* Config.option(Config.integer("RUNNER"))
  return Option.isSome(port) ? runner(port.value) : front(yield* Config.withDefault(Config.integer("PORT"), 8080))
})).pipe(
  Layer.provide(Layer.unwrapEffect(
    Effect.map(Config.withDefault(Config.string("DATABASE"), "cluster.db"), Sqlite.layer)
  )),
  Layer.provide(RpcSerialization.layerNdjson),
  Layer.provide(NodeHttpClient.layerUndici)
)

const UpgraderLive = Upgrader.layerConfig({
  pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined))
})

Upgrader.launch(App).pipe(
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
