/** A server that starts fast: what is soaked is the hand-over. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import * as Fds from "../../src/Fds.ts"
import * as Upgrader from "../../src/Upgrader.ts"

const port = Number(process.env["PORT"])

const App = Layer.scopedDiscard(
  Effect.suspend(() =>
    Fds.listen(createServer((_request, response) => response.end(`process ${process.pid}`)), {
      host: "127.0.0.1",
      port
    })
  )
)

Upgrader.launch(App).pipe(
  Effect.provide(Upgrader.layer({ pidFile: process.env["PID_FILE"] })),
  NodeRuntime.runMain
)
