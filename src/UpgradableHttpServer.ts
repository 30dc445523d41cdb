/**
 * The `HttpServer` of `@effect/platform` on a socket that passes from one generation of the program to the next.
 *
 * @since 3.0.0
 * @module
 */
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type * as Etag from "@effect/platform/Etag"
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { LazyArg } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as http from "node:http"
import type * as http2 from "node:http2"
import type { Address } from "./Address.ts"
import type { ServeOptions } from "./Fds.ts"
import { Fds } from "./Fds.ts"
import { handled } from "./internal/handOver/given.ts"
import { watchUpgrade } from "./internal/handOver/watched.ts"
import { logWarning } from "./internal/logging.ts"
import { upgradedSocket } from "./internal/node/internals.ts"
import { disconnect } from "./internal/seam.ts"
import type { ListenError } from "./TableflipError.ts"

type Service = Context.Tag.Service<typeof HttpServer.HttpServer>

/**
 * What speaks to the clients: a server of `node:http` or `node:https`, or one of `node:http2` with `allowHTTP1`, which has their
 * requests and responses for both.
 *
 * @since 3.0.0
 * @category models
 */
export type Server = http.Server | http2.Http2SecureServer

/** NodeHttpServer insists on calling `listen`. The server has its socket by then, and accepts when `ready` says so. */
const withoutListen = (server: http.Server): http.Server => {
  const { listen } = server
  return Object.assign(server, {
    listen: (_options: unknown, listening: () => void) => {
      // Not by `delete`, which would make every access to the server slow from then on (7 % of all throughput).
      server.listen = listen
      listening()
      return server
    }
  })
}

/**
 * How a server ends, and what goes along with an upgrade.
 *
 * @since 3.0.0
 * @category models
 */
export interface Options extends Pick<ServeOptions, "handOver" | "takes"> {
  /**
   * How long handlers that outlive their responses are waited for before what they use is released: a finalizer that
   * writes to a log, a transaction that cannot be interrupted after the client has hung up. It begins when the server has
   * been drained. Default: 10 seconds.
   */
  readonly handlerTimeout?: Duration.DurationInput | undefined
}

/** From now on the newer process begins with the WebSocket that this request can become when the result has been called. */
const handle = (request: HttpServerRequest.HttpServerRequest): (() => void) | undefined => {
  const socket = upgradedSocket(NodeHttpServerRequest.toIncomingMessage(request))
  if (socket === undefined) return undefined
  watchUpgrade(request, socket)
  return handled(socket)
}

/** Counts what runs, and lets the one who ends wait for it. */
const makeCount = (timeout: Duration.DurationInput) => {
  let running = 0
  let over = Deferred.unsafeMake<void>(FiberId.none)
  const enter = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    if (running++ === 0) over = Deferred.unsafeMake(FiberId.none)
    return handle(request)
  })
  const leave = (done: (() => void) | undefined) =>
    Effect.suspend(() => {
      done?.()
      return --running === 0 ? Deferred.succeed(over, void 0) : Effect.void
    })
  return {
    /** In the scope of the request, whose finalizers are a part of it: the first to come is the last to go. */
    count: <A, E, R>(
      handler: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest | Scope.Scope> =>
      Effect.zipRight(Effect.acquireRelease(enter, leave), handler),
    /** Until nothing runs any more, and `release` has ended too. */
    wait: (release: Effect.Effect<void>) =>
      disconnect(Effect.zipRight(release, Effect.suspend(() => running === 0 ? Effect.void : Deferred.await(over))))
        .pipe(
          Effect.interruptible,
          Effect.timeoutOption(timeout),
          Effect.flatMap((ended) =>
            Option.isSome(ended)
              ? Effect.void
              : logWarning(
                `${running} handler(s) still ran after ${Duration.format(Duration.decode(timeout))}; going on`
              )
          ),
          Effect.interruptible
        )
  }
}

const waitForHandlers = (server: Service, options: Options | undefined): Service => {
  const serve = (httpApp: HttpApp.Default<unknown, unknown>, middleware?: HttpMiddleware.HttpMiddleware) =>
    Effect.suspend(() => {
      const { count, wait } = makeCount(options?.handlerTimeout ?? "10 seconds")
      const counted = (app: HttpApp.Default<any, any>) => count(middleware === undefined ? app : middleware(app))
      return Effect.flatMap(
        // To release what serves can take as long as a handler does.
        Effect.acquireRelease(Scope.make(), (scope, exit) => wait(Scope.close(scope, exit))),
        (scope) => Scope.extend(server.serve(httpApp, counted as HttpMiddleware.HttpMiddleware), scope)
      )
    })
  return { ...server, serve } as Service
}

/** Completes when the server accepts. */
const accepting = new WeakMap<Service, Effect.Effect<void>>()

/**
 * An `HttpServer` on an inherited or new socket. It accepts when this process is ready, by which time the routes are
 * attached, and `Upgrader.launch` drains it before they are detached. What a handler uses is released when the handler
 * has ended with all its finalizers, or after `handlerTimeout`.
 *
 * A handler that has said `HandOver.giveConnection` of a request which it upgrades ends as by a close of the WebSocket, with
 * code 1012, when that goes to the newer process, which begins with it when the handler has ended. Not while a message is
 * worked on by what the handler has given to `run`.
 *
 * @since 3.0.0
 * @category constructors
 */
export const make = (
  createServer: LazyArg<Server>,
  address: Address,
  options?: Options
): Effect.Effect<Service, ListenError | ServeError, Fds | Scope.Scope> =>
  Effect.gen(function*() {
    const fds = yield* Fds
    const server = createServer()
    const accepts = yield* Deferred.make<void>()
    server.once("listening", () => Deferred.unsafeDone(accepts, Effect.void))
    yield* fds.listen(server, address, options)
    const service = waitForHandlers(yield* NodeHttpServer.make(() => withoutListen(server as http.Server), {}), options)
    accepting.set(service, Deferred.await(accepts))
    return service
  })

/**
 * Everything that `NodeHttpServer.layer` provides, on an inherited or new socket.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer = (
  createServer: LazyArg<Server>,
  address: Address,
  options?: Options
): Layer.Layer<
  HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext | HttpServer.HttpServer,
  ListenError | ServeError,
  Fds
> =>
  Layer.mergeAll(Layer.scoped(HttpServer.HttpServer, make(createServer, address, options)), NodeHttpServer.layerContext)

/**
 * The same with an address from `Config`.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerConfig = (
  createServer: LazyArg<Server>,
  address: Config.Config.Wrap<Address>,
  options?: Options
): Layer.Layer<
  HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext | HttpServer.HttpServer,
  ListenError | ServeError | ConfigError,
  Fds
> => Layer.unwrapEffect(Effect.map(Config.unwrap(address), (address) => layer(createServer, address, options)))

/**
 * Logs where the server listens, as `HttpServer.withLogAddress` does, but when it accepts and not before: somebody may wait
 * for that line to connect. Of a server that is not of this module at once.
 *
 * @since 3.0.0
 * @category combinators
 */
export const withLogAddress = <A, E, R>(
  layer: Layer.Layer<A, E, R>
): Layer.Layer<A, E, R | Exclude<HttpServer.HttpServer, A>> =>
  Layer.provideMerge(
    Layer.scopedDiscard(Effect.flatMap(HttpServer.HttpServer, (service) =>
      (accepting.get(service) ?? Effect.void).pipe(
        Effect.zipRight(HttpServer.logAddress),
        Effect.interruptible,
        Effect.forkScoped
      ))),
    layer
  )
