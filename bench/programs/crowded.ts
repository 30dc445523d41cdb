/**
 * A server of HTTP and WebSockets that tells of itself what an upgrade costs it. `END` is how its older process gets rid of
 * its connections: `handOver`, `drain`, or `close` as most programs do it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"
import * as Fds from "../../src/Fds.ts"
import * as HandOver from "../../src/HandOver.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { megabytes } from "../../test/kit/proc.ts"

// Synchronous, so that the last words of a process are not lost.
const say = (...words: ReadonlyArray<string | number>): void => void fs.writeSync(1, `${words.join(" ")}\n`)

const end = process.env["END"]
const key = "echo.v1"
const nothing = new Uint8Array()

/** Milliseconds between two looks at the clock. */
const interval = 2
let longest = 0
let before = performance.now()
let worked = process.cpuUsage()
setInterval(() => {
  const now = performance.now()
  const { system, user } = process.cpuUsage(worked)
  // What other processes have taken of the processor meanwhile is not this one's work.
  longest = Math.max(longest, Math.min(now - before - interval, (system + user) / 1_000))
  before = now
  worked = process.cpuUsage()
}, interval).unref()
let used = process.cpuUsage()

const reset = () => {
  longest = 0
  used = process.cpuUsage()
}

const tell = () => {
  const { system, user } = process.cpuUsage(used)
  say(
    "COST",
    process.pid,
    JSON.stringify({
      blocked: Math.round(longest),
      cpu: Math.round((system + user) / 1_000),
      megabytes: megabytes(process.pid)
    })
  )
}

process.on("SIGUSR2", () => {
  tell()
  reset()
})
process.on("exit", (code) => {
  tell()
  say("EXIT", process.pid, code)
})

const server = http.createServer((_, response) => response.end(String(process.pid)))
// Who waits for the others to connect is not to be closed for it.
server.keepAliveTimeout = 120_000
const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
webSockets.on("connection", (webSocket, request) => {
  webSocket.on("error", () => webSocket.terminate())
  webSocket.on("message", (message) => webSocket.send(String(message)))
  HandOver.giveConnection(request, key, () => Option.some(nothing))
})

/** What the peers of the other figures are given, too. */
const grace = 1_600

const close = () => {
  server.close(() => process.exit())
  for (const webSocket of webSockets.clients) webSocket.close(1012)
  setTimeout(() => process.exit(), grace)
}

const main = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const { port } = (yield* Fds.listen(server, { port: 0, host: "127.0.0.1" }, { takes: [key] })) as AddressInfo
  say("PORT", port)
  yield* upgrader.ready
  reset()
  say("UP", process.pid)
  yield* Effect.forkScoped(Effect.zipRight(upgrader.waitForParent, Effect.sync(() => say("ALONE", process.pid))))
  yield* upgrader.exit
  if (end !== "close") return
  // Before the scope is closed, which would drain.
  close()
  yield* Effect.never
})

main.pipe(
  Effect.scoped,
  Effect.provide(Upgrader.layer({ handOver: end === "handOver" })),
  NodeRuntime.runMain
)
