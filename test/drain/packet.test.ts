import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as dgram from "node:dgram"
import * as Drain from "../../src/Drain.ts"
import { until } from "../kit/waiting.ts"

/** A socket that answers on demand, and a client that counts. */
const makePair = Effect.gen(function*() {
  const socket = dgram.createSocket("udp4")
  const pending: Array<() => void> = []
  let closed = false
  socket.on("close", () => closed = true)
  socket.on("message", (message, { address, port }) => pending.push(() => socket.send(message, port, address)))
  yield* Effect.async<void>((resume) => void socket.bind(0, "127.0.0.1", () => resume(Effect.void)))
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => dgram.createSocket("udp4")),
    (client) => Effect.sync(() => client.close())
  )
  const answers: Array<string> = []
  client.on("message", (message) => answers.push(message.toString()))
  const ask = (text: string) => Effect.sync(() => client.send(text, socket.address().port, "127.0.0.1"))
  return { socket, pending, answers, ask, closed: () => closed }
})

describe("Drain.packet", () => {
  it.scopedLive("receives no more, and answers what it has received", () =>
    Effect.gen(function*() {
      const pair = yield* makePair
      const drainable = yield* Drain.packet(pair.socket, { replyTimeout: "500 millis" })
      yield* pair.ask("before")
      yield* until("the datagram", () => pair.pending.length === 1)
      yield* drainable.stopReceiving
      yield* pair.ask("after")
      const draining = yield* Effect.fork(Effect.timed(drainable.drain))
      yield* Effect.sleep("100 millis")
      pair.pending[0]!()
      yield* until("the answer", () => pair.answers.length === 1)
      const [elapsed] = yield* Fiber.join(draining)
      assert.isAtLeast(Duration.toMillis(elapsed), 490)
      assert.strictEqual(pair.pending.length, 1)
      assert.isTrue(pair.closed())
      yield* drainable.drain
    }))

  it.scopedLive("is done when the app closes the socket, or when it is hastened", () =>
    Effect.gen(function*() {
      const first = yield* makePair
      const second = yield* makePair
      const byApp = yield* Drain.packet(first.socket, { replyTimeout: "5 seconds" })
      const hastened = yield* Drain.packet(second.socket, { replyTimeout: "5 seconds" })
      const draining = yield* Effect.fork(Effect.all([byApp.drain, hastened.drain], { concurrency: 2 }))
      const [elapsed] = yield* Effect.timed(Effect.gen(function*() {
        yield* Effect.sleep("20 millis")
        first.socket.close()
        yield* hastened.hasten
        yield* Fiber.join(draining)
      }))
      assert.isBelow(Duration.toMillis(elapsed), 1000)
    }))

  it.live("closing the scope drains", () =>
    Effect.gen(function*() {
      const pair = yield* Effect.scoped(Effect.gen(function*() {
        const pair = yield* makePair
        yield* Drain.packet(pair.socket, { replyTimeout: 0 })
        return pair
      }))
      assert.isTrue(pair.closed())
    }))
})
