/** Listening sockets that nobody here accepts from: the system queues, and what breaks them is seen. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import * as path from "node:path"
import type { Address } from "../../src/Address.ts"
import { layer } from "../../src/Env.ts"
import * as procSockets from "../../src/internal/node/procSockets.ts"
import { Env } from "../../src/internal/system/env.ts"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { canRun } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

const host = "127.0.0.1"

/** A socket that listens, and from which nobody accepts. */
const queueing = (address: Address) =>
  Effect.gen(function*() {
    const env = yield* Env
    const listener = yield* Effect.acquireRelease(
      env.bind(address),
      (listener) => Effect.zipRight(listener.unlink, Effect.sync(listener.close))
    )
    yield* env.queueConnections([{ address, listener }])
    const descriptor = Option.getOrThrow(listener.descriptor())
    const at = listener.address
    const to: net.NetConnectOpts = typeof at === "object" && at !== null
      ? { host, port: at.port }
      : { path: (address as { readonly path: string }).path }
    return { address, listener, descriptor, to }
  })

const connect = (to: net.NetConnectOpts) =>
  Effect.acquireRelease(
    Effect.async<net.Socket, NodeJS.ErrnoException>((resume) => {
      const socket = net.connect(to)
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.once("error", (error) => resume(Effect.fail(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** As a process of the command does it that takes the socket for its own. */
const shutDown = (descriptor: number) =>
  Effect.sync(() =>
    void spawnSync("python3", ["-c", "import socket; socket.socket(fileno=3).shutdown(socket.SHUT_RDWR)"], {
      stdio: ["ignore", "ignore", "ignore", descriptor]
    })
  )

const addresses = (dir: string): ReadonlyArray<Address> => [{ host, port: 0 }, { path: path.join(dir, "app.sock") }]

describe.runIf(isLinux)("a socket that queues connections", () => {
  it.scopedLive("has clients connected whom nobody has accepted, and gives them to whoever accepts later", () =>
    Effect.gen(function*() {
      for (const address of addresses(yield* directory)) {
        const { descriptor, listener, to } = yield* queueing(address)
        const client = yield* connect(to)
        assert.strictEqual(procSockets.queueLength(descriptor), 1)
        const server = http.createServer((_, response) => response.end("served"))
        listener.attach(server)
        listener.accept()
        let said = ""
        client.on("data", (bytes) => said += bytes.toString())
        client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        yield* eventually("the answer", () => said.endsWith("served"))
        server.close()
      }
    }).pipe(Effect.provide(layer)))

  it.scopedLive("is emptied when those who wait have been accepted, and lets hardly anybody else in", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { descriptor, listener, to } = yield* queueing({ host, port: 0 })
      yield* connect(to)
      yield* connect(to)
      const server = net.createServer((socket) => socket.on("error", () => {}))
      listener.attach(server)
      const emptied = yield* Effect.fork(env.emptyQueues([listener]))
      assert.isNull(emptied.unsafePoll())
      listener.accept()
      yield* emptied.await
      assert.strictEqual(procSockets.queueLength(descriptor), 0)
      server.close()
    }).pipe(Effect.provide(layer)))

  it.scopedLive("is waited for no longer than a second where nobody accepts", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { descriptor, listener, to } = yield* queueing({ host, port: 0 })
      yield* connect(to)
      yield* env.emptyQueues([listener])
      assert.strictEqual(procSockets.queueLength(descriptor), 1)
    }).pipe(Effect.provide(layer)))

  it.scopedLive("that is closed, or at an address where another listens, is named", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const { descriptor, listener, to } = yield* queueing({ host, port: 0 })
      const { port } = to as { readonly port: number }
      assert.isAbove(descriptor, 2)
      const other = yield* Effect.flip(env.bind({ host, port }))
      assert.deepInclude(other, { _tag: "ListenError", reason: "AddressInUse", address: `${host}:${port}` })
      listener.close()
      const error = yield* Effect.flip(env.queueConnections([{ address: { host, port }, listener }]))
      assert.deepInclude(error, { _tag: "ListenError", address: `${host}:${port}`, detail: "the socket is closed" })
    }).pipe(Effect.provide(layer)))
})

