/**
 * Sends back what comes, over a WebSocket of the platform's HTTP server.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"

export const echo = HttpServerRequest.upgrade.pipe(
  Effect.flatMap((socket) => Effect.flatMap(socket.writer, (write) => socket.runRaw((message) => write(message)))),
  Effect.catchTag("SocketError", () => Effect.void),
  Effect.scoped,
  Effect.as(HttpServerResponse.empty())
)
