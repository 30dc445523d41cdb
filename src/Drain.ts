/**
 * Finishing what a server serves: a graceful shutdown that loses no request.
 *
 * Works on any server of Node (`http`, `https`, `http2`, `net`, `tls`, with WebSockets on top), with or without an upgrade:
 *
 * ```ts
 * const program = Effect.gen(function*() {
 *   const drainable = yield* Drain.server(httpServer, { drainTimeout: "20 seconds" })
 *   httpServer.listen(8080)
 *   yield* Effect.never
 * })
 * // when its scope closes the server is drained
 * NodeRuntime.runMain(Effect.scoped(program))
 * ```
 *
 * @since 3.0.0
 * @module
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as dgram from "node:dgram"
import type * as net from "node:net"
import * as internalPacket from "./internal/drain/packet.ts"
import * as internalServer from "./internal/drain/server.ts"
import type { InvalidOptionError } from "./TableflipError.ts"

/**
 * How a server is drained.
 *
 * @since 3.0.0
 * @category models
 */
export interface Options {
  /**
   * When it has passed, everything that is left is closed by force. Counted from the start of the drain, the hook
   * included; for a request that comes during the drain, on a connection that is held, from when it comes, and never more
   * than twice this long in all. Default: 30 seconds.
   */
  readonly drainTimeout?: Duration.DurationInput | undefined
  /**
   * How long an HTTP connection without a request is held open for one more, which is answered and then ends it: closing
   * an idle connection at once would lose a request that is already on its way. Meanwhile the server's own
   * `keepAliveTimeout` is suspended. Also how long a WebSocket may take to answer the close. Never more than
   * `drainTimeout`. If there are many connections, they are closed one a millisecond: the first of them up to half of
   * this time earlier, and the last of more than that takes later, but within four fifths of `drainTimeout`. Default: 10
   * seconds.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * After the last response of an HTTP/1 connection the server reads on, so that a client that is still uploading gets the
   * response instead of a reset (RFC 9112 9.6): until the client closes, or for this long without a byte from it.
   * Default: 2 seconds.
   */
  readonly lingerTimeout?: Duration.DurationInput | undefined
  /**
   * The code of the close frame for WebSockets: 1012 "service restart", or 1001 "going away" (RFC 6455 7.4.1 and the IANA
   * registry). Default: 1012.
   */
  readonly webSocketCloseCode?: 1012 | 1001 | undefined
  /**
   * The window over which the WebSockets are closed, so that they do not all come back at once. Where they are more than a
   * thousand for each second of it, it takes a millisecond for each, but no more than 0.6 of `drainTimeout` for all.
   * Default: 1 second.
   */
  readonly webSocketSpread?: Duration.DurationInput | undefined
  /**
   * Whether other processes go on accepting on the same socket. They get what is in its accept queue, so this one closes
   * it at once. Otherwise that would be reset, and so it is served first. Default: whether the server listens on a
   * descriptor that it was given, or in a worker of `node:cluster`.
   */
  readonly sharedSocket?: boolean | undefined
  /**
   * Runs first: when the server has stopped accepting and before any client is sent away. The place to end endless
   * responses, to leave a registry of services, or to say goodbye on a protocol that is the app's own, for which nothing
   * else is done until `drainTimeout`. A failure is logged and ignored.
   */
  readonly onDrain?: ((draining: Draining) => Effect.Effect<unknown, unknown>) | undefined
  /** How long `onDrain` may take; then it is interrupted. Never more than `drainTimeout`. Default: 5 seconds. */
  readonly hookTimeout?: Duration.DurationInput | undefined
}

/**
 * What an `onDrain` hook is given.
 *
 * @since 3.0.0
 * @category models
 */
export interface Draining {
  readonly server: net.Server
  /** The connections that are open: the sockets that the server's listeners got (for TLS, those of `secureConnection`). */
  readonly sockets: ReadonlySet<net.Socket>
}

/**
 * What a drain did. `open = idle + fresh + inFlight + opaque`, and
 * `open = finished + sentAway + handedOver + timedOut + forced`.
 *
 * @since 3.0.0
 * @category models
 */
