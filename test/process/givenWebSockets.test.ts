import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { start } from "../kit/processes.ts"
import { run } from "../kit/tableflip.ts"
import { reload, upgrade } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"
import { answeredBy, connect } from "../kit/webSockets.ts"

const startSockets = (app: Record<string, unknown> = {}) => start(fixture("sockets.mjs"), { app })

const liveThrough = (app: Record<string, unknown>) =>
  Effect.flatMap(startSockets(app), (handle) => goOn(handle, upgrade))

const goOn = (handle: Handle, next: typeof upgrade) =>
  Effect.gen(function*() {
    let last = yield* handle.up(1)
    const clients = yield* Effect.replicateEffect(connect(last.port), 40, { concurrency: 10 })
    for (let count = 0; count < 5; count++) {
      const { pid } = last
      yield* eventually("each to be answered here", () => clients.every((client) => answeredBy(client, pid)))
      const { next: newer, report } = yield* next(handle, last)
      assert.deepStrictEqual([report.open, report.handedOver, report.webSockets], [40, 40, 0])
      assert.strictEqual(handle.count(new RegExp(`^CLOSED ${pid} 1012`)), 40)
      last = newer
    }
    yield* eventually("each to be answered at last", () => clients.every((client) => answeredBy(client, last.pid)))
    assert.deepStrictEqual(clients.flatMap(({ wrong }) => wrong), [])
    assert.deepStrictEqual(clients.flatMap(({ code }) => code ?? []), [])
    for (const client of clients) assert.isAbove(client.pushed, 10)
    return { clients, handle }
  })

describe.runIf(isLinux)("WebSockets of ws that the app gives", () => {
  it.scopedLive(
    "live through five upgrades, with the numbers of both sides going on where they were",
    () =>
      Effect.map(
        liveThrough({}),
        ({ handle }) => assert.strictEqual(handle.count(/^CLOSED \d+ 1012 0$/), 5)
      ),
    120_000
  )

  it.scopedLive(
    "are opened once more by handlers that take a while for it",
    () => liveThrough({ slow: true, shape: "numbers" }),
    120_000
  )

  it.scopedLive("live through five reloads under tableflip", () =>
    Effect.gen(function*() {
      const address = { host: "127.0.0.1", port: yield* freePort }
      const handle = yield* run({
        options: ["--listen", `${address.host}:${address.port}`, "--ready-wire"],
        command: [process.execPath, fixture("sockets.mjs")],
        app: { listen: address }
      })
      yield* goOn(handle, reload)
    }), 120_000)
})

