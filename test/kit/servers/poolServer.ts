/**
 * A pool of HTTP servers. It tells in lines on standard output, which all its processes share, what becomes of it, and its
 * primary takes commands over HTTP.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as http from "node:http"
import * as Fds from "../../../src/Fds.ts"
import * as Upgrader from "../../../src/Upgrader.ts"
import * as Workers from "../../../src/Workers.ts"

const api = { port: 0, host: "127.0.0.1", name: "api" }
const admin = { port: 0, host: "127.0.0.1", name: "admin" }

// Synchronous, so that the last words of a process are not lost.
const say = (...words: ReadonlyArray<string | number>) => fs.writeSync(1, `${words.join(" ")}\n`)

const App = Layer.scopedDiscard(Effect.gen(function*() {
  const server = http.createServer((_, response) => void response.end(String(process.pid)))
  const address = yield* Fds.listen(server, api)
  process.on(
    "SIGUSR2",
    () => server.getConnections((_, count) => void say("HELD", process.pid, count))
  )
  say("PORT", (address as { port: number }).port)
}))

const Admin = Layer.scopedDiscard(Effect.gen(function*() {
  const workers = yield* Workers.Workers
  const upgrader = yield* Upgrader.Upgrader
  const server = http.createServer((request, response) => {
    const [, name, size] = (request.url ?? "").split("/")
    const command: Effect.Effect<string, Error> = name === "replace"
      ? Effect.as(workers.replace, "replaced")
      : name === "resize"
      ? Effect.as(workers.resize(Number(size)), "resized")
      : Effect.map(workers.status, (rows) => JSON.stringify(rows))
    void Effect.runPromise(Effect.match(command, {
      onSuccess: (text) => response.end(text),
      onFailure: (error) => response.writeHead(500).end(error.message)
    }))
  })
  const address = yield* Fds.listen(server, admin)
  yield* Effect.forkScoped(
    Effect.zipRight(upgrader.waitForParent, Effect.sync(() => say("ALONE", process.pid)))
  )
  say("ADMIN", (address as { port: number }).port)
}))

Workers.launch(App, { size: 2, listen: [api], main: Workers.main(Admin) }).pipe(NodeRuntime.runMain)
