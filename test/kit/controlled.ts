/** A program whose code can be replaced, with a control socket. */
import * as Effect from "effect/Effect"
import * as path from "node:path"
import { ask } from "./clients.ts"
import { deploy, directory, goodVersion } from "./files.ts"
import { start } from "./processes.ts"

export const controlled = (upgrader: object = {}) =>
  Effect.gen(function*() {
    const dir = yield* directory
    const socket = path.join(dir, "control.sock")
    const program = path.join(dir, "app.mjs")
    yield* deploy(program, goodVersion())
    const app = yield* start(program, { app: { control: socket, upgrader } })
    const up = yield* app.up(1)
    return { app, dir, program, socket, up }
  })

export const slowRequest = (port: number, millis: number) =>
  Effect.fork(Effect.either(ask(port, { path: `/?slow=${millis}`, within: 30_000 })))
