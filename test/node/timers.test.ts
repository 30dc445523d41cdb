import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as http from "node:http"
import * as net from "node:net"
import { Duplex } from "node:stream"
import { vi } from "vitest"
import * as Drain from "../../src/Drain.ts"
import * as Node from "../../src/internal/node/internals.ts"
import { connect, get, listen, makeGate } from "../kit/drainClient.ts"
import { eventually } from "../kit/waiting.ts"

const days = (count: number) => count * 24 * 60 * 60 * 1_000

/** The timers that are set meanwhile, in milliseconds. */
const timers = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => vi.spyOn(globalThis, "setTimeout")),
    (spy) => Effect.sync(() => spy.mockRestore())
  ),
  (spy) => () => spy.mock.calls.map(([, delay]) => delay ?? 0)
)

const longest = 2 ** 31 - 1

const end = (options: { readonly setTimeout?: (delay: number, over: () => void) => void } = {}) =>
  Object.assign(
    new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done(), emitClose: true }),
    options
  )

describe.sequential("a time of weeks", () => {
  it.scopedLive("is what a server gives a connection that has come to it between two requests", () =>
    Effect.gen(function*() {
      const delays = yield* timers
      const server = http.createServer({ keepAliveTimeout: days(60) })
      const socket = new net.Socket()
      Node.beginIdleTime(server, socket)
      assert.deepStrictEqual(delays().filter((delay) => delay > 1_000), [longest])
      socket.destroy()
    }))

  it.scopedLive("is what a client may take to hang up after the last answer", () =>
    Effect.gen(function*() {
      const delays = yield* timers
      const stream = end()
      Node.lingerOnClose(stream as unknown as net.Socket, days(60), () => {})
      ;(stream as unknown as net.Socket).destroySoon()
      yield* eventually("its side to be ended", () => delays().includes(longest))
      assert.deepStrictEqual(delays().filter((delay) => delay > longest), [])
      stream.destroy()

      const asked: Array<number> = []
      const socket = end({ setTimeout: (delay) => void asked.push(delay) })
      Node.lingerOnClose(socket as unknown as net.Socket, days(60), () => {})
      ;(socket as unknown as net.Socket).destroySoon()
      yield* eventually("its side to be ended", () => asked.length > 0)
      assert.deepStrictEqual(asked, [longest])
      socket.destroy()
    }))

  it.scopedLive("is what a drain may take in every respect, and it is over when the last answer is out", () =>
    Effect.gen(function*() {
      const delays = yield* timers
      const warnings: Array<string> = []
      const onWarning = ({ name }: Error) => void warnings.push(name)
      process.on("warning", onWarning)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", onWarning)))
      const gate = makeGate()
      let isAsked = false
      const server = http.createServer((_, response) => {
        isAsked = true
        void gate.opened.then(() => response.end("ok"))
      })
      const long = Duration.days(60)
      const drainable = yield* Drain.server(server, {
        drainTimeout: long,
        idleTimeout: long,
        lingerTimeout: long,
        hookTimeout: long,
        webSocketSpread: long,
        onDrain: () => Effect.void
      })
      const client = yield* connect(yield* listen(server))
      yield* client.send(get("/"))
      yield* eventually("the request", () => isAsked)
      const draining = yield* Effect.fork(drainable.drain)
      yield* eventually("the drain to begin", () => !server.listening)
      yield* gate.open
      assert.strictEqual((yield* client.response).body.toString(), "ok")
      assert.strictEqual(yield* client.closed, "end")
      assert.deepInclude(yield* Fiber.join(draining), { open: 1, inFlight: 1, sentAway: 1, forced: 0, timedOut: 0 })
      assert.deepStrictEqual(delays().filter((delay) => delay > longest), [])
      assert.notInclude(warnings, "TimeoutOverflowWarning")
    }))

  it.scopedLive("does not pass at once", () =>
    Effect.gen(function*() {
      const waiting = yield* Effect.fork(Effect.sleep(Duration.days(60)))
      const limited = yield* Effect.fork(Effect.timeoutOption(Effect.never, Duration.infinity))
      yield* Effect.sleep("20 millis")
      assert.isNull(waiting.unsafePoll())
      assert.isNull(limited.unsafePoll())
    }))
})
