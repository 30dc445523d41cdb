/**
 * Connections that go to the newer process by the app's word: their protocol is the app's own, and so only the app knows
 * between which bytes they can go, and what the newer process is to know of them.
 *
 * Each is closed here, with all that a handler does in the end, before the newer process begins with it. Until then it can
 * be taken back: the newer process has its descriptor, and leaves it alone.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as net from "node:net"
import { HandOverError } from "../../TableflipError.ts"
import type { Given } from "../handOver/given.ts"
import { givenOf, isWorkedOn, whenUnhandled } from "../handOver/given.ts"
import { openingOf } from "../handOver/opening.ts"
import type { Candidate, Departure, Successor } from "../handOver/sender.ts"
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"
import * as Ws from "./ws.ts"

/** @internal */
export interface GivenDepartures {
  /** Lets one go if it can. */
  readonly visit: (connection: Connection) => void
  /** One that can be told to go is no longer kept, if it cannot go now. */
  readonly hurry: (connection: Connection) => void
  /** It is drained as if nobody had given it. */
  readonly stay: (connection: Connection) => void
  /** How many are closed here and not yet the newer process's. */
  readonly underWay: () => number
}

/** Milliseconds for which one that the newer process holds is waited for, because something of it has begun here again. */
const boundaryTimeout = 2_000

/** Milliseconds for which what a handler does in the end is waited for. Its client waits too. */
const handlerTimeout = 5_000

const retryInterval = 2

const maxStateBytes = 1024 * 1024

/** @internal */
export const make = (
  server: net.Server,
  connections: Connections,
  successor: Successor,
  /** One of those under way has ended. */
  onLeft: () => void,
  /** One that was sent was not taken, and stays. */
  onRefused: () => void
): GivenDepartures => {
  const inRow = new WeakSet<Connection>()
  const staying = new WeakSet<Connection>()
  const watched = new WeakSet<Connection>()
  let underWay = 0
  // What a server of HTTP accepts has to begin with a request.
  const isHttp = "requestTimeout" in server

  const stay = (connection: Connection) => {
    connection.leaves = false
    staying.add(connection)
  }

  const stateOf = (connection: Connection, { key, state }: Given): Option.Option<Uint8Array> => {
    try {
      return Option.map(state(), (bytes) => {
        if (bytes.length <= maxStateBytes) return bytes
        throw new HandOverError({
          key,
          reason: "TooLarge",
          detail: `it has ${bytes.length} bytes, and the state of a connection has ${maxStateBytes} at most`
        })
      })
    } catch (cause) {
      connections.failed(connection, cause)
      stay(connection)
      return Option.none()
    }
  }

  const isStill = (socket: net.Socket, { request }: Given) => {
    if (!Node.isStill(socket) || isWorkedOn(socket)) return false
    const ws = request === undefined ? undefined : Ws.wsOf(socket)
    return request === undefined || ws !== undefined && Ws.isBetweenMessages(ws, socket)
  }

  /** What the newer process is to know, if it can go now. */
  const readyState = (connection: Connection, given: Given): Option.Option<Uint8Array> =>
    connection.leaves === "given" && isStill(connection.socket, given) ? stateOf(connection, given) : Option.none()

  const close = (connection: Connection, { request }: Given, state: Uint8Array, departure: Departure) => {
    const { socket } = connection
    const ws = request === undefined ? undefined : Ws.wsOf(socket)
    const opening = request === undefined ? undefined : openingOf(request, ws?.protocol ?? "")
    let isOver = false
    const over = () => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      // What the system has not taken would end with this process, and the connection with it.
      departure.leave(state, opening, () => {
        underWay--
        onLeft()
      })
    }
    const timer = setTimeout(over, handlerTimeout)
    if (ws !== undefined) {
      Ws.closesWith(ws, 1012, "service restart")
      Node.closesAs(socket, "ended")
    }
    const closing: Pick<net.Socket, "once"> | Ws.Ws = ws ?? socket
    closing.once("close", () => whenUnhandled(socket, over))
    connections.destroy(connection, "handedOver")
  }

  /** The newer process holds it. What this one has written since then is on its way before anything that that one writes. */
  const depart = (connection: Connection, given: Given, departure: Departure) => {
    const until = performance.now() + boundaryTimeout
    underWay++
    const attempt = () => {
      const state = departure.isOpen() ? readyState(connection, given) : Option.none()
      if (Option.isSome(state)) return close(connection, given, state.value, departure)
      const goesOn = departure.isOpen() && connection.leaves === "given" && !connection.socket.destroyed
      if (goesOn && performance.now() < until) return void setTimeout(attempt, retryInterval)
      if (!departure.isOpen()) {
        stay(connection)
        onRefused()
      }
      departure.keep()
      underWay--
      onLeft()
    }
    attempt()
  }

  const candidateOf = (connection: Connection, given: Given): Candidate => {
    let isSent = false
    let isHeld = false
    return {
      socket: connection.socket,
      key: given.key,
      isUsed: () => true,
      isReady: () => {
        inRow.delete(connection)
        return Node.isRead(connection.socket) && Option.isSome(readyState(connection, given))
      },
      sent: () => {
        isSent = true
        inRow.add(connection)
      },
      taken: (departure) => {
        isHeld = true
        depart(connection, given, departure)
      },
      refused: () => {
        inRow.delete(connection)
        if (isHeld) return
        if (isSent) onRefused()
        stay(connection)
      }
    }
  }

  const offer = (connection: Connection) => {
    const given = givenOf(connection.socket)
    if (given === undefined || inRow.has(connection) || connection.leaves !== "given") return
    if (!isStill(connection.socket, given) || !Node.isRead(connection.socket)) return
    inRow.add(connection)
    successor.offer(candidateOf(connection, given))
  }

  /** An answer is the end of many a message: by the end of this turn it is out. */
  const watch = (connection: Connection) => {
    if (watched.has(connection)) return
    watched.add(connection)
    let isDue = false
    Node.onWrite(connection.socket, () => {
      if (isDue || connection.leaves !== "given") return
      isDue = true
      setImmediate(() => {
        isDue = false
        offer(connection)
      })
    })
  }

  const consider = (connection: Connection) => {
    const { socket } = connection
    const given = givenOf(socket)
    if (given === undefined || connection.leaves !== false || staying.has(connection)) return
    if (isHttp !== (given.request !== undefined) || isHttp && Ws.wsOf(socket)?.extensions !== "") return
    if (!successor.takes(given.key) || Node.speaksHttp1(socket) || !Node.isPlain(socket)) return
    connection.leaves = "given"
    watch(connection)
  }

  return {
    visit: (connection) => {
      consider(connection)
      offer(connection)
    },
    hurry: (connection) => {
      if (connection.leaves === "given" && isHttp && !inRow.has(connection)) stay(connection)
    },
    stay,
    underWay: () => underWay
  }
}
