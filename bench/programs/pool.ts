/** A pool of as many workers as its first argument says; two by default. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Workers from "../../src/Workers.ts"
import { sayAlone } from "./alone.ts"
import { address, App } from "./app.ts"

Workers.launch(App, { size: Number(process.argv[2] ?? 2), listen: [address], main: Workers.main(sayAlone) }).pipe(
  NodeRuntime.runMain
)
