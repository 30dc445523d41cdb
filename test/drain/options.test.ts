import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as dgram from "node:dgram"
import * as http from "node:http"
import * as Drain from "../../src/Drain.ts"

const refusedBy = (options: Drain.Options) =>
  Effect.map(Effect.flip(Drain.server(http.createServer(), options)), ({ _tag, option }) => [_tag, option])

describe("options of a drain", () => {
  it.scoped.each<[string, object]>([
    ["drainTimeout", { drainTimeout: "soon" }],
    ["drainTimeout", { drainTimeout: -1 }],
    ["drainTimeout", { drainTimeout: Infinity }],
    ["idleTimeout", { idleTimeout: NaN }],
    ["hookTimeout", { hookTimeout: "-5 seconds" }],
    ["lingerTimeout", { lingerTimeout: "2 fortnights" }],
    ["webSocketSpread", { webSocketSpread: -1 }],
    ["webSocketCloseCode", { webSocketCloseCode: 1000 }]
  ])(
    "%s is named when it is %o",
    ([option, options]) =>
      Effect.map(refusedBy(options), (refused) => assert.deepStrictEqual(refused, ["InvalidOptionError", option]))
  )

  it.scoped("that of a UDP socket too", () =>
    Effect.gen(function*() {
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => dgram.createSocket("udp4")),
        (socket) => Effect.sync(() => socket.close())
      )
      const error = yield* Effect.flip(Drain.packet(socket, { replyTimeout: "soon" as never }))
      assert.strictEqual(error.option, "replyTimeout")
    }))
})

describe("a drain whose beginning throws", () => {
  it.scopedLive("goes on, and is the same for whoever asks again", () =>
    Effect.gen(function*() {
      const server = http.createServer()
      const drainable = yield* Drain.server(server, { drainTimeout: "1 second", sharedSocket: true })
      const on = server.on.bind(server)
      server.on = ((event: string, listener: () => void) => {
        if (event === "listening") throw new Error("an instrumented server")
        return on(event, listener)
      }) as typeof server.on
      const first = yield* drainable.drain
      assert.deepInclude(first, { open: 0, forced: 0 })
      assert.deepStrictEqual(yield* drainable.drain, first)
    }), 5_000)
})
