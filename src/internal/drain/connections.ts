/**
 * The connections of one server, from the moment it is followed: a Map entry per connection, nothing per request.
 *
 * @internal
 */
import type { ServerHttp2Session } from "node:http2"
import type * as net from "node:net"
import { httpServerOf, isTlsServer, onSecured, plainSocketOf, sessionOf } from "../node/internals.ts"

/**
 * How a connection came to its end.
 *
 * @internal
 */
export type Ending = "finished" | "sentAway" | "handedOver" | "timedOut" | "forced"

/** @internal */
export interface Connection {
  /** What the application sees: the TLS socket once there is one. */
  socket: net.Socket
  /** The client has been told, in its protocol, to go elsewhere. */
  told: boolean
  /** All has been said; only the client's own end is awaited. */
  lingering: boolean
  /** It is to go to the newer process, between two requests or by the app's word, and its client is told nothing. */
  leaves: "requests" | "given" | false
  /** Why we destroyed it, if we did. */
  ending: Ending | undefined
  /** Since when a drain has seen it without anything to do, and how many bytes had come by then. */
  idleSince: number | undefined
  /** When its last request came that came while draining. */
  admittedAt: number | undefined
  /** The drain has begun for it. */
  seen: boolean
  /** Milliseconds for which it is held while it has nothing to do. */
  patience: number | undefined
}

/** What is done with one connection. A closed one is to be told, because that is far more work than a look. */
export type Visit = (connection: Connection) => "closed" | void

/** A way through all connections that are there when it begins: it ends, however many come meanwhile. */
export interface Walk {
  /** Visits the next ones, as many as one turn of the event loop has time for; whether there are more. */
  readonly step: (visit: Visit) => boolean
}

/** @internal */
export interface Connections {
  readonly all: ReadonlyMap<net.Socket, Connection>
  /** Remembers what a connection has thrown. */
  readonly failed: (connection: Connection, cause: unknown) => void
  /** What has been thrown since the last call, once for each connection. */
  readonly failures: () => ReadonlyArray<unknown>
  readonly walk: () => Walk
  /** Looks for the HTTP server that speaks on what the server has accepted and handed on. */
  readonly discover: (connection: Connection) => void
  /** A connection that another server has made a TLS socket of. */
  readonly becomes: (socket: net.Socket) => Connection | undefined
  /** The entry of a socket that the application sees. */
  readonly of: (socket: net.Socket) => Connection | undefined
  readonly session: (connection: Connection) => ServerHttp2Session | undefined
  /** The TLS handshake has not ended. */
  readonly handshaking: (connection: Connection) => boolean
  /** The sockets as the application sees them. */
  readonly sockets: () => ReadonlySet<net.Socket>
  readonly destroy: (connection: Connection, ending: Ending) => void
  /** From now on: how connections end, new ones, and that none is left. */
  observe: Observer | undefined
  readonly unfollow: () => void
}

/** @internal */
export interface Observer {
  readonly opened: (connection: Connection) => unknown
  readonly closed: (connection: Connection, ending: Ending) => void
  readonly empty: () => void
}

/** So many connections are looked at in one turn of the event loop, or so many times fewer are closed. */
const looksPerTurn = 256
const looksPerClose = 4

const kSession = Symbol("effect-tableflip/Drain/session")

// a session hides its socket behind a proxy that passes unknown properties on: so the real socket learns its session
const onSession = (session: ServerHttp2Session) => {
  if (session.socket !== undefined) Object.assign(session.socket, { [kSession]: session })
}

const carriesHttp = (server: net.Server): boolean => "requestTimeout" in server || "setTimeout" in server

