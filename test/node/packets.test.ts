import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as dgram from "node:dgram"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { layer } from "../../src/Env.ts"
import { Env } from "../../src/internal/system/env.ts"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { eventually } from "../kit/waiting.ts"

const host = "127.0.0.1"

const client = Effect.acquireRelease(
  Effect.sync(() => dgram.createSocket("udp4")),
  (socket) => Effect.sync(() => socket.close())
)

const send = (socket: dgram.Socket, text: string, port: number) =>
  Effect.async<void>((resume) => socket.send(text, port, host, () => resume(Effect.void)))

/** Some turns of the event loop in which a datagram would come if anybody took it. */
const turns = Effect.repeatN(Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))), 200)

const bound = (address = { host, port: 0 }) =>
  Effect.flatMap(
    Env,
    (env) => Effect.acquireRelease(env.bindPacket(address), ({ socket }) => Effect.sync(() => socket.close()))
  )

describe("a UDP socket", () => {
  it.scopedLive("takes no datagram before it is told to, and then those that wait for it", () =>
    Effect.gen(function*() {
      const { descriptor, socket, start } = yield* bound()
      const received: Array<string> = []
      socket.on("message", (bytes) => received.push(bytes.toString()))
      const { port } = socket.address()
      const from = yield* client
      yield* send(from, "one", port)
      yield* send(from, "two", port)
      yield* turns
      assert.deepStrictEqual(received, [])
      assert.isTrue(Option.isSome(descriptor()))
      start()
      yield* eventually("both", () => received.length === 2)
      assert.deepStrictEqual(received, ["one", "two"])
    }).pipe(Effect.provide(layer)))

  it.scopedLive("at an address that is taken, or none, is named", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { port } = (yield* bound()).socket.address()
      const taken = yield* Effect.flip(env.bindPacket({ host, port }))
      assert.deepInclude(taken, { _tag: "ListenError", reason: "AddressInUse", address: `${host}:${port}` })
      const wrong = yield* Effect.flip(env.bindPacket({ host, port: 70_000 }))
      assert.deepInclude(wrong, { _tag: "ListenError", reason: "InvalidAddress" })
      const elsewhere = yield* Effect.flip(env.bindPacket({ host: "192.0.2.1", port: 0 }))
      assert.deepInclude(elsewhere, { _tag: "ListenError", reason: "AddressNotAvailable" })
    }).pipe(Effect.provide(layer)))

  it.scopedLive("of the app's own receives as it did, and has its descriptor told", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const socket = yield* client
      yield* Effect.async<void>((resume) => void socket.bind(0, host, () => resume(Effect.void)))
      const received = once(socket, "message")
      const packet = env.borrowPacket(socket)
      packet.start()
      assert.isAbove(Option.getOrThrow(packet.descriptor()), 2)
      yield* send(yield* client, "word", socket.address().port)
      assert.strictEqual(String((yield* Effect.promise(() => received))[0]), "word")
    }).pipe(Effect.provide(layer)))
})

describe.runIf(isLinux)("an inherited descriptor that is something else", () => {
  it.scopedLive("is refused by what it was to be, and closed", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const file = path.join(yield* directory, "file")
      const open = () => fs.openSync(file, "w")
      const descriptor = open()
      const packet = yield* Effect.flip(env.adoptPacket({ host, port: 53 }, descriptor))
      assert.deepInclude(packet, {
        _tag: "ListenError",
        reason: "WrongDescriptor",
        address: `${host}:53`,
        detail: `the inherited descriptor ${descriptor} is not a UDP socket`
      })
      // Its number is free again.
      assert.strictEqual(open(), descriptor)
      const connection = yield* Effect.flip(env.adoptConnection("peer", descriptor))
      assert.deepInclude(connection, {
        _tag: "DescriptorError",
        reason: "WrongType",
        name: "peer",
        detail: `the inherited descriptor ${descriptor} is not a connection`
      })
      assert.strictEqual(open(), descriptor)
      fs.closeSync(descriptor)
    }).pipe(Effect.provide(layer)))
})

describe("what was written to a connection", () => {
  const pair = Effect.gen(function*() {
    const server = yield* Effect.acquireRelease(
      Effect.async<net.Server>((resume) => {
        const server = net.createServer().listen(0, host, () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
    const accepted = once(server, "connection") as Promise<[net.Socket]>
    const client = net.connect((server.address() as net.AddressInfo).port, host)
    const [socket] = yield* Effect.promise(() => accepted)
    for (const end of [client, socket]) {
      end.on("error", () => {})
      yield* Effect.addFinalizer(() => Effect.sync(() => end.destroy()))
    }
    return { client: client.pause(), socket }
  })

  it.scopedLive("is on its way when the system has taken it, also of one that is ended or closed", () =>
    Effect.gen(function*() {
      const env = yield* Env
      for (const how of ["open", "ended", "destroyed"] as const) {
        const { client, socket } = yield* pair
        yield* env.flushed(socket)
        socket.write(Buffer.alloc(32 * 2 ** 20))
        if (how === "ended") socket.end()
        const flushed = yield* Effect.fork(env.flushed(socket))
        yield* turns
        assert.isNull(flushed.unsafePoll(), how)
        if (how === "destroyed") socket.destroy()
        else client.resume()
        yield* flushed.await
        assert.strictEqual(socket.writableLength === 0 || socket.destroyed, true)
        yield* env.flushed(socket)
      }
    }).pipe(Effect.provide(layer)))
})
