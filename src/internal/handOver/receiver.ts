/**
 * The newer process's side: what comes goes to the server of the same name, as if that had accepted it.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as net from "node:net"
import { beginIdleTime } from "../node/internals.ts"
import type { Channel, PassedConnection } from "../system/channel.ts"
import type { Passing, Place } from "../wire/channel.ts"
import { Answer, decodePassing } from "../wire/channel.ts"

/** A server that takes connections from the older process. */
export interface Served {
  readonly place: Place
  readonly server: net.Server
}

export interface Receiver {
  /** Says where this process serves: from then on connections come. */
  readonly open: () => void
}

/** Tells the older process at once that this one takes connections, so that it does not send them away. */
export const make = (channel: Channel, served: () => ReadonlyArray<Served>): Receiver => {
  const serverAt = ([network, address]: Place) =>
    served().find(({ place }) => place[0] === network && place[1] === address)?.server

  /** Accepts it, and says so before the first byte can be read: that is for another turn of the event loop. */
  const take = ({ isUsed, place }: Passing, connection: PassedConnection): boolean => {
    const server = serverAt(place)
    const socket = server === undefined ? Option.none() : connection.accept(server)
    if (Option.isNone(socket)) {
      connection.close()
      return false
    }
    if (isUsed) beginIdleTime(server!, socket.value)
    return true
  }

  channel.listen({
    onWords: (words, connection) => {
      const passing = decodePassing(words)
      if (Option.isNone(passing)) return void Option.map(connection, ({ close }) => close())
      const { id } = passing.value
      const isTaken = Option.isSome(connection) && take(passing.value, connection.value)
      channel.send(isTaken ? Answer.Taken({ id }) : Answer.Refused({ id }))
    },
    onEnd: () => {}
  })
  channel.send(Answer.Greeting())
  return { open: () => void channel.send(Answer.Serves({ places: served().map(({ place }) => place) })) }
}
