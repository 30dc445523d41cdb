/** A pool of as many workers as its first argument says; two by default. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Upgrader from "../../src/Upgrader.ts"
import * as Workers from "../../src/Workers.ts"
import { address, App, say } from "./app.ts"

const main = Layer.scopedDiscard(
  Effect.gen(function*() {
    const upgrader = yield* Upgrader.Upgrader
    yield* Effect.forkScoped(Effect.zipRight(upgrader.waitForParent, Effect.sync(() => say("ALONE", process.pid))))
  })
)

Workers.launch(App, { size: Number(process.argv[2] ?? 2), listen: [address], main: Workers.main(main) }).pipe(
  NodeRuntime.runMain
)
