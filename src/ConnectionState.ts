/**
 * Typed state that goes from one process to the next with a connection of a protocol of the app's own: `HandOver.giveConnection`
 * and `takeConnection`, with a schema in the place of bytes. A module of its own, because `effect/Schema` is more than an
 * upgrade needs at its start.
 *
 * @since 3.0.0
 */
import * as Effect from "effect/Effect"
import type { LazyArg } from "effect/Function"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { Connection } from "./HandOver.ts"
import * as HandOver from "./HandOver.ts"
import { sendAway, socketOf } from "./internal/handOver/connection.ts"
import { mismatchError } from "./internal/handOver/mismatch.ts"
import * as json from "./internal/json.ts"
import { warnOfFailure } from "./internal/logging.ts"
import type { HandOverError } from "./TableflipError.ts"

/**
 * What goes along with connections under one key, in both releases.
 *
 * @since 3.0.0
 * @category models
 */
export interface ConnectionState<A> {
  readonly key: string
  /**
   * Lets an upgrade hand this connection over, as `HandOver.giveConnection` says. A state that is not of its shape is logged,
   * and the connection is drained.
   */
  readonly give: (connection: Connection, state: LazyArg<Option.Option<A>>) => void
  /**
   * What the older process has given along with this connection; none if it has come from a client, or was given under another
   * key. If it is not of the shape that this release says, it is logged, a WebSocket is closed with 1012 and any other connection
   * is ended: nobody knows any more in the middle of what it was.
   */
  readonly take: (connection: Connection) => Effect.Effect<Option.Option<A>, HandOverError>
}

/**
 * Names what goes along, and says its shape, in a schema that does nothing asynchronous. It travels as JSON.
 *
 * A state of another shape is another key: `chat.v1`.
 *
 * @since 3.0.0
 * @category constructors
 */
export const make = <A, I>(key: string, schema: Schema.Schema<A, I>): ConnectionState<A> => {
  const { decode, encode } = json.make(schema)

  const bytesOf = (state: A): Uint8Array => {
    const encoded = Effect.runSync(Effect.match(encode(state), {
      onFailure: (mismatch) => ({ mismatch }),
      onSuccess: (text) => ({ text })
    }))
    if ("mismatch" in encoded) throw mismatchError(key, "Encode")(encoded.mismatch)
    return new TextEncoder().encode(encoded.text)
  }

  const refuse = (connection: Connection) => (error: HandOverError) =>
    Effect.sync(() => {
      const socket = socketOf(connection)
      if (socket !== undefined) sendAway(socket)
    }).pipe(
      Effect.zipRight(warnOfFailure(error, `${error.message}; its connection is closed`))
    )

  return {
    key,
    give: (connection, state) => HandOver.giveConnection(connection, key, () => Option.map(state(), bytesOf)),
    take: (connection) =>
      Effect.suspend(() =>
        Effect.transposeMapOption(
          HandOver.takeConnection(connection, key),
          (bytes) => Effect.mapError(decode(new TextDecoder().decode(bytes)), mismatchError(key, "Decode"))
        )
      ).pipe(Effect.tapError(refuse(connection)))
  }
}
