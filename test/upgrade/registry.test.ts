import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import dns from "node:dns"
import { once } from "node:events"
import * as fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import * as net from "node:net"
import * as path from "node:path"
import { Writable } from "node:stream"
import { setImmediate as nextTurn } from "node:timers/promises"
import { vi } from "vitest"
import type { NamedDescriptor } from "../../src/ChildProcess.ts"
import { layer as layerEnv } from "../../src/Env.ts"
import * as logger from "../../src/internal/cli/logger.ts"
import { fileIdentity } from "../../src/internal/node/streams.ts"
import { Env } from "../../src/internal/system/env.ts"
import type { Draining } from "../../src/internal/upgrade/drainAll.ts"
import * as registryOf from "../../src/internal/upgrade/registry.ts"
import * as fdName from "../../src/internal/wire/fdName.ts"
import { ListenError } from "../../src/TableflipError.ts"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { eventually } from "../kit/waiting.ts"

const host = "127.0.0.1"

/** The name of a host that nobody answers for. */
const slow = "slow.test"

/** What is followed is let go without a drain. */
const draining: Draining = {
  follow: () => Effect.succeed(Effect.void),
  followPacket: () => Effect.void,
  handOverBy: () => {},
  onDrain: () => Effect.void,
  connections: () => 0,
  drain: () => Effect.succeed({ duration: Duration.zero, servers: [] })
}

const makeRegistry = (inherited: ReadonlyArray<NamedDescriptor> = []) =>
  Effect.flatMap(
    Env,
    (env) => registryOf.make({ env, inherited, state: new Map(), hasParent: inherited.length > 0, draining })
  )

const echo = (word: string) => net.createServer((socket) => socket.end(word))

