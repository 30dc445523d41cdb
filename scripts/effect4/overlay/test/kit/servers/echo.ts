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

const textOf = (message: string | Uint8Array) =>
  typeof message === "string" ? message : new TextDecoder().decode(message)

/** Answers each message, over such a WebSocket too. */
export const answering = (answer: (message: string) => string) =>
  Effect.gen(function*() {
    const { upgrade } = yield* HttpServerRequest.HttpServerRequest
    const socket = yield* upgrade
    const { pull } = yield* socket.reader
    const { write } = yield* socket.writer
    return yield* Effect.forever(
      Effect.flatMap(
        pull,
        (messages) => Effect.forEach(messages, (message) => Effect.suspend(() => write(answer(textOf(message)))))
      )
    )
  }).pipe(
    Effect.catchTag("SocketError", () => Effect.void),
    Effect.scoped,
    Effect.as(HttpServerResponse.empty())
  )
