/**
 * The `HttpServer` of `@effect/platform` on a socket that passes from one generation of the program to the next.
 *
 * @since 0.1.0
 */
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as Etag from "@effect/platform/Etag"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type { LazyArg } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as http from "node:http"
import type { Address } from "./Address.ts"
import { Fds } from "./Fds.ts"
import type { ListenError } from "./TableflipError.ts"

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
 * An `HttpServer` on an inherited or new socket. It accepts when this process is ready, by which time the routes are
 * attached, and `Upgrader.launch` drains it before they are detached.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  createServer: LazyArg<http.Server>,
  address: Address
): Effect.Effect<HttpServer.HttpServer, ListenError | ServeError, Fds | Scope.Scope> =>
  Effect.gen(function*() {
    const fds = yield* Fds
    const server = createServer()
    yield* fds.listen(server, address)
    return yield* NodeHttpServer.make(() => withoutListen(server), {})
  })

/**
 * Everything that `NodeHttpServer.layer` provides, on an inherited or new socket.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  createServer: LazyArg<http.Server>,
  address: Address
): Layer.Layer<
  HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext | HttpServer.HttpServer,
  ListenError | ServeError,
  Fds
> => Layer.mergeAll(Layer.scoped(HttpServer.HttpServer, make(createServer, address)), NodeHttpServer.layerContext)

/**
 * The same with an address from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  createServer: LazyArg<http.Server>,
  address: Config.Config.Wrap<Address>
): Layer.Layer<
  HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext | HttpServer.HttpServer,
  ListenError | ServeError | ConfigError,
  Fds
> => Layer.unwrapEffect(Effect.map(Config.unwrap(address), (address) => layer(createServer, address)))