/** What a server says first, or the error's code. */
const ask = (to: net.NetConnectOpts): Effect.Effect<string> =>
  Effect.async((resume) => {
    let said = ""
    const socket = net.connect(to)
    socket.on("data", (bytes) => said += bytes.toString())
    socket.on("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? "?")))
    socket.on("end", () => resume(Effect.succeed(said)))
  })

const portOf = (bound: net.AddressInfo | string | null) => (bound as net.AddressInfo).port

/** Binds without listening: another one that listens there first makes listening fail. */
const occupy = (port: number) =>
  Effect.acquireRelease(
    Effect.async<net.Server>((resume) => {
      const server = echo("other")
      server.listen({ port, host }, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
  )

describe.runIf(isLinux)("a start that fails", () => {
  it.scopedLive("can be tried again when a directory was missing, and serves then", () =>
    Effect.gen(function*() {
      const folder = path.join(yield* directory, "run")
      fs.mkdirSync(folder)
      const registry = yield* makeRegistry()
      const port = portOf(yield* registry.service.listen(echo("tcp"), { host, port: 0 }))
      yield* registry.service.listen(echo("first"), { path: path.join(path.dirname(folder), "first.sock") })
      yield* registry.service.listen(echo("unix"), { path: path.join(folder, "app.sock") })
      fs.rmSync(folder, { recursive: true })
      for (let time = 0; time < 2; time++) {
        assert.strictEqual((yield* Effect.flip(registry.activate)).reason, "InvalidAddress")
        assert.strictEqual(yield* ask({ host, port }), "ECONNREFUSED")
        assert.deepStrictEqual(fs.readdirSync(path.dirname(folder)).filter((name) => !name.startsWith(".")), [])
      }
      fs.mkdirSync(folder)
      yield* registry.activate
      assert.strictEqual(yield* ask({ host, port }), "tcp")
      assert.strictEqual(yield* ask({ path: path.join(folder, "app.sock") }), "unix")
      assert.strictEqual(yield* ask({ path: path.join(path.dirname(folder), "first.sock") }), "first")
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("can be tried again when a port was taken, and serves then", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const registry = yield* makeRegistry()
      const first = portOf(yield* registry.service.listen(echo("first"), { host, port: 0, name: "first" }))
      const second = portOf(yield* registry.service.listen(echo("second"), { host, port: 0, name: "second" }))
      yield* registry.service.listen(echo("unix"), { path: path.join(folder, "app.sock") })
      const other = yield* Scope.make()
      yield* Scope.extend(occupy(second), other)
      for (let time = 0; time < 2; time++) {
        assert.strictEqual((yield* Effect.flip(registry.activate)).reason, "AddressInUse")
        assert.strictEqual(yield* ask({ host, port: first }), "ECONNREFUSED")
        assert.isFalse(fs.existsSync(path.join(folder, "app.sock")))
      }
      yield* Scope.close(other, Exit.void)
      yield* registry.activate
      assert.strictEqual(yield* ask({ host, port: first }), "first")
      assert.strictEqual(yield* ask({ host, port: second }), "second")
      assert.strictEqual(yield* ask({ path: path.join(folder, "app.sock") }), "unix")
    }).pipe(Effect.provide(layerEnv)))
})

describe.runIf(isLinux)("a listener", () => {
  it.scopedLive("has one server, before and after this process is ready", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const early = yield* registry.service.listener({ host, port: 0, name: "early" })
      const late = yield* registry.service.listener({ host, port: 0, name: "late" })
      yield* early.serve(echo("early"))
      assert.strictEqual((yield* Effect.flip(early.serve(echo("second")))).reason, "AlreadyClaimed")
      yield* registry.activate
      yield* late.serve(echo("late"))
      for (const listener of [early, late]) {
        assert.strictEqual((yield* Effect.flip(listener.serve(echo("second")))).reason, "AlreadyClaimed")
      }
      assert.strictEqual(yield* ask({ host, port: portOf(early.address) }), "early")
      assert.strictEqual(yield* ask({ host, port: portOf(late.address) }), "late")
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("that is closed serves nobody, and says so", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const scope = yield* Scope.make()
      const released = yield* Scope.extend(registry.service.listener({ host, port: 0, name: "released" }), scope)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Effect.flip(released.serve(echo("never")))).reason, "Closed")
      const given = yield* registry.service.listener({ host, port: 0, name: "given" })
      const server = echo("first")
      yield* given.serve(server)
      server.close()
      assert.strictEqual((yield* Effect.flip(given.serve(echo("never")))).reason, "Closed")
    }).pipe(Effect.provide(layerEnv)))

  it.live("can be given up while the name of its host is looked up", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const { lookup: real } = dns
      // Other tests run meanwhile.
      const lookup = vi.spyOn(dns, "lookup").mockImplementation(
        ((host: string, ...rest: [never]) => host === slow ? undefined : real(host, ...rest)) as never
      )
      const isAsked = () => lookup.mock.calls.some(([host]) => host === slow)
      syncBuiltinESMExports()
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          lookup.mockRestore()
          syncBuiltinESMExports()
        })
      )
      const { listener, packet } = registry.service
      const address = { host: slow, port: 0 }
      for (const claim of [Effect.asVoid(listener(address)), Effect.asVoid(packet(address))]) {
        const fiber = yield* Effect.fork(claim)
        yield* Effect.repeat(Effect.yieldNow(), { until: isAsked })
        lookup.mockClear()
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      }
    }).pipe(Effect.scoped, Effect.provide(layerEnv), Effect.timeout("5 seconds")))
})

