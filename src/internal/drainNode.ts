/**
 * Everything of the drain that leans on what Node (and `ws`) do not document. Node offers no public way to learn whether
 * a connection is between two requests, which response it is writing, or to close it without losing a response to unread
 * input. Read on 20, 22, 24 and 26. Whatever is missing in another version is answered with "unknown", never with an
 * exception, so that a drain degrades into waiting rather than into breaking connections.
 *
 * @internal
 */
import type * as dgram from "node:dgram"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ServerHttp2Session } from "node:http2"
import * as net from "node:net"

interface Parser {
  readonly incoming: IncomingMessage | null
}

interface HttpSocket {
  readonly parser?: Parser | null | undefined
  readonly _httpMessage?: ServerResponse | null | undefined
}

const bySymbol = (target: object, description: string): unknown => {
  const symbol = Object.getOwnPropertySymbols(target).find((symbol) => symbol.description === description)
  return symbol === undefined ? undefined : (target as Record<symbol, unknown>)[symbol]
}

/**
 * Closes the listening handle and nothing else. `http.Server.prototype.close` would also destroy idle connections (whose
 * next request may be on its way) and stop the timer that enforces `headersTimeout`.
 *
 * @internal
 */
export const closeListener = (server: net.Server): void => {
  net.Server.prototype.close.call(server)
}

/**
 * `http.Server.prototype.close` clears this timer; `closeListener` leaves it running, to be cleared when all is over.
 *
 * @internal
 */
export const stopCheckingConnections = (server: net.Server): void => {
  const timer = bySymbol(server, "http.server.connectionsCheckingInterval")
  if (typeof timer === "object" && timer !== null) clearInterval(timer as NodeJS.Timeout)
}

/** @internal */
export const isTlsServer = (server: net.Server): boolean => "setSecureContext" in server

/**
 * The plain socket under a TLS socket.
 *
 * @internal
 */
export const plainSocketOf = (socket: net.Socket): net.Socket | undefined =>
  (socket as { readonly _parent?: net.Socket | null | undefined })._parent ?? undefined

/**
 * Whether an HTTP/1 parser reads this connection: false after an upgrade, where the parser has been taken away.
 *
 * @internal
 */
export const speaksHttp1 = (socket: net.Socket): boolean => {
  const parser = (socket as HttpSocket).parser
  return parser !== undefined && parser !== null
}

/**
 * The response whose turn it is on this connection.
 *
 * @internal
 */
export const currentResponse = (socket: net.Socket): ServerResponse | undefined =>
  (socket as HttpSocket)._httpMessage ?? undefined

/**
 * The request that was parsed last, until its response has been sent.
 *
 * @internal
 */
export const newestRequest = (socket: net.Socket): IncomingMessage | undefined =>
  (socket as HttpSocket).parser?.incoming ?? undefined

/**
 * The connections on which no message has begun, as the server's own list says: the only thing that knows of half a
 * request line. Undefined where there is no such list. Before Node 26 never-used connections are not in it.
 *
 * @internal
 */
export const betweenMessages = (server: net.Server): ReadonlySet<unknown> | undefined => {
  const list = bySymbol(server, "http.server.connections") as
    | { readonly idle?: () => ReadonlyArray<{ readonly socket?: unknown }> }
    | undefined
  return typeof list?.idle === "function" ? new Set(list.idle().map((parser) => parser.socket)) : undefined
}

/**
 * A handler that removed the header would otherwise have its response end the connection without a word.
 *
 * @internal
 */
export const forgetRemovedConnectionHeader = (response: ServerResponse): void => {
  const internals = response as unknown as { _removedConnection?: boolean }
  if (internals._removedConnection === true) internals._removedConnection = false
}

/**
 * Replaces how the server closes this connection after its last response. Node's `destroySoon` closes the descriptor as
 * soon as the output is flushed; if input is unread at that moment (an upload that was answered early) the kernel sends a
 * reset, and a reset makes the client's kernel throw away the response (RFC 9112 9.6). So: end our side, read on and
 * discard until the client ends its own, or until nothing has come for `patience` milliseconds.
 *
 * @internal
 */
export const lingerOnClose = (socket: net.Socket, patience: number, onLinger: () => void): void => {
  const wait = () => {
    onLinger()
    socket.setTimeout(patience, () => socket.destroy())
  }
  Object.assign(socket, {
    destroySoon: () => {
      const request = newestRequest(socket)
      socket.end()
      // what Node does itself with a body that no handler has begun to read
      const dump = (request as { _dump?: () => void } | undefined)?._dump
      if (request !== undefined && dump !== undefined) dump.call(request)
      socket.resume()
      if (socket.writableFinished) wait()
      else socket.once("finish", wait)
    }
  })
}

/**
 * How many streams an HTTP/2 session has open.
 *
 * @internal
 */
export const openStreams = (session: ServerHttp2Session): number => {
  const state = bySymbol(session, "state") as { readonly streams?: { readonly size?: number } } | undefined
  return state?.streams?.size ?? 0
}

/**
 * The `ws` WebSocket that owns an upgraded connection: how a drain finds those behind a framework that keeps its
 * WebSocketServer to itself.
 *
 * @internal
 */
export const webSocketOf = (socket: net.Socket): unknown => bySymbol(socket, "websocket")

/**
 * Stops reading from a UDP socket that is to stay open for replies, which `dgram` cannot do by itself.
 *
 * @internal
 */
export const stopReceiving = (socket: dgram.Socket): void => {
  const state = bySymbol(socket, "state symbol") as
    | { readonly handle?: { readonly recvStop?: () => number } | null | undefined }
    | undefined
  state?.handle?.recvStop?.()
}
