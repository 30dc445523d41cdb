import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as net from "node:net"
import { readerOf } from "../../src/internal/node/streams.ts"
import { until } from "../kit/waiting.ts"

const total = 32 * 1024 * 1024

/** Two ends of a connection: one writes all at once and closes, the other is read. */
const pair = Effect.gen(function*() {
  const server = net.createServer((socket) => socket.on("error", () => {}).end(Buffer.alloc(total)))
  yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
  const { port } = server.address() as net.AddressInfo
  const socket = net.connect(port, "127.0.0.1")
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      socket.destroy()
      server.close()
    })
  )
  return { socket, reader: yield* readerOf(socket) }
})

/** Some turns of the event loop in which bytes would come if anybody took them. */
const turns = Effect.repeatN(Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))), 2_000)

describe("a stream from another process", () => {
  it.scopedLive("that nobody reads is not collected, and arrives whole when somebody does", () =>
    Effect.gen(function*() {
      const { reader, socket } = yield* pair
      yield* until("the first bytes", () => socket.bytesRead > 0)
      yield* turns
      assert.isBelow(socket.bytesRead, 1024 * 1024)
      let length = 0
      yield* reader.read.pipe(
        Effect.tap((chunk) =>
          Effect.sync(() => length += Option.match(chunk, { onNone: () => 0, onSome: (c) => c.length }))
        ),
        Effect.repeat({ until: Option.isNone })
      )
      assert.strictEqual(length, total)
    }))

  it.scopedLive("is taken to its end and not kept, once it has said what it was read for", () =>
    Effect.gen(function*() {
      const { reader, socket } = yield* pair
      assert.isTrue(Option.isSome(yield* reader.read))
      yield* reader.discard
      yield* until("all to be taken", () => socket.bytesRead === total)
      assert.isTrue(Option.isNone(yield* reader.read))
      assert.isTrue(Option.isNone(yield* reader.read))
    }))
})
