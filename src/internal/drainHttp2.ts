/**
 * HTTP/2 while draining: GOAWAY (RFC 9113 6.8). Streams that the client opened before it reads the GOAWAY and that this
 * side had not seen when it wrote it are refused: they were not executed and the client may send them again.
 *
 * @internal
 */
import type { ServerHttp2Session } from "node:http2"
import type { Connection, Connections } from "./drainConnections.ts"
import * as Node from "./drainNode.ts"

/** @internal */
export interface Http2 {
  readonly state: (session: ServerHttp2Session) => "idle" | "fresh" | "inFlight"
  /** Sends the sessions away that have served a request. */
  readonly begin: () => void
  /** Sends those away that have served their first request since. */
  readonly sweep: (now: number) => void
}

/** A client that has just connected often sends several requests at once: milliseconds until they are all in. */
const graceAfterFirstStream = 100

const used = (session: ServerHttp2Session): boolean => (session.state.lastProcStreamID ?? 0) > 0

const sendAway = (connection: Connection, session: ServerHttp2Session) => {
  connection.told = true
  session.close()
}

/** @internal */
export const make = (connections: Connections): Http2 => {
  const usedSince = new WeakMap<ServerHttp2Session, number>()

  const usedSessions = function*(): Generator<readonly [Connection, ServerHttp2Session]> {
    for (const connection of connections.all.values()) {
      const session = connections.session(connection)
      if (session !== undefined && !session.closed && !session.destroyed && used(session)) yield [connection, session]
    }
  }

  return {
    state: (session) => Node.openStreams(session) > 0 ? "inFlight" : used(session) ? "idle" : "fresh",
    begin: () => {
      for (const [connection, session] of usedSessions()) sendAway(connection, session)
    },
    sweep: (now) => {
      for (const [connection, session] of usedSessions()) {
        const since = usedSince.get(session)
        if (since === undefined) usedSince.set(session, now)
        else if (now - since >= graceAfterFirstStream) sendAway(connection, session)
      }
    }
  }
}
