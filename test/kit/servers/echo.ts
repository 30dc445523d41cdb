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

/** Answers each message, over such a WebSocket too. */
export const answering = (answer: (message: string) => string) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ upgrade }) => upgrade).pipe(
    Effect.flatMap((socket) =>
      Effect.flatMap(
        socket.writer,
        (write) => socket.run((message) => Effect.suspend(() => write(answer(new TextDecoder().decode(message)))))
      )
    ),
    Effect.catchTag("SocketError", () => Effect.void),
    Effect.scoped,
    Effect.as(HttpServerResponse.empty())
  )
