/**
 * HTTP/2 while draining: GOAWAY (RFC 9113 6.8). Node offers only the one with the last stream that it has seen, so that a
 * stream which crosses it is refused: not executed, and the client may send it again, but not every client does. The way
 * of RFC 9113 to avoid that, a first GOAWAY without a limit, cannot be had: `session.goaway(0, 2 ** 31 - 1)` makes nghttp2
 * ignore new streams all the same, and a frame written below the session aborts the process over TLS.
 *
 * What can be chosen is the moment. A client that makes one request after the other sends nothing while one of them is
 * open: so a session is sent away when it has an open stream, and one that is idle is held for its next.
 *
 * @internal
 */
import type { ServerHttp2Session } from "node:http2"
import type { Connections } from "./drainConnections.ts"
import * as Node from "./nodeInternals.ts"

/** @internal */
export interface Http2 {
  readonly state: (session: ServerHttp2Session) => "idle" | "fresh" | "inFlight"
  readonly begin: () => void
  /** Looks after sessions that have begun, or have come, since. */
  readonly sweep: (now: number) => void
}

/** A client that has just connected often sends several requests at once: milliseconds until they are all in. */
const graceAfterFirstStream = 100

const used = (session: ServerHttp2Session): boolean => (session.state.lastProcStreamID ?? 0) > 0

interface Watched {
  /** Its first requests are in. */
  settled: boolean
  usedSince: number | undefined
}

/** @internal */
export const make = (connections: Connections): Http2 => {
  const watched = new WeakMap<ServerHttp2Session, Watched>()

  const watch = (session: ServerHttp2Session, sendAway: () => void): Watched => {
    const watching: Watched = { settled: false, usedSince: undefined }
    watched.set(session, watching)
    session.on("stream", () => {
      // the same chunk may bring more streams, which an immediate GOAWAY would refuse
      setImmediate(() => {
        if (watching.settled) sendAway()
      })
    })
    return watching
  }

  const sweep = (settle: (session: ServerHttp2Session, watching: Watched) => boolean) => {
    for (const connection of connections.all.values()) {
      const session = connections.session(connection)
      if (session === undefined || session.closed || session.destroyed) continue
      const sendAway = () => {
        connection.told = true
        Node.closeSession(session, connection.socket)
      }
      const watching = watched.get(session) ?? watch(session, sendAway)
      watching.settled ||= settle(session, watching)
      if (watching.settled && Node.openStreams(session) > 0) sendAway()
    }
  }

  return {
    state: (session) => Node.openStreams(session) > 0 ? "inFlight" : used(session) ? "idle" : "fresh",
    begin: () => sweep(used),
    sweep: (now) =>
      sweep((session, watching) => {
        if (used(session)) watching.usedSince ??= now
        return watching.usedSince !== undefined && now - watching.usedSince >= graceAfterFirstStream
      })
  }
}
