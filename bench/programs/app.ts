/** The server of the pool and of the supervised program, and how they say what becomes of them. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import type { AddressInfo } from "node:net"
import * as Fds from "../../src/Fds.ts"
import type { Protocol } from "../../test/kit/servers/apps.ts"
import { createServer } from "../../test/kit/servers/apps.ts"

// Synchronous, so that the last words of a process are not lost.
const say = (...words: ReadonlyArray<string | number>): void => void fs.writeSync(1, `${words.join(" ")}\n`)

process.on("exit", () => say("EXIT", process.pid, process.exitCode ?? 0))

export const address = { port: Number(process.env["PORT"] ?? 0), host: "127.0.0.1" }

export const App = Layer.scopedDiscard(Effect.suspend(() =>
  Effect.map(
    Fds.listen(createServer((process.env["PROTOCOL"] ?? "http") as Protocol), address),
    (bound) => {
      say("PORT", (bound as AddressInfo).port)
      say("UP", process.pid)
    }
  )
))
