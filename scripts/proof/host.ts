/** What each host of a fleet runs. A release is a file that sets `RELEASE`, and `UNWELL` to the hosts on which it is not well. */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { createServer } from "node:http"
import { Control, Fds, Health, Upgrader } from "../../src/index.ts"

const { HOST_NAME = "", HOST_PORT, RELEASE, UNWELL = "" } = process.env

const App = Layer.scopedDiscard(Effect.gen(function*() {
  const health = yield* Health.make({ delay: "1 second" })
  // Longer than the balancer keeps a connection that nobody uses.
  const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    request.resume()
    if (request.url !== "/health") return response.end(`release ${RELEASE}, process ${process.pid}\n`)
    if (UNWELL.split(" ").includes(HOST_NAME)) return response.writeHead(500).end()
    return health.answer(response)
  })
  yield* Fds.listen(server, { port: Number(HOST_PORT), host: "127.0.0.1" })
}))

Upgrader.launch(Layer.merge(App, Control.layer({ path: "control.sock" }))).pipe(
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
