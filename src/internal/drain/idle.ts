/**
 * The time of connections that have nothing to do. When it is over they are closed, and if there are many, not all at once.
 *
 * @internal
 */
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"
import type { State } from "./counts.ts"

/** Milliseconds for each connection over which they are closed, and the part of their time that it may be at most. */
const gap = 1
const longestWindow = 0.5

export interface Idle {
  /** So many are open when the drain begins. */
  readonly begin: (count: number) => void
  /** Closes one whose time is over. */
  readonly visit: (connection: Connection, now: number) => "closed" | void
}

export const make = (
  connections: Connections,
  idleMillis: number,
  stateOf: (connection: Connection) => State
): Idle => {
  let count = 1
  let order = 0

  const patienceOf = (connection: Connection) => {
    const window = Math.min(count * gap, idleMillis * longestWindow)
    connection.patience ??= idleMillis - window * (1 + order++ % count) / count
    return connection.patience
  }

  return {
    begin: (open) => {
      count = Math.max(open, 1)
    },
    visit: (connection, now) => {
      const state = stateOf(connection)
      if (connection.leaves || connection.lingering || (state !== "idle" && state !== "fresh")) {
        connection.idleSince = undefined
        return
      }
      connection.idleSince ??= now
      if (now - connection.idleSince < patienceOf(connection)) return
      const session = connections.session(connection)
      if (session === undefined) connections.destroy(connection, "timedOut")
      // a client that has been told and does not hang up
      else if (session.closed || connection.told) connections.destroy(connection, "sentAway")
      else {
        connection.ending = "timedOut"
        connection.idleSince = now
        Node.goAway(session, connection.socket, () => session.close())
      }
      return "closed"
    }
  }
}
