/** What runs under `tableflip run`. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Upgrader from "../../src/Upgrader.ts"
import { App } from "./app.ts"

Upgrader.launch(App).pipe(
  Effect.provide(Upgrader.layer()),
  NodeRuntime.runMain
)
