/**
 * The newer process's side: what comes goes to the server of the same name, as if that had accepted it.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as net from "node:net"
import { beginIdleTime, hasRoomFor, isPlainHttp } from "../node/internals.ts"
import type { Channel, PassedConnection } from "../system/channel.ts"
import type { Left, Passing, Place } from "../wire/channel.ts"
import { Answer, decodeWord } from "../wire/channel.ts"
import * as given from "./given.ts"
import { replay } from "./opening.ts"

/** A server that takes connections from the older process. */
export interface Served {
  readonly place: Place
  readonly server: net.Server
  /** Whether it takes those that are between two requests of HTTP. */
  readonly takesRequests: boolean
  /** The keys of those that it takes by the app's word. */
  readonly keys: ReadonlyArray<string>
}

export interface Receiver {
  /** Says where this process serves: from then on connections come. */
  readonly open: () => void
}

/** Lies open here, and belongs to the older process until that has let go of it. */
interface Held {
  readonly connection: PassedConnection
  readonly server: net.Server
  readonly key: string
}

/** Tells the older process at once that this one takes connections, so that it does not send them away. */
export const make = (channel: Channel, served: () => ReadonlyArray<Served>): Receiver => {
  const held = new Map<number, Held>()
  /** How many of `held` are to go to a server. */
  const heldFor = new Map<net.Server, number>()
  let current: ReadonlyMap<string, Served> | undefined

  const nameOf = ([network, address]: Place) => `${network} ${address}`

  /** A program may have thousands of servers, and thousands of connections come: the servers are looked for once in a turn. */
  const at = (place: Place): Served | undefined => {
    if (current === undefined) {
      current = new Map(served().map((one) => [nameOf(one.place), one]))
      setImmediate(() => {
        current = undefined
      })
    }
    return current.get(nameOf(place))
  }

  const letGo = (id: number): Held | undefined => {
    const one = held.get(id)
    if (one === undefined) return undefined
    held.delete(id)
    const left = heldFor.get(one.server)! - 1
    if (left === 0) heldFor.delete(one.server)
    else heldFor.set(one.server, left)
    return one
  }

  /** Accepts it, and says so before the first byte can be read: that is for another turn of the event loop. */
  const take = ({ isUsed, place }: Passing, connection: PassedConnection): boolean => {
    const to = at(place)
    const socket = to?.takesRequests === true ? connection.accept(to.server) : Option.none()
    if (Option.isNone(socket)) return false
    if (isUsed) beginIdleTime(to!.server, socket.value)
    return true
  }

  const hold = (id: number, key: string, place: Place, connection: PassedConnection): boolean => {
    const to = at(place)
    if (to === undefined || !to.keys.includes(key)) return false
    const count = (heldFor.get(to.server) ?? 0) + 1
    if (!hasRoomFor(to.server, count)) return false
    heldFor.set(to.server, count)
    held.set(id, { connection, server: to.server, key })
    return true
  }

  const onPassing = (passing: Passing, connection: Option.Option<PassedConnection>) => {
    const { id, key, place } = passing
    const isTaken = Option.exists(
      connection,
      (connection) => key === undefined ? take(passing, connection) : hold(id, key, place, connection)
    )
    if (!isTaken) Option.map(connection, ({ close }) => close())
    channel.send(isTaken ? Answer.Taken({ id }) : Answer.Refused({ id }))
  }

  const onLeft = ({ id, opening, state }: Left) => {
    const one = letGo(id)
    if (one === undefined) return
    const { connection, key, server } = one
    // What speaks no HTTP has not been opened by a request, and what does has.
    if (isPlainHttp(server) !== (opening !== undefined)) return connection.close()
    const accepted = connection.accept(server, (socket) => given.leave(socket, { key, state }))
    if (Option.isNone(accepted)) return connection.close()
    if (opening !== undefined) replay(accepted.value, opening)
  }

  const drop = (id: number) => {
    letGo(id)?.connection.close()
  }

  channel.listen({
    onWords: (words, connection) => {
      const word = decodeWord(words)
      if (Option.isNone(word)) return void Option.map(connection, ({ close }) => close())
      switch (word.value._tag) {
        case "Passing":
          return onPassing(word.value, connection)
        case "Left":
          return onLeft(word.value)
        case "Kept":
          return drop(word.value.id)
      }
    },
    // Nobody is left who could say what they were in the middle of.
    onEnd: () => [...held.keys()].forEach(drop)
  })
  channel.send(Answer.Greeting())
  return {
    open: () => {
      const all = served()
      channel.send(Answer.Serves({
        places: all.filter(({ takesRequests }) => takesRequests).map(({ place }) => place),
        takes: all.flatMap(({ keys, place: [network, address] }) => keys.map((key) => [network, address, key] as const))
      }))
    }
  }
}
