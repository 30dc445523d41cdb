/**
 * How runners reach each other by sockets, where a connection ends with each upgrade of the other side.
 *
 * @internal
 */
import * as Runners from "@effect/cluster/Runners"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Socket from "@effect/platform/Socket"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"

/** What cannot be written has a broken connection, whose end fails the request so that it is sent again; this would be a defect. */
const withoutWriteErrors = (socket: Socket.Socket): Socket.Socket => ({
  ...socket,
  writer: Effect.map(socket.writer, (write) => (chunk) => Effect.catchAll(write(chunk), () => Effect.void))
})

/** As that of @effect/platform-node, whose pauses grow from one lost connection to the next for as long as the process lives. */
export const layerClientProtocol: Layer.Layer<
  Runners.RpcClientProtocol,
  never,
  RpcSerialization.RpcSerialization
> = Layer.effect(
  Runners.RpcClientProtocol,
  Effect.map(RpcSerialization.RpcSerialization, (serialization) =>
    Effect.fnUntraced(function*({ host, port }) {
      const socket = withoutWriteErrors(yield* NodeSocket.makeNet({ openTimeout: 1000, timeout: 5500, host, port }))
      return yield* RpcClient.makeProtocolSocket({ retrySchedule: Schedule.spaced("50 millis") }).pipe(
        Effect.provideService(Socket.Socket, socket),
        Effect.provideService(RpcSerialization.RpcSerialization, serialization)
      )
    }, Effect.orDie))
)
