/**
 * The time of connections that have nothing to do. When it is over they are closed, and if there are many, not all at once.
 *
 * @internal
 */
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"
import type { State } from "./counts.ts"

/** Milliseconds from one close to the next, as long as all fit into the time. */
const gap = 1

/** The part of their time that each has at least. */
const shortestPart = 0.5

/**
 * The part of the time of the drain in which all are closed, if there are more than can be closed one after the other in
 * their own: whoever comes back must find room in an accept queue, or waits for a second and more.
 */
const longestPart = 0.8

/** So many are closed in one turn of the event loop. What is late stays late: their clients come back. */
const mostPerTurn = 64

export interface Idle {
  /** So many are open when the drain begins. */
  readonly begin: (count: number, now: number) => void
  /** Takes note of one whose time is over. */
  readonly visit: (connection: Connection, now: number) => void
  /** Closes some whose time is over, for one turn of the event loop. */
  readonly turn: (now: number) => void
  readonly isOver: (connection: Connection) => boolean
  readonly areWaiting: () => boolean
}

export const make = (
  connections: Connections,
  times: { readonly idleMillis: number; readonly drainMillis: number },
  stateOf: (connection: Connection) => State
): Idle => {
  let count = 1
  let order = 0

  let nextAt = 0
  const due = new Set<Connection>()

  const { drainMillis, idleMillis } = times
  const own = idleMillis * (1 - shortestPart)

  let startedAt = 0
  /** In which those are closed that have been seen so far. */
  let window = Infinity

  /** `own` of it at the most lies before the end of their time, and the rest behind it, as long as the drain lasts. */
  const windowFrom = (idleSince: number) => {
    const left = startedAt + drainMillis * longestPart - idleSince
    return Math.min(count * gap, Math.max(own, left - (idleMillis - own)))
  }

  const patienceFrom = (idleSince: number) => {
    const its = windowFrom(idleSince)
    window = Math.min(window, its)
    return idleMillis + Math.max(0, its - own) - its * (1 + order++ % count) / count
  }

  const isIdle = (connection: Connection) => {
    const state = stateOf(connection)
    return !connection.leaves && !connection.lingering && (state === "idle" || state === "fresh")
  }

  const close = (connection: Connection, now: number) => {
    const session = connections.session(connection)
    if (session === undefined) connections.destroy(connection, "timedOut")
    // a client that has been told and does not hang up
    else if (session.closed || connection.told) connections.destroy(connection, "sentAway")
    else {
      connection.ending = "timedOut"
      connection.idleSince = now
      Node.goAway(session, connection.socket, () => session.close())
    }
  }

  return {
    begin: (open, now) => {
      count = Math.max(open, 1)
      startedAt = now
    },
    visit: (connection, now) => {
      if (!isIdle(connection)) {
        connection.idleSince = undefined
        due.delete(connection)
        return
      }
      connection.idleSince ??= now
      connection.patience ??= patienceFrom(connection.idleSince)
      if (now - connection.idleSince >= connection.patience) due.add(connection)
    },
    turn: (now) => {
      const step = Math.min(window, count * gap) / count
      nextAt = Math.max(nextAt, now - (mostPerTurn - 1) * step)
      let left = mostPerTurn
      for (const connection of due) {
        if (nextAt > now || left-- === 0) return
        due.delete(connection)
        try {
          if (connection.socket.destroyed || !isIdle(connection)) continue
          nextAt += step
          close(connection, now)
        } catch (cause) {
          connections.failed(connection, cause)
        }
      }
    },
    isOver: (connection) => due.has(connection),
    areWaiting: () => due.size > 0
  }
}