describe.runIf(isLinux)("a socket that is shared", () => {
  it.scopedLive("is found in order, and stays as it is", () =>
    Effect.gen(function*() {
      const env = yield* Env
      for (const address of addresses(yield* directory)) {
        const look = yield* env.guardSockets([yield* queueing(address)])
        for (const connects of [false, true]) assert.deepStrictEqual(yield* look({ connects }), [])
      }
    }).pipe(Effect.provide(layer)))

  it.scopedLive("has its path again when that has been removed, and nothing is left beside it in the end", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const { to, ...socket } = yield* queueing({ path: at })
      yield* Effect.scoped(Effect.gen(function*() {
        const look = yield* env.guardSockets([socket])
        fs.rmSync(at)
        assert.deepStrictEqual(yield* look({ connects: false }), [
          { address: at, what: "PathRemoved", problem: undefined }
        ])
        yield* connect(to)
        assert.deepStrictEqual(yield* look({ connects: true }), [])
      }))
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
    }).pipe(Effect.provide(layer)))

  it.scopedLive("is not put over what somebody else has at its path, and that is told", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const at = path.join(yield* directory, "app.sock")
      const look = yield* env.guardSockets([yield* queueing({ path: at })])
      fs.rmSync(at)
      fs.writeFileSync(at, "of somebody else")
      assert.deepStrictEqual(yield* look({ connects: false }), [
        { address: at, what: "PathTaken", problem: "what is there now belongs to somebody else" }
      ])
      assert.strictEqual(fs.readFileSync(at, "utf8"), "of somebody else")
    }).pipe(Effect.provide(layer)))

  it.scopedLive.runIf(canRun("python3", "--version"))(
    "listens again when it has been shut down, at a port that was asked for",
    () =>
      Effect.gen(function*() {
        const env = yield* Env
        const chosen = yield* Effect.scoped(queueing({ host, port: 0 }))
        const { port } = chosen.to as { readonly port: number }
        const { descriptor, to } = yield* queueing({ host, port })
        const look = yield* env.guardSockets([{ address: { host, port }, descriptor }])
        yield* shutDown(descriptor)
        assert.strictEqual((yield* Effect.flip(connect(to))).code, "ECONNREFUSED")
        assert.deepStrictEqual(yield* look({ connects: false }), [
          { address: `${host}:${port}`, what: "ShutDown", problem: undefined }
        ])
        yield* connect(to)
        assert.isTrue(procSockets.isBlocking(descriptor))
      }).pipe(Effect.provide(layer))
  )

  it.scopedLive.runIf(canRun("python3", "--version"))(
    "at a path, is lost when it has been shut down, which is told",
    () =>
      Effect.gen(function*() {
        const env = yield* Env
        const at = path.join(yield* directory, "app.sock")
        const { address, descriptor } = yield* queueing({ path: at })
        const look = yield* env.guardSockets([{ address, descriptor }])
        yield* shutDown(descriptor)
        assert.deepStrictEqual(yield* look({ connects: false }), [])
        assert.deepStrictEqual(yield* look({ connects: true }), [
          { address: at, what: "ShutDown", problem: "the system cannot have a Unix socket listen again" }
        ])
      }).pipe(Effect.provide(layer))
  )
})

describe.runIf(isLinux)("where this process listens besides", () => {
  it.scopedLive("is told of its own servers, and not of those that are known", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const listen = Effect.acquireRelease(
        Effect.async<net.Server>((resume) => {
          const server = net.createServer().listen(0, host, () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const [one, other] = [yield* listen, yield* listen]
      const portOf = (server: net.Server) => (server.address() as net.AddressInfo).port
      const known = Option.getOrThrow(env.borrowListener(one).descriptor())
      const ports = (yield* env.listensBesides([known])).flatMap((address) => "port" in address ? [address.port] : [])
      assert.include(ports, portOf(other))
      assert.notInclude(ports, portOf(one))
    }).pipe(Effect.provide(layer)))
})
