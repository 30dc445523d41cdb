/**
 * What plain NodeHttpServer does at both ends of its life, and what becomes of it on a managed socket. The tests that
 * say so fail on plain NodeHttpServer, which is asserted too.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as http from "node:http"
import * as http2 from "node:http2"
import * as https from "node:https"
import type * as net from "node:net"
import type * as Fds from "../../src/Fds.ts"
import * as UpgradableHttpServer from "../../src/UpgradableHttpServer.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { certificate } from "../kit/certificate.ts"
import { isEffect4 } from "../kit/effect.ts"
import { until } from "../kit/waiting.ts"

const address = { port: 0, host: "127.0.0.1" }

const portOf = Effect.map(HttpServer.HttpServer, ({ address }) => (address as { readonly port: number }).port)

/** One request on a connection of its own. Fails with what the client sees when the server lets it down. */
const ask = (port: number, options: http.RequestOptions = {}, body?: string) =>
  Effect.async<{ readonly status: number; readonly headers: http.IncomingHttpHeaders; readonly body: string }, Error>(
    (resume) => {
      const request = http.request({ port, host: "127.0.0.1", agent: false, ...options }, (response) => {
        const chunks: Array<Buffer> = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.on("error", (error) => resume(Effect.fail(error)))
        response.on("end", () =>
          resume(Effect.succeed({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString()
          })))
      })
      request.on("error", (error) => resume(Effect.fail(error)))
      request.end(body)
      return Effect.sync(() => request.destroy())
    }
  )

const hangs = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(
    Effect.exit(Effect.timeoutFail(effect, { duration: "300 millis", onTimeout: () => "hangs" as const })),
    (exit) => Exit.isFailure(exit) && Option.contains(Cause.failureOption(exit.cause), "hangs")
  )

/** New connections are refused as soon as the server has stopped accepting. */
const untilRefused = (port: number) =>
  Effect.retry(Effect.flip(ask(port)), { schedule: Schedule.spaced("5 millis"), times: 200 })

const hello = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text("hello")),
  HttpRouter.post(
    "/echo",
    Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      (request) => Effect.map(request.text, (text) => HttpServerResponse.text(text))
    )
  ),
  HttpRouter.get(
    "/stream",
    HttpServerResponse.stream(
      Stream.range(1, 5).pipe(Stream.map((n) => new TextEncoder().encode(`${n} `)), Stream.tap(() => Effect.sleep(20)))
    )
  )
)

describe("a server whose routes are not attached yet", () => {
  it.scopedLive("hangs on plain NodeHttpServer", () =>
    Effect.gen(function*() {
      const port = yield* portOf
      assert.isTrue(yield* hangs(ask(port)))
    }).pipe(Effect.provide(NodeHttpServer.layerServer(() => http.createServer(), address))))

  it.scopedLive("refuses until ready on a managed socket, and answers every request from then on", () =>
    Effect.gen(function*() {
      const port = yield* portOf
      const upgrader = yield* Upgrader.Upgrader
      const refused = yield* Effect.flip(ask(port))
      assert.strictEqual((refused as NodeJS.ErrnoException).code, "ECONNREFUSED")
      yield* HttpServer.serveEffect(hello)
      yield* upgrader.ready
      assert.strictEqual((yield* ask(port)).body, "hello")
    }).pipe(
      Effect.provide(UpgradableHttpServer.layer(() => http.createServer(), address)),
      Effect.provide(Upgrader.layerStub)
    ))
})

describe("a server that says where it listens", () => {
  const routes = HttpServer.serve(hello)

  const said = (
    withLogAddress: typeof HttpServer.withLogAddress,
    server: Layer.Layer<HttpServer.HttpServer, unknown, Fds.Fds>
  ) =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.add(Logger.make(({ message }) => void lines.push(String(message))))
      yield* Layer.build(withLogAddress(routes).pipe(Layer.provide(server), Layer.provide(logger)))
      const listening = () => lines.filter((line) => line.startsWith("Listening on http://127.0.0.1:")).length
      yield* Effect.sleep("20 millis")
      const before = listening()
      yield* Effect.flatMap(Upgrader.Upgrader, ({ ready }) => ready)
      yield* until("the line", () => listening() > 0)
      return [before, listening()]
    })

  it.scopedLive("says so before it does, as plain HttpServer has it", () =>
    Effect.gen(function*() {
      const server = UpgradableHttpServer.layer(() => http.createServer(), address)
      assert.deepStrictEqual(yield* said(HttpServer.withLogAddress, server), [1, 1])
    }).pipe(Effect.provide(Upgrader.layerStub)))

  it.scopedLive("says so when it accepts", () =>
    Effect.gen(function*() {
      const server = UpgradableHttpServer.layer(() => http.createServer(), address)
      assert.deepStrictEqual(yield* said(UpgradableHttpServer.withLogAddress, server), [0, 1])
    }).pipe(Effect.provide(Upgrader.layerStub)))

  it.scopedLive("says so at once if it is another server", () =>
    Effect.gen(function*() {
      const server = NodeHttpServer.layer(() => http.createServer(), address)
      assert.deepStrictEqual(yield* said(UpgradableHttpServer.withLogAddress, server), [1, 1])
    }).pipe(Effect.provide(Upgrader.layerStub)))
})

