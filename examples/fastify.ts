/**
 * A fastify app that upgrades itself. Its server is handed to `Fds.listen` instead of `app.listen`.
 *
 *     PORT=8080 PID_FILE=fastify.pid node --import tsx examples/fastify.ts
 *     kill -HUP $(cat fastify.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import fastify from "fastify"
import { Fds, Upgrader } from "../src/index.ts"

const Api = Layer.scopedDiscard(Effect.gen(function*() {
  const app = yield* Effect.acquireRelease(
    Effect.sync(() => fastify()),
    (app) => Effect.promise(() => app.close())
  )
  app.get("/", (_request, reply) => reply.type("text/plain").send(`hello from process ${process.pid}\n`))
  yield* Effect.promise(() => Promise.resolve(app.ready()))

  const port = yield* Config.integer("PORT").pipe(Config.withDefault(8080))
  const address = yield* Fds.listen(app.server, { port, host: "127.0.0.1" })
  if (address !== null && typeof address === "object") {
    yield* Effect.log(`Listening on http://${address.address}:${address.port}`)
  }
}))

Upgrader.launch(Api).pipe(
  Effect.provide(Upgrader.layerConfig({ pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined)) })),
  NodeRuntime.runMain
)