/** @internal */
export const follow = (server: net.Server): Connections => {
  const all = new Map<net.Socket, Connection>()
  const servers = new Set<net.Server>()
  const reported = new WeakSet<Connection>()
  let failures: Array<unknown> = []
  let forgetSecured = () => {}
  const speaksItself = carriesHttp(server)
  const secure = isTlsServer(server)

  const endingOf = (connection: Connection): Ending => connection.ending ?? (connection.told ? "sentAway" : "finished")

  function onClose(this: net.Socket) {
    const connection = all.get(this)
    if (connection === undefined) return
    all.delete(this)
    const observer = self.observe
    if (observer === undefined) return
    observer.closed(connection, endingOf(connection))
    if (all.size === 0) observer.empty()
  }

  const onConnection = (socket: net.Socket) => {
    if (socket.destroyed || all.has(socket)) return
    const connection: Connection = {
      socket,
      told: false,
      lingering: false,
      leaves: false,
      ending: undefined,
      idleSince: undefined,
      admittedAt: undefined,
      seen: false,
      patience: undefined
    }
    all.set(socket, connection)
    socket.on("close", onClose)
    if (!speaksItself) {
      if (!secure) forgetSecured = onSecured(onSecuredElsewhere)
      process.nextTick(learn, socket)
    }
    self.observe?.opened(connection)
  }

  const learn = (socket: net.Socket) => {
    const speaking = httpServerOf(socket)
    if (speaking === undefined || speaking === server) return
    const early = sessionOf(socket)
    if (early !== undefined) onSession(early)
    if (servers.has(speaking)) return
    servers.add(speaking)
    speaking.on("session", onSession)
  }

  const onSecureConnection = (socket: net.Socket) => {
    const connection = all.get(plainSocketOf(socket) ?? socket)
    if (connection === undefined) return onConnection(socket)
    connection.socket = socket
    if (!speaksItself) process.nextTick(learn, socket)
  }

  /** Another server has made a TLS socket of it. */
  const onSecuredElsewhere = (socket: net.Socket) => {
    if (self.becomes(socket) !== undefined) learn(socket)
  }

  server.on("connection", onConnection)
  if (secure) server.on("secureConnection", onSecureConnection)
  server.on("session", onSession)

  const session = (connection: Connection): ServerHttp2Session | undefined =>
    (connection.socket as { readonly [kSession]?: ServerHttp2Session })[kSession]

  /** One that is odd, a stream in user land say, does not decide for the others. */
  const guarded = (visit: Visit, connection: Connection) => {
    try {
      return visit(connection)
    } catch (cause) {
      self.failed(connection, cause)
    }
  }

  const self: Connections = {
    all,
    walk: () => {
      // A Map may change while one goes through it, and has what comes at its end.
      const left = all.values()
      let count = all.size
      return {
        step: (visit) => {
          for (let looks = 0; looks < looksPerTurn;) {
            const next = left.next()
            if (next.done === true || count-- === 0) return false
            looks += guarded(visit, next.value) === "closed" ? looksPerClose : 1
          }
          return true
        }
      }
    },
    failed: (connection, cause) => {
      if (!reported.has(connection)) failures.push(cause)
      reported.add(connection)
    },
    failures: () => {
      const reporting = failures
      failures = []
      return reporting
    },
    discover: ({ socket }) => {
      if (!speaksItself) learn(socket)
    },
    becomes: (socket) => {
      const connection = self.of(socket)
      if (connection !== undefined) connection.socket = socket
      return connection
    },
    of: (socket) => all.get(socket) ?? all.get(plainSocketOf(socket) ?? socket),
    session,
    handshaking: (connection) => secure && plainSocketOf(connection.socket) === undefined,
    sockets: () => new Set(Array.from(all.values(), (connection) => connection.socket)),
    destroy: (connection, ending) => {
      connection.ending ??= ending
      session(connection)?.destroy()
      connection.socket.destroy()
    },
    observe: undefined,
    unfollow: () => {
      server.off("connection", onConnection)
      server.off("secureConnection", onSecureConnection)
      server.off("session", onSession)
      forgetSecured()
      for (const speaking of servers) speaking.off("session", onSession)
      for (const socket of all.keys()) socket.off("close", onClose)
      all.clear()
      self.observe = undefined
    }
  }
  return self
}
