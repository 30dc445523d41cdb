/**
 * HTTP/2 while draining: GOAWAY (RFC 9113 6.8). Node offers only the one with the last stream that it has seen, so that a
 * stream which crosses it is refused: not executed, and the client may send it again, but not every client does. The ways
 * around that cannot be had. A first GOAWAY without a limit: `session.goaway(0, 2 ** 31 - 1)` makes nghttp2 ignore new
 * streams all the same, and a frame written below the session aborts the process. SETTINGS_MAX_CONCURRENT_STREAMS 0:
 * nghttp2 refuses what crosses that, and ends the session if a client is late by one stream after its acknowledgement.
 *
 * What can be chosen is the moment. A client that waits for answers sends nothing: so new requests are kept from the app
 * until some round trips of silence tell that the client has no more of them to send. Then comes the GOAWAY, and then the
 * app gets them. A session without requests is held for its next.
 *
 * @internal
 */
import { AsyncResource } from "node:async_hooks"
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2"
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"

/** @internal */
export interface Http2 {
  readonly state: (session: ServerHttp2Session) => "idle" | "fresh" | "inFlight"
  /** To be called again and again, for one that has become a session since, and for one that can be closed. */
  readonly visit: (connection: Connection, now: number) => void
}

/**
 * A client is taken to wait for answers after so many round trips, and milliseconds, without a request. Two would do for
 * what is on the wire; a client on a busy machine needs some turns of its event loop from an answer to its next request,
 * more of them in TLS, and answers a PING in each.
 */
const silentRounds = 5
const silence = 20

/** Milliseconds, and round trips, after the last answer from which on a client that still sends waits for none. */
const patience = 100
const patientRounds = 5

/**
 * Milliseconds, and round trips, for which a request is kept from the app at the longest. Of a client that is far away, or
 * on a busy machine, the next request after an answer comes a round trip later; one of more than a second counts as that. Half
 * of the time for the drain is left for the answer.
 */
const longestHold = 1_000
const longestRounds = 4
const slowestRound = 1_000

/** Milliseconds between two looks at whether that is over. */
const betweenLimits = 100

/** Milliseconds between two round trips. */
const betweenRounds = 5

/**
 * Milliseconds, and round trips, in which a client can read the last answer. Some (undici 8) take a request for lost if
 * the connection ends in the moment in which its answer comes.
 */
const farewell = 100
const farewellRounds = 2

/** Keeps new requests from the app until `release`. */
const holdRequests = (session: ServerHttp2Session, onRequest: () => void) => {
  const held: Array<{ readonly stream: ServerHttp2Stream; readonly deliver: () => void }> = []
  const { emit } = session
  // An error of a stream that the app has not seen would be nobody's, and end the process.
  const ignore = () => {}
  const hold = (event: string, ...details: ReadonlyArray<unknown>): boolean => {
    if (event !== "stream") return Reflect.apply(emit, session, [event, ...details])
    const stream = details[0] as ServerHttp2Stream
    stream.on("error", ignore)
    // These come once, and do not wait for somebody to read the body before them.
    let trailers: ReadonlyArray<unknown> | undefined
    const keepTrailers = (...all: ReadonlyArray<unknown>) => {
      trailers = all
    }
    stream.once("trailers", keepTrailers)
    const deliver = AsyncResource.bind(() => {
      if (stream.destroyed) return
      stream.off("error", ignore).off("trailers", keepTrailers)
      Reflect.apply(emit, session, [event, ...details])
      if (trailers !== undefined) process.nextTick(() => Reflect.apply(stream.emit, stream, ["trailers", ...trailers!]))
    })
    held.push({ stream, deliver })
    onRequest()
    return true
  }
  const release = () => {
    Object.assign(session, { emit })
    // One by one, as Node does it: what a handler throws must not keep the others from running.
    for (const { deliver } of held.splice(0)) process.nextTick(deliver)
  }
  Object.assign(session, { emit: hold })
  return { count: () => held.filter(({ stream }) => !stream.destroyed).length, release }
}

interface Watched {
  roundTrip: number
  /** Since when it has had no request, once the client has been told. */
  doneSince: number | undefined
}

/** @internal */
export const make = (connections: Connections, drainMillis: number): Http2 => {
  const watched = new WeakMap<ServerHttp2Session, Watched>()

  const watch = (connection: Connection, session: ServerHttp2Session, sendAway: (release: () => void) => void) => {
    const watching: Watched = { roundTrip: 0, doneSince: undefined }
    watched.set(session, watching)
    /** The time in which requests are kept: each is another one. */
    let listening: object | undefined
    let told = false
    const { count, release } = holdRequests(session, () => {
      connection.admittedAt = performance.now()
      if (listening === undefined && !told) listen()
    })

    const isBusy = () => count() > 0 || Node.openStreams(session) > 0

    /** Sends the client away when it waits for answers, or if it turns out not to wait for any. */
    const listen = () => {
      const own = {}
      listening = own
      const begin = performance.now()
      let changedAt = begin
      let answeredAt = begin
      let held = count()
      let running = Node.openStreams(session) - held
      let rounds = 0
      let waitingSince: number | undefined

      const look = (now: number) => {
        const heldNow = count()
        const runningNow = Node.openStreams(session) - heldNow
        if (runningNow < running) answeredAt = now
        if (heldNow !== held || runningNow !== running) {
          changedAt = now
          rounds = 0
        }
        held = heldNow
        running = runningNow
      }

      const end = () => {
        clearInterval(limit)
        if (listening !== own) return
        listening = undefined
        if (session.closed || session.destroyed) return release()
        // All has been answered, and the next request may be on its way.
        if (!isBusy()) return
        told = true
        sendAway(release)
      }
      const expire = () => {
        const now = performance.now()
        const roundTrip = Math.max(watching.roundTrip, now - (waitingSince ?? now))
        const longest = longestHold + longestRounds * Math.min(roundTrip, slowestRound)
        if (now - begin >= Math.min(longest, drainMillis / 2)) end()
      }
      const limit = setInterval(expire, betweenLimits)

      const round = () => {
        if (listening !== own) return
        const sentAt = performance.now()
        waitingSince = sentAt
        look(sentAt)
        if (session.closed || session.destroyed || !isBusy()) return end()
        const acknowledged = () => {
          const roundTrip = performance.now() - sentAt
          watching.roundTrip = roundTrip
          waitingSince = undefined
          // What came before the acknowledgement is emitted before this runs.
          setImmediate(() => {
            const now = performance.now()
            rounds++
            look(now)
            const isSilent = rounds >= silentRounds && now - changedAt >= silence
            if (isSilent || now - answeredAt >= patience + patientRounds * roundTrip) end()
            else setTimeout(round, betweenRounds)
          })
        }
        if (!session.ping(acknowledged)) end()
      }
      round()
    }
    if (isBusy()) listen()
  }

  return {
    state: (session) =>
      Node.openStreams(session) > 0 ? "inFlight" : (session.state.lastProcStreamID ?? 0) > 0 ? "idle" : "fresh",
    visit: (connection, now) => {
      connections.discover(connection)
      const session = connections.session(connection)
      if (session === undefined || session.closed || session.destroyed) return
      const watching = watched.get(session)
      if (watching === undefined) {
        watch(connection, session, (release) => {
          connection.told = true
          Node.goAway(session, connection.socket, release)
        })
      } else if (!connection.told || Node.openStreams(session) > 0) watching.doneSince = undefined
      else {
        watching.doneSince ??= now
        if (now - watching.doneSince >= farewell + farewellRounds * watching.roundTrip) session.close()
      }
    }
  }
}
