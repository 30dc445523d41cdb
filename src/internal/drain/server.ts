/**
 * The course of a drain: stop accepting, the app's hook, every protocol's goodbye, the wait, the force, the report.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as net from "node:net"
import type { Drainable, Options, ServerReport } from "../../Drain.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import type { Successor } from "../handOver/sender.ts"
import { logDebug, logWarning } from "../logging.ts"
import * as Node from "../node/internals.ts"
import { disconnect, forkApart, fromResult } from "../seam.ts"
import * as acceptQueue from "./acceptQueue.ts"
import type { Connection, Visit } from "./connections.ts"
import { follow } from "./connections.ts"
import type { State } from "./counts.ts"
import * as Counts from "./counts.ts"
import type { Departures } from "./departures.ts"
import { make as makeDepartures } from "./departures.ts"
import * as Http1 from "./http1.ts"
import * as Http2 from "./http2.ts"
import { make as makeIdle } from "./idle.ts"
import { decode } from "./options.ts"
import * as rounds from "./rounds.ts"
import * as WebSockets from "./webSocket.ts"

/** Milliseconds from one look at those that are to be closed to the next, and if there are none. */
const paceInterval = 10
const restingInterval = 50

/** What `destroy` takes until the 'close' event; a stream in user land may never emit it. */
const destroyTimeout = Duration.seconds(1)

/** Steps of the wall clock must not close what is held. */
const monotonicMillis = Effect.sync(() => performance.now())

const log = Effect.annotateLogs({ package: "effect-tableflip", module: "Drain" })

const warn = (message: string) => (cause: Cause.Cause<unknown>) => log(logWarning(message, cause))

const notDrained = warn("A connection could not be drained")

const notStopped = warn("A server has thrown when it was to stop accepting")

