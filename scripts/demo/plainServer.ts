/**
 * For contrast: the same hand-over of the same socket, after which the old process does what most programs do, which is
 * to call `server.close()` and end when that is done.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Fds from "../../src/Fds.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const server = createServer((_request, response) => {
  response.end(String(process.pid))
})

process.on("exit", (code) => console.log(`Process ${process.pid} exits with ${code}`))

const main = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const { port } = (yield* Fds.listen(server, { port: 0, host: "127.0.0.1" })) as AddressInfo
  console.log(`Listening on http://127.0.0.1:${port}`)
  yield* upgrader.ready
  yield* upgrader.exit
  // Before the scope is closed, which would drain.
  yield* Effect.async<never>(() => {
    server.close(() => process.exit())
  })
})

main.pipe(
  Effect.scoped,
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
