/**
 * An express app that upgrades itself.
 *
 *     PORT=8080 PID_FILE=express.pid node --import tsx examples/express.ts
 *     kill -HUP $(cat express.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import express from "express"
import { createServer } from "node:http"
import { Fds, Upgrader } from "../src/index.ts"

const app = express()
app.get("/", (_request, response) => {
  response.type("text").send(`hello from process ${process.pid}\n`)
})

const Api = Layer.scopedDiscard(Effect.gen(function*() {
  const port = yield* Config.integer("PORT").pipe(Config.withDefault(8080))
  const address = yield* Fds.listen(createServer(app), { port, host: "127.0.0.1" })
  if (address !== null && typeof address === "object") {
    yield* Effect.log(`Listening on http://${address.address}:${address.port}`)
  }
}))

Upgrader.launch(Api).pipe(
  Effect.provide(Upgrader.layerConfig({ pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined)) })),
  NodeRuntime.runMain
)