/** A WebSocket is foreign code: what it throws must not keep the deadline from being met. */
const guard = (effect: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllCause(effect, notDrained)

/**
 * What an upgrader uses besides.
 *
 * @internal
 */
export interface Followed extends Drainable {
  /** Stops accepting when the accept queue is empty, for a socket that no other process goes on accepting from. */
  readonly emptyQueue: Effect.Effect<void>
  /** How many are open. */
  readonly connections: () => number
}

/** @internal */
export const make: (
  server: net.Server,
  options?: Options,
  /** Who takes connections over when the drain begins, if somebody does. */
  successorNow?: () => Successor | undefined
) => Effect.Effect<Followed, InvalidOptionError, Scope.Scope> = Effect
  .fnUntraced(function*(server, options, successorNow = () => undefined) {
    const settings = yield* fromResult(decode(options))
    const drainMillis = Duration.toMillis(settings.drainTimeout)
    const hook = options?.onDrain
    const report = yield* Deferred.make<ServerReport>()
    const hurried = yield* Deferred.make<void>()
    const empty = yield* Deferred.make<void>()

    let stopped = false
    let started = false
    const onListening = () => Node.closeListener(server)
    const stop = () => {
      if (stopped) return
      stopped = true
      if (server.listening) Node.closeListener(server)
      // `listen` may still be looking up its host name
      server.on("listening", onListening)
    }

    /** A server may be foreign code too, and the drain is to go on. */
    const stopSafely = Effect.catchAllCause(Effect.sync(stop), notStopped)

    const connections = follow(server)
    let departures: Departures | undefined
    const http1 = Http1.make(
      server,
      connections,
      settings.lingerMillis,
      (connection) => {
        if (connections.observe !== undefined) note(connection)
        return connection.leaves !== false && departures?.keeps(connection) === true
      }
    )
    const emptyQueue = Effect.suspend(() => {
      if (stopped || !server.listening) return Effect.sync(stop)
      // Those who are let in now get one answer, as all others do from now on.
      http1.begin()
      return acceptQueue.closeEmpty(server, stop)
    })
    const http2 = Http2.make(connections, drainMillis)
    const webSockets = WebSockets.make(server, connections, {
      code: settings.webSocketCode,
      spreadMillis: settings.spreadMillis,
      answerMillis: settings.idleMillis,
      drainMillis
    })

    const stateOf = (connection: Connection): State => {
      const session = connections.session(connection)
      if (session !== undefined) return http2.state(session)
      if (connections.handshaking(connection)) return "fresh"
      return Node.speaksHttp1(connection.socket) ? http1.state(connection) : "opaque"
    }

    const counts = Counts.make()

    /** Nothing is known of one that cannot even be looked at; the next sweep tells why. */
    const firstState = (connection: Connection): State => {
      try {
        connections.discover(connection)
        return stateOf(connection)
      } catch {
        return "opaque"
      }
    }

    let isSendingAway = hook === undefined

    /** Begins with one, unless that has been done. */
    const note = (connection: Connection): boolean => {
      if (connection.seen) return false
      connection.seen = true
      counts.opened(firstState(connection))
      departures?.opened(connection)
      return true
    }

    const see = (connection: Connection, now: number) => {
      if (note(connection) && !connection.leaves) http1.release(connection)
      http1.join(connection)
      if (isSendingAway) http2.visit(connection, now)
      webSockets.visit(connection)
      departures?.visit(connection)
    }

    const sendAway = (now: number) => {
      isSendingAway = true
      webSockets.begin(now)
    }

    const isEmpty = () => stopped && connections.all.size === 0 && (departures?.underWay() ?? 0) === 0

    const checkEmpty = () => {
      if (isEmpty()) Deferred.unsafeDone(empty, Effect.void)
    }

    const look = () => {
      http1.look()
      departures?.look()
    }

    const idle = makeIdle(connections, { idleMillis: settings.idleMillis, drainMillis }, stateOf)

    const begin = (now: number) => {
      const successor = successorNow()
      if (successor !== undefined) {
        departures = makeDepartures(server, connections, successor, http1.release, checkEmpty, counts.refused)
      }
      connections.observe = {
        opened: note,
        closed: (connection, ending) => {
          if (connection.seen) counts.closed(ending)
        },
        empty: checkEmpty
      }
      idle.begin(connections.all.size, now)
      // Before the hook: who is sent away by it must not come back on a connection that is as it was.
      http1.begin()
      departures?.begin()
      if (isSendingAway) webSockets.begin(now)
    }

    const everyTurn = (visit: Visit) => rounds.walk(connections.walk, look, visit)

    const reportOdd = Effect.suspend(() =>
      Effect.forEach(connections.failures(), (cause) => notDrained(Cause.die(cause)), { discard: true })
    )

    let isOvertime = false
    let startedAt = 0

    const visit: Visit = (connection) => {
      const now = performance.now()
      see(connection, now)
      idle.visit(connection, now)
      if (isOvertime && isOverdue(connection, now)) return force(connection)
    }

    const round = Effect.suspend(() => {
      if (performance.now() - startedAt > drainMillis / 2) departures?.hurry()
      return everyTurn(visit)
    }).pipe(
      Effect.zipLeft(reportOdd),
      Effect.catchAllCause((cause) => Effect.as(notDrained(cause), 0)),
      Effect.flatMap((work) => rounds.pause(rounds.restAfter(work)))
    )

    const closeSome = Effect.map(monotonicMillis, (now) => {
      look()
      idle.turn(now)
      webSockets.turn(now)
    })

    const areWaiting = () => idle.areWaiting() || webSockets.areWaiting()

    const pace = guard(closeSome).pipe(
      Effect.zipRight(Effect.suspend(() => rounds.pause(areWaiting() ? paceInterval : restingInterval)))
    )

    /**
     * A request that came late, on a connection that was held for it, has as much time as those that were there. Its
     * response is the last one: a connection that is no longer in flight after that is about to be closed by its server.
     */
    const isOverdue = (connection: Connection, now: number) =>
      connection.lingering || connection.admittedAt === undefined || now - connection.admittedAt >= drainMillis

    /** It has had all that it asked for: only the client's side of the connection is missing. */
    const isOver = (connection: Connection) => {
      const session = connections.session(connection)
      return connection.lingering || session?.destroyed === true ||
        connection.told && stateOf(connection) !== "inFlight"
    }

    const force: Visit = (connection) => {
      const ending = isOver(connection)
        ? connection.ending ?? "sentAway"
        : idle.isOver(connection)
        ? "timedOut"
        : "forced"
      connections.destroy(connection, ending)
      return "closed"
    }

    const runHook = hook === undefined
      ? Effect.void
      : Effect.suspend(() => hook({ server, sockets: connections.sockets() })).pipe(
        // lets go of a hook that cannot be interrupted
        disconnect,
        Effect.timeoutTo({
          duration: settings.hookTimeout,
          onSuccess: () => Effect.void,
          onTimeout: () => log(logWarning("The onDrain hook was cut short by hookTimeout"))
        }),
        Effect.flatten,
        Effect.catchAllCause(warn("The onDrain hook failed")),
        Effect.zipRight(guard(Effect.map(monotonicMillis, sendAway)))
      )

    const sweeps = Effect.raceFirst(Effect.forever(round), Effect.forever(pace))

    const run = Effect.gen(function*() {
      startedAt = yield* monotonicMillis
      yield* guard(Effect.sync(() => begin(startedAt)))
      yield* guard(Effect.asVoid(everyTurn((connection) => {
        see(connection, startedAt)
        if (hook === undefined) idle.visit(connection, startedAt)
      })))
      yield* Effect.catchAllCause(emptyQueue, (cause) => Effect.zipRight(notStopped(cause), stopSafely))
      checkEmpty()
      const untilEmpty = Effect.raceFirst(sweeps, Deferred.await(empty))
      const inTime = (effect: Effect.Effect<unknown>) =>
        effect.pipe(Effect.raceFirst(Deferred.await(hurried)), Effect.timeoutOption(settings.drainTimeout))
      // A program may have thousands of servers without a connection.
      if (hook !== undefined || !isEmpty()) {
        if (Option.isNone(yield* inTime(Effect.zipRight(runHook, untilEmpty)))) {
          isOvertime = true
          yield* inTime(untilEmpty)
        }
        yield* rounds.nextTurn
        yield* guard(Effect.asVoid(everyTurn(force)))
        yield* Effect.timeoutOption(Deferred.await(empty), destroyTimeout)
      }
      departures?.end()
      http1.end()
      webSockets.release()
      Node.stopCheckingConnections(server)
      connections.observe = undefined
      const endedAt = yield* monotonicMillis
      const result: ServerReport = {
        ...counts.totals(),
        webSockets: webSockets.closed(),
        droppedRequests: http1.dropped(),
        duration: Duration.millis(Math.round(endedAt - startedAt))
      }
      yield* log(logDebug("Drained a server", result))
      return result
    }).pipe(Effect.interruptible)

    const isAlone = () => !(options?.sharedSocket ?? !Node.hasOwnSocket(server))

    const start = Effect.suspend(() => {
      if (started) return Effect.void
      started = true
      return Effect.zipRight(
        isAlone() ? Effect.void : stopSafely,
        // not a child of whoever asks first: an interrupted caller must not leave connections half way
        forkApart(Effect.intoDeferred(run, report))
      )
    })

    const drain = Effect.uninterruptibleMask((restore) => Effect.zipRight(start, restore(Deferred.await(report))))

    const hasten = Effect.uninterruptibleMask((restore) =>
      start.pipe(
        Effect.zipRight(Deferred.succeed(hurried, undefined)),
        Effect.zipRight(restore(Deferred.await(report))),
        Effect.asVoid
      )
    )

    yield* Effect.addFinalizer(() =>
      Effect.interruptible(drain).pipe(
        Effect.timeoutOption(Duration.sum(Duration.times(settings.drainTimeout, 2), Duration.times(destroyTimeout, 2))),
        Effect.zipRight(Effect.sync(() => {
          webSockets.release()
          connections.unfollow()
          server.off("listening", onListening)
        }))
      )
    )

    return {
      drain,
      hasten,
      stopAccepting: Effect.sync(stop),
      emptyQueue,
      connections: () => connections.all.size,
      webSockets: (webSocketServer) => Effect.sync(() => webSockets.add(webSocketServer))
    }
  })
