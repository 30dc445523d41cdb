/**
 * A server of node:http, without Effect's own HTTP, and the steps of `Upgrader.launch` spelled out in its main.
 *
 *     PORT=8080 PID_FILE=plain-node.pid node --import tsx examples/plain-node.ts
 *     kill -HUP $(cat plain-node.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect } from "effect"
import { createServer } from "node:http"
import { Fds, Upgrader } from "../src/index.ts"

const server = createServer((_request, response) => {
  response.end(`hello from process ${process.pid}\n`)
})

const main = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const port = yield* Config.integer("PORT").pipe(Config.withDefault(8080))
  // Bound from here on, accepting from `ready` on: whatever the program has to load first, nobody waits for it.
  const address = yield* Fds.listen(server, { port, host: "127.0.0.1" })
  yield* Effect.addFinalizer(() => Effect.zipRight(upgrader.stop, upgrader.drain))
  yield* upgrader.ready
  if (address !== null && typeof address === "object") {
    yield* Effect.log(`Listening on http://${address.address}:${address.port}`)
  }
  yield* upgrader.exit
})

const UpgraderLive = Upgrader.layerConfig({
  pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined))
})

main.pipe(
  Effect.scoped,
  Effect.provide(UpgraderLive),
  NodeRuntime.runMain
)
