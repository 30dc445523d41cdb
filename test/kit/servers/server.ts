/**
 * The program that is upgraded. It tells in lines on standard output, which all its generations share, what becomes of it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as http from "node:http"
import * as https from "node:https"
import { createRequire } from "node:module"
import * as net from "node:net"
import * as Fds from "../../../src/Fds.ts"
import * as UpgradableHttpServer from "../../../src/UpgradableHttpServer.ts"
import * as Upgrader from "../../../src/Upgrader.ts"
import { certificate } from "../certificate.ts"
import { createServer } from "./apps.ts"
import * as counting from "./counting.ts"
import { answering, echo } from "./echo.ts"
import type { Drained, Settings } from "./settings.ts"

// Synchronous, so that the last words of a process are not lost.
const say = (...words: ReadonlyArray<string | number>) => fs.writeSync(1, `${words.join(" ")}\n`)

say("EFFECT", createRequire(import.meta.url)("effect/package.json").version)

const settings: Settings = JSON.parse(process.env["PROOF"] ?? `{"mode":"platform"}`)
const address = { port: settings.port ?? 0, host: "127.0.0.1" }

const withTimeout = (server: net.Server): net.Server =>
  settings.keepAliveTimeout === undefined
    ? server
    : Object.assign(server, { keepAliveTimeout: settings.keepAliveTimeout })

const told = (bound: net.AddressInfo | string | null) => say("PORT", (bound as net.AddressInfo).port)

const { takes } = counting

const listen = (server: net.Server, options?: Fds.ServeOptions) =>
  Effect.map(Fds.listen(server, address, options), told)

const tcp = (goodbye: boolean) =>
  Effect.gen(function*() {
    const upgrader = yield* Upgrader.Upgrader
    const open = new Set<net.Socket>()
    yield* upgrader.onDrain(() =>
      Effect.sync(() => {
        if (goodbye) { for (const socket of open) socket.write("bye\n") }
      })
    )
    let draining = false
    yield* upgrader.onDrain(() => Effect.sync(() => void (draining = true)))
    yield* listen(net.createServer((socket) => {
      open.add(socket)
      socket.on("close", () => open.delete(socket)).on("error", () => socket.destroy())
      socket.pipe(socket)
      if (goodbye && draining) socket.write("bye\n")
    }))
  })

const udp = Effect.gen(function*() {
  const socket = yield* Fds.packet(address)
  socket.on("message", (message, { address, port }) => socket.send(message, port, address))
  told(socket.address())
})

const count = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => answering(counting.begin(request).hear))

const platform = (createServer: () => http.Server, options?: UpgradableHttpServer.Options) =>
  HttpRouter.empty.pipe(
    HttpRouter.all("/", HttpServerResponse.text(String(process.pid))),
    HttpRouter.get("/echo", echo),
    HttpRouter.get("/count", count),
    HttpServer.serve(),
    Layer.merge(Layer.effectDiscard(HttpServer.HttpServer.pipe(
      Effect.flatMap((server) => Effect.sync(() => say("PORT", (server.address as { readonly port: number }).port)))
    ))),
    Layer.provide(UpgradableHttpServer.layer(createServer, address, options))
  )

const serve = () => {
  switch (settings.mode) {
    case "platform":
      return platform(() => http.createServer())
    case "platform-given":
      return platform(() => http.createServer(), { takes })
    case "platform-https":
      return platform(() => https.createServer(certificate))
    case "http":
    case "https":
    case "http2":
    case "http2-clear":
    case "ws":
      return Layer.scopedDiscard(listen(withTimeout(createServer(settings.mode))))
    case "ws-given":
      return Layer.scopedDiscard(listen(counting.webSockets(), { takes }))
    case "tcp-given":
      return Layer.scopedDiscard(listen(counting.sockets(), { takes }))
    case "tcp":
    case "tcp-goodbye":
      return Layer.scopedDiscard(tcp(settings.mode === "tcp-goodbye"))
    case "udp":
      return Layer.scopedDiscard(udp)
  }
}

/** By the time of the processor: how long other processes keep this one waiting is theirs. */
let blocked = 0
const watchWork = () => {
  let last = process.cpuUsage()
  setInterval(() => {
    const { system, user } = process.cpuUsage(last)
    last = process.cpuUsage()
    blocked = Math.max(blocked, (system + user) / 1_000)
  }, 5).unref()
}

/** What a program does between listening and being ready. */
const startUp = Effect.gen(function*() {
  const { hasParent } = yield* Upgrader.Upgrader
  watchWork()
  if (!hasParent) return
  yield* Effect.sleep(settings.startDelay ?? 0)
  if (settings.crash === true) yield* Effect.die(new Error("crashed on purpose"))
})

const main = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  yield* Effect.forkScoped(Effect.zipRight(upgrader.waitForParent, Effect.sync(() => say("ALONE", process.pid))))
  const app = Layer.scopedDiscard(Effect.zipRight(Layer.build(serve()), startUp))
  yield* Upgrader.launch(app)
  const { duration, servers } = yield* upgrader.drain
  const drained: Drained = {
    open: servers.reduce((sum, { open }) => sum + open, 0),
    forced: servers.reduce((sum, { forced }) => sum + forced, 0),
    handedOver: servers.reduce((sum, { handedOver }) => sum + handedOver, 0),
    took: Duration.toMillis(duration),
    blocked: Math.round(blocked)
  }
  say("DRAINED", process.pid, JSON.stringify(drained))
})

process.on("exit", () => say("EXIT", process.pid, process.exitCode ?? 0))

main.pipe(
  Effect.scoped,
  Effect.provide(Upgrader.layer({
    drainTimeout: settings.drainTimeout ?? 30_000,
    maxDraining: settings.maxDraining,
    probation: settings.probation
  })),
  NodeRuntime.runMain
)
