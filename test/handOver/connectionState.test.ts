import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as net from "node:net"
import * as ConnectionState from "../../src/ConnectionState.ts"
import * as given from "../../src/internal/handOver/given.ts"
import { HandOverError } from "../../src/TableflipError.ts"

const members = ConnectionState.make("member.v1", Schema.Struct({ name: Schema.String, since: Schema.DateFromString }))

/** What the older process would leave with a connection. */
const leave = (socket: net.Socket, text: string, key = "member.v1") =>
  given.leave(socket, { key, state: new TextEncoder().encode(text) })

describe("the typed state of a connection", () => {
  it.effect("goes along as its schema says", () =>
    Effect.gen(function*() {
      const older = new net.Socket()
      const newer = new net.Socket()
      const member = { name: "Ada", since: new Date(0) }
      members.give(older, () => Option.some(member))
      given.leave(newer, { key: members.key, state: Option.getOrThrow(given.givenOf(older)!.state()) })
      assert.deepStrictEqual(yield* members.take(newer), Option.some(member))
      members.give(older, () => Option.none())
      assert.deepStrictEqual(given.givenOf(older)!.state(), Option.none())
    }))

  it.effect("is none of one that a client has made, or that was given under another key", () =>
    Effect.gen(function*() {
      const socket = new net.Socket()
      assert.deepStrictEqual(yield* members.take(socket), Option.none())
      leave(socket, "3", "member.v2")
      assert.deepStrictEqual(yield* members.take(socket), Option.none())
      assert.isFalse(socket.writableEnded)
    }))

  it.effect("that is of another shape is an error with its place, and ends the connection", () =>
    Effect.gen(function*() {
      for (
        const [text, place] of [[`{"name":3,"since":""}`, / at name: /], ["3", / says: /], ["{", / says: /]] as const
      ) {
        const socket = new net.Socket()
        leave(socket, text)
        const error = yield* Effect.flip(members.take(socket))
        assert.instanceOf(error, HandOverError)
        assert.deepStrictEqual([error.reason, error.key], ["Decode", "member.v1"])
        assert.match(error.message, place)
        assert.isTrue(socket.writableEnded)
      }
    }))

  it("that the app has in another shape is an error, when it is asked for", () => {
    const socket = new net.Socket()
    members.give(socket, () => Option.some({ name: "Ada" } as never))
    assert.throws(() => given.givenOf(socket)!.state(), HandOverError, / at since: /)
  })

  it.effect("is none of a request that has not come from a server of Node, which cannot go", () =>
    Effect.gen(function*() {
      const request = { source: new Request("http://localhost/") }
      members.give(request, () => Option.none())
      assert.deepStrictEqual(yield* members.take(request), Option.none())
    }))
})
