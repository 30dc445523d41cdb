/**
 * The same hand-over of the same socket as ours, after which the old process does what most programs do: it calls
 * `server.close()` and ends when that is done.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import type { AddressInfo } from "node:net"
import * as Fds from "../../src/Fds.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { makeApp, say } from "./ending.ts"

const { close, server } = makeApp()

const main = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const { port } = (yield* Fds.listen(server, { port: 0, host: "127.0.0.1" })) as AddressInfo
  say("PORT", port)
  yield* upgrader.ready
  say("UP", process.pid)
  // Until then it would refuse the next upgrade.
  yield* Effect.forkScoped(Effect.zipRight(upgrader.waitForParent, Effect.sync(() => say("ALONE", process.pid))))
  yield* upgrader.exit
  // Before the scope is closed, which would drain.
  close()
  yield* Effect.never
})

main.pipe(
  Effect.scoped,
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
