/**
 * The sockets of Effect on a connection that may go to the newer process: not while a handler works on what has been read.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as References from "effect/References"
import type * as Socket from "effect/socket/Socket"
import type * as net from "node:net"
import { working } from "./given.ts"

/** What has been read is worked on until more is asked for. */
export const watched = (socket: Socket.Socket, connection: net.Socket): Socket.Socket => ({
  ...socket,
  reader: Effect.gen(function*() {
    const reader = yield* socket.reader
    let done = () => {}
    const release = Effect.sync(() => {
      done()
      done = () => {}
    })
    yield* Effect.addFinalizer(() => release)
    const pull = Effect.tap(
      reader.pull,
      () =>
        Effect.sync(() => {
          done = working(connection)
        })
    )
    // What is there already is worked on in the same moment: nobody may look in between.
    return {
      ...reader,
      pull: Effect.provideService(Effect.andThen(release, pull), References.PreventSchedulerYield, true)
    }
  })
})

/** The WebSocket that this request can become, however it is modified on its way to the handler. */
export const watchUpgrade = (
  request: HttpServerRequest.HttpServerRequest,
  connection: net.Socket
): HttpServerRequest.HttpServerRequest => {
  const { upgrade } = request
  const modify = request.modify.bind(request)
  const upgradeWith = request.upgradeWith.bind(request)
  const watch = Effect.map((socket: Socket.Socket) => watched(socket, connection))
  return Object.defineProperties(request, {
    upgrade: { value: watch(upgrade) },
    upgradeWith: { value: (options: Parameters<typeof upgradeWith>[0]) => watch(upgradeWith(options)) },
    modify: { value: (options: Parameters<typeof modify>[0]) => watchUpgrade(modify(options), connection) }
  })
}
