/**
 * How runners reach each other by sockets, where a connection ends with each upgrade of the other side.
 *
 * @internal
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Runners from "effect/cluster/Runners"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schedule from "effect/Schedule"
import * as Socket from "effect/socket/Socket"

/** What cannot be written has a broken connection, whose end fails the request so that it is sent again; this would be a defect. */
const withoutWriteErrors = (socket: Socket.Socket): Socket.Socket => ({
  ...socket,
  writer: Effect.map(socket.writer, (writer) => ({
    write: (chunk) => Effect.catch(writer.write(chunk), () => Effect.void),
    writeAll: (chunks) => Effect.catch(writer.writeAll(chunks), () => Effect.void)
  }))
})

/** As that of @effect/platform-node, whose pauses grow from one lost connection to the next for as long as the process lives. */
export const layerClientProtocol: Layer.Layer<
  Runners.RpcClientProtocol,
  never,
  RpcSerialization.RpcSerialization
> = Layer.effect(
  Runners.RpcClientProtocol,
  Effect.map(RpcSerialization.RpcSerialization, (serialization) => ({
    codecFor: serialization.codecFor,
    make: Effect.fnUntraced(function*({ host, port }) {
      const socket = withoutWriteErrors(yield* NodeSocket.makeNet({ openTimeout: 1000, timeout: 5500, host, port }))
      return yield* RpcClient.makeProtocolSocket({ retryPolicy: Schedule.spaced("50 millis") }).pipe(
        Effect.provideService(Socket.Socket, socket),
        Effect.provideService(RpcSerialization.RpcSerialization, serialization)
      )
    }, Effect.orDie)
  }))
)