/** Both ends of a connection. */
const connected = Effect.gen(function*() {
  const server = yield* Effect.acquireRelease(
    Effect.async<net.Server>((resume) => {
      const server = net.createServer().listen(0, host, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  const end = <A extends net.Socket>(socket: A) =>
    Effect.acquireRelease(
      Effect.sync(() => socket.on("error", () => {})),
      (socket) => Effect.sync(() => socket.destroy())
    )
  const accepted = once(server, "connection")
  const client = yield* end(net.connect((server.address() as net.AddressInfo).port, host))
  const [socket] = yield* Effect.promise(() => accepted)
  return { client, socket: yield* end(socket as net.Socket) }
})

describe.runIf(isLinux)("a connection", () => {
  const readers: Record<string, (socket: net.Socket, take: (chunk: Buffer) => void) => void> = {
    data: (socket, take) => void socket.on("data", take),
    readable: (socket, take) =>
      void socket.on("readable", () => {
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) take(chunk)
      }),
    "for await": (socket, take) => {
      void (async () => {
        for await (const chunk of socket) take(chunk)
      })().catch(() => {})
    },
    pipe: (socket, take) =>
      void socket.pipe(
        new Writable({
          highWaterMark: 1,
          write: (chunk, _, done) => {
            take(chunk)
            setImmediate(done)
          }
        })
      )
  }
  for (const [name, read] of Object.entries(readers)) {
    it.scopedLive(`whose upgrade has failed is read on by ${name}, and by nobody meanwhile`, () =>
      Effect.gen(function*() {
        const registry = yield* makeRegistry()
        const { client, socket } = yield* connected
        let taken = ""
        read(socket, (chunk) => {
          taken += chunk.toString()
        })
        yield* registry.service.addConnection("peer", socket)
        client.write("before ")
        yield* eventually("what came before", () => taken === "before ")
        yield* registry.shareWithChild
        const bytesRead = socket.bytesRead
        yield* Effect.async<void>((resume) => void client.write("meanwhile ", () => resume(Effect.void)))
        yield* Effect.promise(() => nextTurn())
        assert.strictEqual(socket.bytesRead, bytesRead)
        yield* registry.takeBackFromChild
        client.write("after")
        yield* eventually("the rest", () => taken === "before meanwhile after", { seen: () => taken })
      }).pipe(Effect.provide(layerEnv)))
  }

  for (const drained of ["after", "during"]) {
    it.scopedLive(`that back-pressure has paused goes on when that ends ${drained} an upgrade that fails`, () =>
      Effect.gen(function*() {
        const registry = yield* makeRegistry()
        const { client, socket } = yield* connected
        const size = 4 * 2 ** 20
        let taken = 0
        let isOpen = false
        const held: Array<() => void> = []
        const open = () => {
          isOpen = true
          for (const go of held.splice(0)) go()
        }
        socket.pipe(
          new Writable({
            highWaterMark: 1,
            write: (chunk: Buffer, _, done) => {
              taken += chunk.length
              if (isOpen) setImmediate(done)
              else held.push(done)
            }
          })
        )
        yield* registry.service.addConnection("peer", socket)
        client.write(Buffer.alloc(size))
        yield* eventually("it to be held up", () => socket.isPaused() && held.length === 1)
        yield* registry.shareWithChild
        if (drained === "during") {
          open()
          yield* eventually("what had been read", () => !socket.isPaused() && socket.readableLength === 0)
          assert.isBelow(taken, size)
        }
        yield* registry.takeBackFromChild
        open()
        yield* eventually("every byte", () => taken === size, { seen: () => String(taken) })
      }).pipe(Effect.provide(layerEnv)))
  }

  it.scopedLive("that comes while an upgrade waits for others is read by nobody from its start on, if it goes too", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const { client, socket } = yield* connected
      let taken = ""
      socket.on("data", (chunk) => {
        taken += chunk.toString()
      })
      yield* registry.shareWithChild
      yield* registry.service.addConnection("peer", socket)
      assert.strictEqual((yield* registry.descriptors).length, 1)
      yield* Effect.async<void>((resume) => void client.write("meanwhile ", () => resume(Effect.void)))
      yield* Effect.sleep("50 millis")
      assert.strictEqual(socket.bytesRead, 0)
      yield* registry.takeBackFromChild
      client.write("after")
      yield* eventually("the rest", () => taken === "meanwhile after", { seen: () => taken })
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("that the app has paused stays so", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const { client, socket } = yield* connected
      socket.on("data", () => assert.fail("nobody asked for it")).pause()
      yield* registry.service.addConnection("peer", socket)
      yield* registry.shareWithChild
      yield* registry.takeBackFromChild
      yield* Effect.async<void>((resume) => void client.write("word", () => resume(Effect.void)))
      yield* Effect.promise(() => nextTurn())
      assert.isTrue(socket.isPaused())
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("is let go of when all that was written to it is on its way, which is counted if it takes too long", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const { client, socket } = yield* connected
      yield* registry.service.addConnection("peer", socket)
      yield* registry.descriptors
      client.pause()
      const size = 16 * 2 ** 20
      socket.write(Buffer.alloc(size))
      assert.strictEqual(yield* registry.flushConnections(Duration.millis(10)), 1)
      const flushing = yield* Effect.fork(registry.flushConnections(Duration.seconds(20)))
      client.resume()
      assert.strictEqual(yield* Fiber.join(flushing), 0)
      yield* registry.letGoOfConnections
      yield* eventually("every byte", () => client.bytesRead === size, { seen: () => String(client.bytesRead) })
    }).pipe(Effect.provide(layerEnv)))
})

describe.runIf(isLinux)("a file", () => {
  const openFile = (file: string) => Effect.sync(() => fs.openSync(file, "w"))

  it.scopedLive("that nothing asked for is closed, and the next one too, whatever a logger does", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const descriptors = [yield* openFile(path.join(dir, "one")), yield* openFile(path.join(dir, "other"))]
      const identity = (descriptor: number) => Option.getOrUndefined(fileIdentity(descriptor))
      const identities = descriptors.map(identity)
      const registry = yield* makeRegistry(
        descriptors.map((descriptor) => ({ descriptor, name: fdName.file(String(descriptor)) }))
      )
      const broken = logger.layer("Debug", () => {
        throw new Error("no disk")
      })
      yield* Effect.provide(registry.closeUnclaimed, broken)
      descriptors.forEach((descriptor, index) => assert.notStrictEqual(identity(descriptor), identities[index]))
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("that was closed is not handed over, nor is what has come to its number", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const registry = yield* makeRegistry()
      const descriptor = yield* openFile(path.join(dir, "one"))
      yield* registry.service.addFile("journal", descriptor)
      assert.strictEqual((yield* registry.descriptors).length, 1)
      fs.closeSync(descriptor)
      assert.strictEqual(yield* openFile(path.join(dir, "other")), descriptor)
      assert.deepStrictEqual(yield* registry.descriptors, [])
      // The name is free again.
      yield* registry.service.addFile("journal", descriptor)
      assert.strictEqual((yield* registry.descriptors).length, 1)
      fs.closeSync(descriptor)
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("that was inherited and closed by the app is not closed once more", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const descriptor = yield* openFile(path.join(dir, "one"))
      const registry = yield* makeRegistry([{ name: fdName.file("journal"), descriptor }])
      yield* Effect.scoped(Effect.gen(function*() {
        assert.deepStrictEqual(yield* registry.service.file("journal"), Option.some(descriptor))
        fs.closeSync(descriptor)
        assert.strictEqual(yield* openFile(path.join(dir, "other")), descriptor)
      }))
      fs.writeSync(descriptor, "still open")
      fs.closeSync(descriptor)
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("is closed with its scope, unless it was taken", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const kept = yield* openFile(path.join(dir, "kept"))
      const taken = yield* openFile(path.join(dir, "taken"))
      const registry = yield* makeRegistry([
        { name: fdName.file("kept"), descriptor: kept },
        { name: fdName.file("taken"), descriptor: taken }
      ])
      yield* Effect.scoped(registry.service.file("kept"))
      assert.throws(() => fs.fstatSync(kept), /EBADF/)
      assert.deepStrictEqual(yield* registry.service.takeFile("taken"), Option.some(taken))
      assert.deepStrictEqual(yield* registry.service.takeFile("taken"), Option.none())
      yield* registry.closeUnclaimed
      assert.deepStrictEqual(yield* registry.descriptors, [])
      fs.closeSync(taken)
    }).pipe(Effect.provide(layerEnv)))
})

describe("an address on which a server could not listen", () => {
  it.scopedLive("is free for the next one when it listened elsewhere already", () =>
    Effect.gen(function*() {
      const registry = yield* makeRegistry()
      const at = { host, port: 0 }
      const busy = echo("busy")
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => void busy.listen(0, host, () => resume(Effect.void))),
        () => Effect.sync(() => busy.close())
      )
      assert.strictEqual((yield* Effect.flip(registry.service.listen(busy, at))).reason, "AlreadyClaimed")
      const port = portOf(yield* registry.service.listen(echo("next"), at))
      yield* registry.activate
      assert.strictEqual(yield* ask({ host, port }), "next")
    }).pipe(Effect.provide(layerEnv)))

  it.scopedLive("is free for the next try when it was too late for it", () =>
    Effect.gen(function*() {
      const env = yield* Env
      let fails = true
      const error = new ListenError({ reason: "AddressInUse", address: "there", detail: "another one was faster" })
      const bind: typeof env.bind = (address) =>
        Effect.map(env.bind(address), (bound) => ({
          ...bound,
          prepare: Effect.suspend(() => fails ? Effect.fail(error) : bound.prepare)
        }))
      const registry = yield* makeRegistry().pipe(Effect.provideService(Env, { ...env, bind }))
      yield* registry.activate
      const at = { host, port: 0 }
      assert.strictEqual((yield* Effect.flip(registry.service.listen(echo("first"), at))).reason, "AddressInUse")
      fails = false
      const port = portOf(yield* registry.service.listen(echo("second"), at))
      assert.strictEqual(yield* ask({ host, port }), "second")
    }).pipe(Effect.provide(layerEnv)))
})
