/**
 * Sends back what comes, over a WebSocket of Effect's HTTP server.
 */
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"

export const echo = Effect.gen(function*() {
  const { upgrade } = yield* HttpServerRequest.HttpServerRequest
  const socket = yield* upgrade
  const { pull } = yield* socket.reader
  const { writeAll } = yield* socket.writer
  return yield* Effect.forever(Effect.flatMap(pull, writeAll))
}).pipe(
  Effect.catchTag("SocketError", () => Effect.void),
  Effect.scoped,
  Effect.as(HttpServerResponse.empty())
)
