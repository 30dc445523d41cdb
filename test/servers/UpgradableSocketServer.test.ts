import * as SocketServer from "@effect/platform/SocketServer"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { once } from "node:events"
import * as net from "node:net"
import * as UpgradableSocketServer from "../../src/UpgradableSocketServer.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { eventually } from "../kit/waiting.ts"

const Server = UpgradableSocketServer.layer({ host: "127.0.0.1", port: 0, allowHalfOpen: false }).pipe(
  Layer.provideMerge(Upgrader.layerStub)
)

const portOf = (address: unknown) => (address as { readonly port: number }).port

/** Both ends are in this process. */
const openConnections = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length

describe("UpgradableSocketServer", () => {
  it.scopedLive("outlives connections that are reset before it runs, and serves those that are left", () =>
    Effect.gen(function*() {
      const server = yield* SocketServer.SocketServer
      const upgrader = yield* Upgrader.Upgrader
      yield* upgrader.ready
      const before = openConnections()
      const connect = () => net.connect(portOf(server.address), "127.0.0.1").on("error", () => {})
      const broken = Array.from({ length: 3 }, connect)
      yield* Effect.promise(() => Promise.all(broken.map((client) => once(client, "connect"))))
      yield* eventually("the server to have accepted them", () => openConnections() === before + 6)
      broken.forEach((client) => client.resetAndDestroy())
      yield* eventually("both ends to be gone", () => openConnections() === before)
      const client = connect()
      yield* Effect.promise(() => once(client, "connect"))
      let handled = 0
      const first = yield* Deferred.make<void>()
      yield* Effect.forkScoped(server.run(() =>
        Effect.suspend(() => {
          handled += 1
          return Deferred.succeed(first, void 0)
        })
      ))
      yield* Deferred.await(first)
      yield* Effect.promise(() => once(client.resume(), "close"))
      assert.strictEqual(handled, 1)
    }).pipe(Effect.provide(Server), Effect.timeout("10 seconds")))
})
