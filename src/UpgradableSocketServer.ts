/**
 * The `SocketServer` of `@effect/platform` on a socket that passes from one generation of the program to the next.
 *
 * @since 3.0.0
 * @module
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Socket from "@effect/platform/Socket"
import * as SocketServer from "@effect/platform/SocketServer"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as net from "node:net"
import type { Address } from "./Address.ts"
import type { ServeOptions } from "./Fds.ts"
import { Fds } from "./Fds.ts"
import { handled } from "./internal/handOver/given.ts"
import { watched } from "./internal/handOver/watched.ts"
import type { ListenError } from "./TableflipError.ts"

/**
 * Where to listen, what `net.createServer` takes, and how connections go along with an upgrade.
 *
 * @since 3.0.0
 * @category models
 */
export type Options = Address & net.ServerOpts & Pick<ServeOptions, "handOver" | "takes">

const addressOf = (bound: net.AddressInfo | string | null): SocketServer.Address =>
  bound === null || typeof bound === "string"
    ? { _tag: "UnixAddress", path: bound ?? "" }
    : { _tag: "TcpAddress", hostname: bound.address, port: bound.port }

/**
 * A `SocketServer` on an inherited or new socket. It accepts when this process is ready; a connection that comes before
 * `run` waits for it. When the process drains, no connection is accepted any more and running handlers finish; what they
 * have not finished by `drainTimeout` is closed under them. A handler that ends closes its connection.
 *
 * A handler that has said `HandOver.giveConnection` of its `NetSocket` ends as by a close of the connection when that goes to
 * the newer process, which begins with it when the handler has ended. Not while what was read is worked on by what the
 * handler has given to `run`.
 *
 * @since 3.0.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<SocketServer.SocketServer["Type"], ListenError, Fds | Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const fds = yield* Fds
    const failed = yield* Deferred.make<never, SocketServer.SocketServerError>()
    const waiting = new Set<net.Socket>()
    const wait = (connection: net.Socket): void => {
      waiting.add(connection)
      connection.once("close", () => waiting.delete(connection))
    }
    let onConnection = wait
    const server = net.createServer(options, (connection) => {
      // It can break before anybody reads it, and an error that nobody hears would end the process.
      connection.on("error", () => {})
      onConnection(connection)
    })
    server.on(
      "error",
      (cause) => Deferred.unsafeDone(failed, new SocketServer.SocketServerError({ reason: "Unknown", cause }))
    )
    const bound = yield* fds.listen(server, options, options)

    const run = <R, E, _>(handler: (socket: Socket.Socket) => Effect.Effect<_, E, R>) =>
      Effect.gen(function*() {
        const runFork = yield* FiberSet.makeRuntime<R>()
        const previous = onConnection
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            onConnection = (connection) => {
              const done = handled(connection)
              runFork(serve(connection, handler)).addObserver(done)
            }
            const connections = [...waiting]
            waiting.clear()
            connections.forEach(onConnection)
          }),
          () =>
            Effect.sync(() => {
              onConnection = previous
            })
        )
        return yield* Deferred.await(failed)
      }).pipe(Effect.scoped)

    return SocketServer.SocketServer.of({ address: addressOf(bound), run })
  }
)

const serve = <R, E, _>(
  connection: net.Socket,
  handler: (socket: Socket.Socket) => Effect.Effect<_, E, R>
): Effect.Effect<void, never, R> => {
  let broken: Error | undefined = connection.errored ?? undefined
  connection.on("error", (cause) => {
    broken = cause
  })
  const open = Effect.suspend((): Effect.Effect<net.Socket, Socket.SocketError> =>
    broken !== undefined
      ? Effect.fail(new Socket.SocketGenericError({ reason: "Open", cause: broken }))
      : connection.closed
      ? Effect.fail(new Socket.SocketCloseError({ reason: "Close", code: 1000 }))
      : Effect.succeed(connection)
  )
  return NodeSocket.fromDuplex(open).pipe(
    Effect.flatMap((socket) => handler(watched(socket, connection))),
    Effect.ensuring(Effect.sync(() => connection.destroySoon())),
    Effect.provideService(NodeSocket.NetSocket, connection),
    Effect.catchAllCause((cause) =>
      Effect.flatMap(FiberRef.get(FiberRef.unhandledErrorLogLevel), (level) =>
        Option.isSome(level)
          ? Effect.logWithLevel(level.value, cause, "Unhandled error in a connection handler")
          : Effect.void)
    ),
    Effect.asVoid
  ) as Effect.Effect<void, never, R>
}

/**
 * A `SocketServer` on an inherited or new socket.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SocketServer.SocketServer, ListenError, Fds> =>
  Layer.scoped(SocketServer.SocketServer, make(options))

/**
 * The same with options from `Config`.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SocketServer.SocketServer, ListenError | ConfigError, Fds> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))