/** A client whose request for a WebSocket has come by half. */
const connectHalf = (port: number) =>
  Effect.acquireRelease(
    Effect.async<net.Socket>((resume) => {
      const socket = net.connect(port, "127.0.0.1", () => {
        socket.write(`GET / HTTP/1.1\r\nHost: here\r\n`, () => resume(Effect.succeed(socket)))
      })
      socket.on("error", () => {})
      socket.resume()
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const otherHalf = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/** It is opened by the older process, while that drains. */
const openWhileDraining = (app: Record<string, unknown>) =>
  Effect.gen(function*() {
    const handle = yield* startSockets(app)
    const first = yield* handle.up(1)
    const socket = yield* connectHalf(first.port)
    yield* Effect.sleep("200 millis")
    const upgrading = yield* Effect.fork(upgrade(handle, first))
    yield* handle.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
    yield* Effect.sleep("200 millis")
    socket.write(otherHalf)
    const { report } = yield* Fiber.join(upgrading)
    assert.deepStrictEqual([report.inFlight, report.handedOver, report.forced], [1, 1, 0])
  })

describe.runIf(isLinux)("WebSockets that are opened while their process drains", () => {
  it.scopedLive("go to the new process", () => openWhileDraining({}))

  it.scopedLive("go to the new process when they are those of the platform", () =>
    Effect.flatMap(directory, (folder) => openWhileDraining({ journal: path.join(folder, "journal") })))
})

describe.runIf(isLinux)("WebSockets of the platform that the app gives", () => {
  it.scopedLive(
    "live through five upgrades, each handler with all that it does in the end before the next one",
    () =>
      Effect.gen(function*() {
        const journal = path.join(yield* directory, "journal")
        const { clients } = yield* liveThrough({ journal })
        const lines = fs.readFileSync(journal, "utf8").split("\n")
        for (const { port } of clients) {
          const seen = lines.filter((line) => line.startsWith(`${port} `)).map((line) => line.slice(`${port} `.length))
          const expected = [1, 2, 3, 4, 5].flatMap((generation) => [`begins ${generation}`, `ends ${generation}`])
          assert.deepStrictEqual(seen, [...expected, "begins 6"])
        }
      }),
    120_000
  )

  it.scopedLive(
    "are opened once more by handlers that take a while for it",
    () =>
      Effect.flatMap(
        directory,
        (folder) => liveThrough({ slow: true, shape: "numbers", journal: path.join(folder, "journal") })
      ),
    120_000
  )
})

describe.runIf(isLinux)("WebSockets are told to connect again", () => {
  const told = (app: Record<string, unknown>, path?: string, deflate?: boolean, says = /^/) =>
    Effect.gen(function*() {
      const handle = yield* startSockets(app)
      const first = yield* handle.up(1)
      const client = yield* connect(first.port, path, deflate)
      yield* eventually("it to be answered", () => answeredBy(client, first.pid))
      const { report } = yield* upgrade(handle, first)
      yield* eventually("it to be closed", () => client.code !== undefined)
      assert.strictEqual(client.code, 1012)
      assert.deepStrictEqual(client.wrong, [])
      yield* eventually("it to be told", () => says.test(handle.dump()))
      return [report.handedOver, report.sentAway, report.webSockets]
    })

  it.scopedLive("when the new release refuses them", () =>
    Effect.map(told({}, "/refused"), (counts) => assert.deepStrictEqual(counts, [1, 0, 0])))

  it.scopedLive("when a handler of the platform in the new release refuses them, and that has ended then", () =>
    Effect.gen(function*() {
      const journal = path.join(yield* directory, "journal")
      assert.deepStrictEqual(yield* told({ journal }, "/refused"), [1, 0, 0])
      yield* eventually(
        "the handlers of both to end",
        () => /^\d+ begins 1\n\d+ ends 1\n(?:\d+ begins 2\n\d+ ends 2\n)$/.test(fs.readFileSync(journal, "utf8"))
      )
    }))

  it.scopedLive("when the new release does not take them", () =>
    told({ upgrader: { environment: { APP: JSON.stringify({ takes: [] }) } } }).pipe(
      Effect.map((counts) => assert.deepStrictEqual(counts, [0, 1, 1]))
    ))

  it.scopedLive("when the new release understands their state otherwise, and that is told", () =>
    Effect.gen(function*() {
      const journal = path.join(yield* directory, "journal")
      const newer = (app: object) => ({ upgrader: { environment: { APP: JSON.stringify(app) } } })
      const says = /WARN.*The state .*count\.v1.* at pushed: .*; its connection is closed/i
      for (const app of [{}, { journal }]) {
        const otherwise = { ...app, shape: "numbers", ...newer({ ...app, shape: "texts" }) }
        assert.deepStrictEqual(yield* told(otherwise, "/", false, says), [1, 0, 0])
      }
    }))

  it.scopedLive("when their state is not of the shape that the app says, and that is told", () =>
    Effect.map(
      told({ shape: "texts" }, "/", false, /HandOverError: The state "count\.v1" .* at pushed: /),
      (counts) => assert.deepStrictEqual(counts, [0, 1, 1])
    ))

  it.scopedLive("when they compress what they send", () =>
    Effect.map(
      told({ deflate: true }, "/", true),
      (counts) => assert.deepStrictEqual(counts, [0, 1, 1])
    ))
})
