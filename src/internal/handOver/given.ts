/**
 * Connections of a protocol of the app's own: what the app has said of them in the older process, and what has come with
 * them to the newer one.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { IncomingMessage } from "node:http"
import type * as net from "node:net"

export interface Given {
  readonly key: string
  /** Asked while nothing of the connection is on its way; none where the app is in the middle of something. */
  readonly state: () => Option.Option<Uint8Array>
  /** The request that has opened it, if it is a WebSocket. */
  readonly request?: IncomingMessage | undefined
}

interface Taken {
  readonly key: string
  readonly state: Uint8Array
}

const givenOnes = new WeakMap<net.Socket, Given>()
const takenOnes = new WeakMap<net.Socket, Taken>()

export const give = (connection: net.Socket, given: Given): void => void givenOnes.set(connection, given)

export const givenOf = (connection: net.Socket): Given | undefined => givenOnes.get(connection)

/** Keeps what has come with a connection until the app asks for it. */
export const leave = (connection: net.Socket, taken: Taken): void => void takenOnes.set(connection, taken)

export const take = (connection: net.Socket, key: string): Option.Option<Uint8Array> => {
  const taken = takenOnes.get(connection)
  return taken?.key === key ? Option.some(taken.state) : Option.none()
}

/** Who works on a connection, and who waits until nobody does. */
interface Use {
  handlers: number
  chunks: number
  waiting: Array<() => void>
}

const uses = new WeakMap<net.Socket, Use>()

const useOf = (connection: net.Socket): Use => {
  const use = uses.get(connection) ?? { handlers: 0, chunks: 0, waiting: [] }
  uses.set(connection, use)
  return use
}

/** A handler of this connection runs, with all that it does in the end, until the result is called. */
export const handled = (connection: net.Socket): () => void => {
  const use = useOf(connection)
  use.handlers++
  return () => {
    if (--use.handlers > 0) return
    for (const go of use.waiting.splice(0)) go()
  }
}

/** What has been read is being worked on, until the result is called. */
export const working = (connection: net.Socket): () => void => {
  const use = useOf(connection)
  use.chunks++
  return () => {
    use.chunks--
  }
}

export const isWorkedOn = (connection: net.Socket): boolean => (uses.get(connection)?.chunks ?? 0) > 0

/** When no handler runs any more. */
export const whenUnhandled = (connection: net.Socket, go: () => void): void => {
  const use = uses.get(connection)
  if (use === undefined || use.handlers === 0) go()
  else use.waiting.push(go)
}