describe("a server that is released", () => {
  class Database extends Context.Tag("Database")<Database, { readonly open: () => boolean }>() {}
  const database = Layer.scoped(
    Database,
    Effect.gen(function*() {
      let open = true
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          open = false
        })
      )
      return { open: () => open }
    })
  )

  /** Handlers take a moment, and say whether their service was still there when they answered. */
  const slow = (onStart: Effect.Effect<unknown>) =>
    HttpRouter.empty.pipe(
      HttpRouter.get(
        "/",
        Effect.gen(function*() {
          const { open } = yield* Database
          yield* onStart
          yield* Effect.sleep("200 millis")
          return HttpServerResponse.text(open() ? "with its services" : "without")
        })
      )
    )

  it.scopedLive("answers what is in flight and what comes on open connections, with its services, while launch drains", () =>
    Effect.gen(function*() {
      const started = yield* Queue.unbounded<void>()
      const ports = yield* Deferred.make<number>()
      const app = HttpServer.serve(slow(Queue.offer(started, void 0))).pipe(
        Layer.merge(Layer.effectDiscard(Effect.flatMap(portOf, (port) => Deferred.succeed(ports, port)))),
        Layer.provide(database),
        Layer.provide(UpgradableHttpServer.layer(() => http.createServer(), address))
      )
      const upgrader = yield* Upgrader.Upgrader
      const launched = yield* Effect.fork(Upgrader.launch(app))
      const port = yield* Deferred.await(ports)
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
      yield* Effect.retry(ask(port, { agent }), { schedule: Schedule.spaced("5 millis"), times: 200 })
      // The connection of the agent is idle now. One request is in flight on another one when the word comes.
      const inFlight = yield* Effect.fork(ask(port))
      yield* Queue.takeN(started, 2)
      yield* upgrader.stop
      yield* untilRefused(port)
      const onIdle = yield* ask(port, { agent })
      assert.strictEqual(onIdle.body, "with its services")
      assert.strictEqual(onIdle.headers.connection, "close")
      assert.strictEqual((yield* inFlight).body, "with its services")
      assert.strictEqual((yield* launched)._tag, "Stopped")
    }).pipe(Effect.provide(Upgrader.layerStub)))

  /** Launches an app whose handler has a finalizer, asks it once, and stops it when it has answered. */
  const outlived = (finalizer: (open: () => boolean) => Effect.Effect<void>, handlerTimeout?: string) =>
    Effect.gen(function*() {
      const ports = yield* Deferred.make<number>()
      const app = HttpServer.serve(HttpRouter.empty.pipe(
        HttpRouter.get(
          "/",
          Effect.gen(function*() {
            const { open } = yield* Database
            yield* Effect.addFinalizer(() => finalizer(open))
            return HttpServerResponse.text("ok")
          })
        )
      )).pipe(
        Layer.merge(Layer.effectDiscard(Effect.flatMap(portOf, (port) => Deferred.succeed(ports, port)))),
        Layer.provide(database),
        Layer.provide(UpgradableHttpServer.layer(() => http.createServer(), address, {
          handlerTimeout: handlerTimeout as "1 second" | undefined
        }))
      )
      const upgrader = yield* Upgrader.Upgrader
      const launched = yield* Effect.fork(Upgrader.launch(app))
      const port = yield* Deferred.await(ports)
      const answer = yield* Effect.retry(ask(port), { schedule: Schedule.spaced("5 millis"), times: 200 })
      assert.strictEqual(answer.body, "ok")
      yield* upgrader.stop
      return yield* launched
    }).pipe(Effect.provide(Upgrader.layerStub))

  it.scopedLive("keeps its services for what a handler does after its response", () =>
    Effect.gen(function*() {
      let wasOpen: boolean | undefined
      const ended = yield* outlived((open) =>
        Effect.sleep("700 millis").pipe(Effect.zipRight(Effect.sync(() => {
          wasOpen = open()
        })))
      )
      assert.strictEqual(ended._tag, "Stopped")
      assert.isTrue(wasOpen)
    }))

  it.scopedLive("does not wait for ever for a handler that does not end", () =>
    Effect.map(outlived(() => Effect.never, "200 millis"), (ended) => assert.strictEqual(ended._tag, "Stopped")))

  // That of Effect 4 keeps its routes until its connections are closed.
  it.scopedLive.skipIf(isEffect4)(
    "hangs on plain NodeHttpServer for a request that comes while it closes",
    () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(
          HttpServer.serve(slow(Deferred.succeed(started, void 0))).pipe(
            Layer.provide(database),
            Layer.provideMerge(NodeHttpServer.layerServer(() => http.createServer(), address))
          ),
          scope
        )
        const port = yield* Effect.provide(portOf, context)
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
        yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
        const inFlight = yield* Effect.fork(ask(port, { agent }))
        yield* Deferred.await(started)
        const closed = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* inFlight
        assert.isTrue(yield* hangs(ask(port, { agent })))
        agent.destroy()
        yield* Fiber.join(closed)
      })
  )
})

