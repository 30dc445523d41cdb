/**
 * A system that has little but Node, as a distroless image: no shell, and none of the small programs that tableflip asks.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { load } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import type { StartOptions } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { ready, soon } from "../kit/tableflip.ts"
import { canRun, isRoot } from "../kit/users.ts"

/** Where /bin/sh is an empty file, and PATH leads to nothing. */
const runBare = (options: ReadonlyArray<string>, command: ReadonlyArray<string>, rest: StartOptions = {}) =>
  Effect.flatMap(directory, (dir) => {
    const script = ": > \"$0/empty\" && mount --bind \"$0/empty\" /bin/sh && export PATH=\"$0\" && exec \"$@\""
    const args = [process.execPath, bin, "run", ...options, "--", ...command]
    return start(undefined, { ...rest, executable: "unshare", args: ["-m", "sh", "-c", script, dir, ...args] })
  })

const answering = `
import { createServer } from "node:http"
import { Server } from "node:net"
const { LISTEN_FDS, LISTEN_PID } = process.env
console.log("FOUND", process.pid, LISTEN_FDS, LISTEN_PID)
const server = createServer((request, response) => response.setHeader("connection", "close").end(String(process.pid)))
server.listen({ fd: 3 })
// Since Node 26 an http.Server also closes those that have not sent their first request yet.
process.on("SIGTERM", () => Server.prototype.close.call(server, () => process.exit()))
`

const inNode = (program: string) => [process.execPath, "--input-type=module", "-e", program]

describe.runIf(isRoot && canRun("unshare", "-m", "true"))("tableflip run without a shell", () => {
  it.scopedLive(
    "says what it takes, and reloads a program that does not look at LISTEN_PID",
    () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const app = yield* runBare(["--listen", `127.0.0.1:${port}`, ...soon], inNode(answering))
        yield* app.waitFor(/ WARN {2}tableflip: There is no shell \(sh\) here, which LISTEN_PID takes/)
        yield* ready(app, 1)
        yield* app.waitFor(/^FOUND \d+ 1 undefined$/)
        const clients = yield* load(port)
        for (const generation of [2, 3, 4]) {
          yield* signal(app.pid, "SIGHUP")
          yield* app.waitFor(new RegExp(`generation ${generation} has taken over`), "30 seconds")
        }
        yield* clients.stop
        assert.isAbove(clients.answers.size, 2)
        assert.deepStrictEqual(clients.failures, [])
        yield* signal(app.pid, "SIGTERM")
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      }),
    60_000
  )

  it.scopedLive("reloads a program on this library", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const listen = [{ host: "127.0.0.1", port }]
      const app = yield* runBare(
        ["--listen", `127.0.0.1:${port}`, "--ready-wire"],
        [process.execPath, fixture("app.mjs")],
        { app: { listen } }
      )
      yield* ready(app, 1)
      const clients = yield* load(port)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/generation 2 has taken over/, "30 seconds")
      yield* clients.stop
      assert.strictEqual(clients.answers.size, 2)
      assert.deepStrictEqual(clients.failures, [])
    }), 60_000)

  it.scopedLive("passes the output as it is where no pipe can be made, and says so", () =>
    Effect.gen(function*() {
      const app = yield* runBare(
        [...soon, "--output", "capture"],
        inNode(`console.log("HERE"); setInterval(() => {}, 9e5)`)
      )
      yield* app.waitFor(/ WARN {2}tableflip: The output is not captured, no pipe could be made: .*mkfifo/)
      yield* app.waitFor(/^HERE$/)
    }))

  it.scopedLive("refuses a limit of open files, which nobody could set", () =>
    Effect.gen(function*() {
      const app = yield* runBare([...soon, "--open-files", "1024"], [process.execPath, "-e", "0"])
      yield* app.waitFor(
        /^tableflip: --open-files is 1024; it must be left out, because there is no shell \(sh\) here that could set it\./
      )
      assert.strictEqual((yield* app.exit).code, 2)
    }))
})