export interface ServerReport {
  /** Connections that were open when the drain began, or that were handed to the server while it ran. */
  readonly open: number
  /** Of `open`: between two requests. */
  readonly idle: number
  /** Of `open`: had not made a request yet; includes TLS handshakes under way. */
  readonly fresh: number
  /** Of `open`: in the middle of a request or of its response, or of an HTTP/2 stream. */
  readonly inFlight: number
  /** Of `open`: not HTTP, or not any more: WebSockets and other upgrades, plain TCP, plain TLS. */
  readonly opaque: number
  /** Ended by the client or by the app without having been told to go. */
  readonly finished: number
  /**
   * Ended after the client had been told in its protocol: `Connection: close`, GOAWAY, or a WebSocket close frame.
   * HTTP/2 streams that cross the GOAWAY are refused without having been executed, and a client may send them again
   * (RFC 9113 6.8 and 8.7). They cannot be counted here: nghttp2 drops them before Node sees them.
   */
  readonly sentAway: number
  /** Went on in the process that an upgrade has started, between two requests: their clients have noticed nothing. */
  readonly handedOver: number
  /**
   * Of `open`: were sent to that process, which has not taken them, because it refuses, has died or can open no more. They
   * were drained here, and are in one of the other ends.
   */
  readonly refused: number
  /** Closed because `idleTimeout` passed without a request, or without the answer to a WebSocket close. */
  readonly timedOut: number
  /** Destroyed: by `drainTimeout` or by `hasten`. */
  readonly forced: number
  /** WebSockets that were sent a close frame. */
  readonly webSockets: number
  /**
   * HTTP/1 requests that came on a connection after a response that had said close. They were not given to the app; a
   * client must send them again (RFC 9112 9.6).
   */
  readonly droppedRequests: number
  /** From the start of the drain to the end of the last connection. */
  readonly duration: Duration.Duration
}

/**
 * A server that is followed, to be drained.
 *
 * @since 3.0.0
 * @category models
 */
export interface Drainable {
  /**
   * Stops accepting, finishes what is being served and reports. A socket that is shared is closed in the tick in which
   * this starts to run, any other a few turns of the event loop later, when its accept queue is empty. Once begun, it goes
   * on even if the caller is interrupted; running it again waits for the same report. Takes no longer than
   * twice `drainTimeout` and two seconds.
   */
  readonly drain: Effect.Effect<ServerReport>
  /** Closes what is left now, and returns when it is closed: what a second SIGTERM should do. */
  readonly hasten: Effect.Effect<void>
  /**
   * Only stops accepting, synchronously, whatever is in the accept queue. For several servers that must stop in one tick;
   * the drain that follows does not do it again.
   */
  readonly stopAccepting: Effect.Effect<void>
  /**
   * Has the WebSockets of a `ws` WebSocketServer (or of one of its shape) closed when the server is drained, also those
   * that are opened meanwhile. Those of `ws` itself are found without it, as long as they are on this server.
   */
  readonly webSockets: (server: WebSocketServer) => Effect.Effect<void>
}

/**
 * What a drain uses of a WebSocket of `ws`.
 *
 * @since 3.0.0
 * @category models
 */
export interface WebSocket {
  close(code?: number, reason?: string): void
  once(event: "close", listener: () => void): unknown
}

/**
 * What a drain uses of a WebSocketServer of `ws`.
 *
 * @since 3.0.0
 * @category models
 */
export interface WebSocketServer {
  readonly clients?: Iterable<WebSocket> | undefined
  on(event: "connection", listener: (webSocket: any, request: any) => void): unknown
  off(event: "connection", listener: (webSocket: any, request: any) => void): unknown
}

/**
 * Follows the connections of a server from now on, so that it can be drained: call it before the server has its first
 * connection. Until then it costs one entry in a Map per connection and nothing per request. When the scope closes, a
 * server that has not been drained is.
 *
 * A server that is not listening, or that has been closed by others, is drained of the connections it has. The app may
 * close the server as well: the callback of `close` is called when its last connection has ended.
 *
 * Connections that a server hands on, as a `net.Server` in front of an HTTP server does, are drained as the HTTP server
 * speaks on them.
 *
 * @since 3.0.0
 * @category constructors
 */
export const server: (
  server: net.Server,
  options?: Options
) => Effect.Effect<Drainable, InvalidOptionError, Scope.Scope> = internalServer.make

/**
 * How a UDP socket is drained.
 *
 * @since 3.0.0
 * @category models
 */
export interface PacketOptions {
  /**
   * How long the socket stays open for replies to what it has received. An app that knows when its last reply is out
   * closes the socket itself. Default: 1 second.
   */
  readonly replyTimeout?: Duration.DurationInput | undefined
}

/**
 * A UDP socket to be drained.
 *
 * @since 3.0.0
 * @category models
 */
export interface DrainablePacket {
  /**
   * Stops receiving in the tick in which it starts to run, so that what comes from now on is left to the other processes
   * that share the socket; closes it after `replyTimeout`, and is done when it is closed. Idempotent.
   */
  readonly drain: Effect.Effect<void>
  /** Closes the socket now. */
  readonly hasten: Effect.Effect<void>
  /** Only stops receiving, synchronously. */
  readonly stopReceiving: Effect.Effect<void>
}

/**
 * Makes a bound UDP socket drainable. Closing it at once would lose the replies that are still being worked on. When the
 * scope closes, a socket that has not been drained is.
 *
 * @since 3.0.0
 * @category constructors
 */
export const packet: (
  socket: dgram.Socket,
  options?: PacketOptions
) => Effect.Effect<DrainablePacket, InvalidOptionError, Scope.Scope> = internalPacket.make