describe("UpgradableHttpServer", () => {
  const running = Effect.gen(function*() {
    yield* HttpServer.serveEffect(hello)
    yield* (yield* Upgrader.Upgrader).ready
    return yield* portOf
  })
  const layers = UpgradableHttpServer.layer(() => http.createServer(), address).pipe(
    Layer.provideMerge(Upgrader.layerStub)
  )

  it.scopedLive("serves what NodeHttpServer serves: bodies and streams", () =>
    Effect.gen(function*() {
      const port = yield* running
      assert.strictEqual((yield* ask(port, { path: "/echo", method: "POST" }, "some text")).body, "some text")
      assert.strictEqual((yield* ask(port, { path: "/stream" })).body, "1 2 3 4 5 ")
      assert.strictEqual((yield* ask(port, { path: "/nowhere" })).status, 404)
    }).pipe(Effect.provide(layers)))

  it.scopedLive("serves HTTP/2 and HTTP/1 on a server of node:http2", () =>
    Effect.gen(function*() {
      const port = yield* running
      const to = { port, host: "127.0.0.1", rejectUnauthorized: false }
      const bodyOf = (open: () => NodeJS.ReadableStream) =>
        Effect.async<string, Error>((resume) => {
          let text = ""
          open().setEncoding("utf8").on("data", (part: string) => {
            text += part
          }).on("end", () => resume(Effect.succeed(text))).on("error", (error) => resume(Effect.fail(error)))
        })
      const session = http2.connect(`https://127.0.0.1:${port}`, to)
      const over2 = (path: string) => bodyOf(() => session.request({ ":path": path }))
      assert.strictEqual(yield* over2("/"), "hello")
      assert.strictEqual(yield* over2("/stream"), "1 2 3 4 5 ")
      session.close()
      const response = yield* Effect.async<http.IncomingMessage>((resume) => {
        https.get({ ...to, agent: false }, (response) => resume(Effect.succeed(response)))
      })
      assert.strictEqual(yield* bodyOf(() => response), "hello")
    }).pipe(
      Effect.provide(
        UpgradableHttpServer.layer(() => http2.createSecureServer({ ...certificate, allowHTTP1: true }), address)
      ),
      Effect.provide(Upgrader.layerStub)
    ))

  it.scopedLive("takes its address from Config", () =>
    Effect.gen(function*() {
      const port = yield* running
      assert.strictEqual((yield* ask(port)).body, "hello")
    }).pipe(
      Effect.provide(UpgradableHttpServer.layerConfig(() => http.createServer(), {
        port: Config.integer("PORT"),
        host: Config.succeed("127.0.0.1")
      })),
      Effect.provide(Upgrader.layerStub),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["PORT", "0"]])))
    ))

  it.scopedLive("tells a taken port by a typed error, when it is ready at the latest", () =>
    Effect.gen(function*() {
      const taken = yield* Effect.acquireRelease(
        Effect.async<http.Server>((resume) => {
          const server = http.createServer()
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = taken.address() as net.AddressInfo
      const error = yield* Effect.gen(function*() {
        yield* HttpServer.serveEffect(hello)
        yield* (yield* Upgrader.Upgrader).ready
      }).pipe(
        Effect.provide(UpgradableHttpServer.layer(() => http.createServer(), { port, host: "127.0.0.1" })),
        Effect.scoped,
        Effect.provide(Upgrader.layerStub),
        Effect.flip
      )
      assert(error._tag === "ListenError")
      assert.strictEqual(error.reason, "AddressInUse")
      assert.include(error.message, `127.0.0.1:${port}`)
    }))
})
