/** The same in two workers, with one more process. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import * as Fds from "../../src/Fds.ts"
import * as Workers from "../../src/Workers.ts"

const address = { host: "127.0.0.1", port: Number(process.env["PORT"]) }

const App = Layer.scopedDiscard(
  Effect.suspend(() =>
    Fds.listen(createServer((_request, response) => response.end(`process ${process.pid}`)), address)
  )
)

Workers.launch(App, {
  size: 2,
  listen: [address],
  pidFile: process.env["PID_FILE"],
  processes: { idle: Workers.server(Layer.empty) }
}).pipe(NodeRuntime.runMain)
