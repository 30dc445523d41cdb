/**
 * The sockets of @effect/platform on a connection that may go to the newer process: not while a handler works on what has
 * been read.
 *
 * @internal
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Socket from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import type * as net from "node:net"
import { working } from "./given.ts"

export const watched = (socket: Socket.Socket, connection: net.Socket): Socket.Socket => {
  const watch =
    <A>(run: (handler: (chunk: A) => any, options?: any) => Effect.Effect<void, any, any>): typeof run =>
    (handler, options) =>
      run((chunk) => {
        const work = handler(chunk)
        if (!Effect.isEffect(work)) return
        const done = working(connection)
        return Effect.ensuring(work, Effect.sync(done))
      }, options)
  return { ...socket, run: watch(socket.run), runRaw: watch(socket.runRaw) }
}

/** The WebSocket that this request can become, however it is modified on its way to the handler. */
export const watchUpgrade = (
  request: HttpServerRequest.HttpServerRequest,
  connection: net.Socket
): HttpServerRequest.HttpServerRequest => {
  const { upgrade } = request
  const modify = request.modify.bind(request)
  return Object.defineProperties(request, {
    upgrade: { value: Effect.map(upgrade, (socket) => watched(socket, connection)) },
    modify: { value: (options: Parameters<typeof modify>[0]) => watchUpgrade(modify(options), connection) }
  })
}
