/**
 * The end of a connection on which the other side may be sending: to close it would reset it, and what was answered and not
 * read yet would be lost with it.
 *
 * @internal
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const lingerTimeout = "2 seconds"

/** Sends the end, and reads on, unheard, until the other side has sent its own. */
export const sayGoodbye: Effect.Effect<void> = Effect.flatMap(
  Effect.serviceOption(NodeSocket.NetSocket),
  Option.match({
    onNone: () => Effect.void,
    onSome: (connection) =>
      Effect.async<void>((resume) => {
        if (connection.closed) return resume(Effect.void)
        connection.once("close", () => resume(Effect.void))
        connection.end()
        connection.resume()
      }).pipe(Effect.timeoutOption(lingerTimeout), Effect.asVoid)
  })
)
