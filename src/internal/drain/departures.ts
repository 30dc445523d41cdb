/**
 * Connections of a server that go to the newer process, so that their clients notice nothing. HTTP/1 without TLS goes
 * between two requests: all of its state is in what has been read, and there nothing has. What else goes does so by the
 * app's word.
 *
 * @internal
 */
import type * as net from "node:net"
import type { Candidate, Successor } from "../handOver/sender.ts"
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"
import { make as makeGiven } from "./givenDepartures.ts"
import { make as messagesOf } from "./messages.ts"

/** @internal */
export interface Departures {
  /** Decides whether a connection is to go. */
  readonly opened: (connection: Connection) => void
  readonly begin: () => void
  /** Whether a request on a connection is answered as ever, because the connection is to go after it. */
  readonly keeps: (connection: Connection) => boolean
  /** Lets one go if it can: what has not been noticed otherwise. */
  readonly visit: (connection: Connection) => void
  /** Another turn of the event loop has begun: what was read of the server before no longer holds. */
  readonly look: () => void
  /** From now on what has a further request, or is idle and cannot go, is kept no longer. */
  readonly hurry: () => void
  /** How many are closed here and not yet the newer process's. */
  readonly underWay: () => number
  readonly end: () => void
}

/** @internal */
export const make = (
  server: net.Server,
  connections: Connections,
  successor: Successor,
  /** Drains a connection that is not to go any more. */
  release: (connection: Connection) => void,
  /** One of those under way has ended. */
  onLeft: () => void,
  /** One that was sent was not taken, and stays, or has been closed here. */
  onRefused: (isClosed?: boolean) => void
): Departures => {
  const given = makeGiven(server, connections, successor, onLeft, onRefused)
  const messages = messagesOf(server)
  /** Bytes that had been read of a connection when it was seen between two requests: as long as there are no more, it is. */
  const seen = new WeakMap<Connection, number>()
  const inRow = new WeakSet<Connection>()
  const finished = new Set<Connection>()
  let isLate = false
  let isOver = false
  let unsubscribe: (() => void) | undefined

  const stay = (connection: Connection) => {
    if (connection.leaves === "given") return given.stay(connection)
    if (!connection.leaves) return
    connection.leaves = false
    release(connection)
  }

  const isReady = (connection: Connection) => {
    const { socket } = connection
    return connection.leaves === "requests" && Node.isQuiet(socket, server) &&
      (socket.bytesRead === 0 || seen.get(connection) === socket.bytesRead)
  }

  const candidateOf = (connection: Connection): Candidate => {
    const { socket } = connection
    return {
      socket,
      isUsed: () => Node.isUsed(socket),
      isReady: () => {
        inRow.delete(connection)
        return isReady(connection)
      },
      sent: () => {
        connection.ending = "handedOver"
      },
      taken: () => connections.destroy(connection, "handedOver"),
      refused: () => {
        if (connection.ending === "handedOver") onRefused(connections.of(socket) === undefined)
        connection.ending = socket.destroyed ? "forced" : undefined
        stay(connection)
      }
    }
  }

  const offer = (connection: Connection) => {
    const { socket } = connection
    if (connection.leaves !== "requests" || inRow.has(connection) || !Node.isQuiet(socket, server)) return
    if (socket.bytesRead > 0 && seen.get(connection) !== socket.bytesRead) {
      if (messages.isBetween(socket) !== true) return
      seen.set(connection, socket.bytesRead)
    }
    inRow.add(connection)
    successor.offer(candidateOf(connection))
  }

  /** Its request has made a WebSocket of it, say: now it goes by the app's word. */
  const isSomethingElse = (connection: Connection) =>
    connection.leaves === "requests" && !inRow.has(connection) && !Node.speaksHttp1(connection.socket)

  const isPlain = Node.isPlainHttp(server)

  const consider = (connection: Connection) => {
    const { socket } = connection
    const goes = isPlain && successor.takes() && Node.speaksHttp1(socket) &&
      Node.plainSocketOf(socket) === undefined && Node.httpServerOf(socket) === server
    connection.leaves = goes ? "requests" : false
  }

  // A response is out; by the end of this turn so is all that Node does after it, and the next request is not read yet.
  const onFinish = (socket: net.Socket) => {
    const connection = connections.of(socket)
    if (connection?.leaves !== "requests") return
    if (finished.size === 0) setImmediate(lookAtFinished)
    finished.add(connection)
  }

  const lookAtFinished = () => {
    const among = [...finished]
    finished.clear()
    messages.forget()
    for (const connection of among) {
      try {
        offer(connection)
      } catch (cause) {
        connections.failed(connection, cause)
      }
    }
  }

  return {
    opened: consider,
    begin: () => {
      successor.onOver(() => {
        isOver = true
        // The others when it is their turn.
        connections.walk().step(stay)
      })
      if (successor.takes()) unsubscribe = Node.onResponseFinish(onFinish)
    },
    keeps: (connection) => {
      if (isLate) connection.leaves = false
      else if (isOver) stay(connection)
      return connection.leaves !== false
    },
    visit: (connection) => {
      if (isOver) return stay(connection)
      if (isSomethingElse(connection)) connection.leaves = false
      given.visit(connection)
      if (!isLate) return offer(connection)
      given.hurry(connection)
      const waits = connection.leaves === "requests" && !inRow.has(connection)
      if (waits && Node.isQuiet(connection.socket, server)) stay(connection)
    },
    look: messages.forget,
    hurry: () => {
      isLate = true
    },
    underWay: given.underWay,
    end: () => unsubscribe?.()
  }
}
