/**
 * HTTP/1 while draining (RFC 9112 9.6): every connection is ended by a response that says so, never between two
 * responses, because the next request may already be on its way when an idle connection is closed.
 *
 * @internal
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http"
import type * as net from "node:net"
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"
import type { Messages } from "./messages.ts"
import { make as messagesOf } from "./messages.ts"

/** @internal */
export interface Http1 {
  /** Synchronous; once is enough. From then on a response to a new request says close. */
  readonly begin: () => void
  /** Has the response that is under way on a connection say so too. */
  readonly release: (connection: Connection) => void
  /** Puts back what `begin` changed about the server. */
  readonly end: () => void
  readonly state: (connection: Connection) => "idle" | "fresh" | "inFlight"
  /** Another turn of the event loop has begun: what was read of the server before no longer holds. */
  readonly look: () => void
  /** Finds the server that speaks on a connection which another one has accepted. */
  readonly join: (connection: Connection) => void
  /** Requests that came behind a response which had said close: never given to the application. */
  readonly dropped: () => number
}

interface Mark {
  readonly response: ServerResponse
  active: boolean
}

type HeadersArgument = OutgoingHttpHeaders | ReadonlyArray<unknown>

const isConnection = (name: unknown): boolean => typeof name === "string" && name.toLowerCase() === "connection"

/** A copy of the headers that a handler passes to writeHead (object, flat list, list of pairs) that says close. */
const overrideConnection = (headers: HeadersArgument): HeadersArgument => {
  if (!Array.isArray(headers)) {
    const name = Object.keys(headers).find(isConnection)
    return name === undefined ? headers : { ...headers, [name]: "close" }
  }
  return Array.isArray(headers[0])
    ? headers.map((pair) => isConnection(pair[0]) ? [pair[0], "close"] : pair)
    : headers.map((item, index) => index % 2 === 1 && isConnection(headers[index - 1]) ? "close" : item)
}

/** @internal */
export const make = (
  server: net.Server,
  connections: Connections,
  lingerMillis: number,
  /** Whether a connection is left as it is, for now. */
  keeps: (connection: Connection) => boolean
): Http1 => {
  const newest = new WeakMap<net.Socket, Mark>()
  const joined = new WeakSet<net.Socket>()
  const readings = new Map<net.Server, Messages>([[server, messagesOf(server)]])
  let dropped = 0
  const restore = new Map<net.Server, () => void>()
  let forget: (() => void) | undefined

  const mark = (response: ServerResponse, socket: net.Socket): void => {
    const mark: Mark = { response, active: true }
    newest.set(socket, mark)
    // decided as late as the headers are written: by then a request queued behind may have taken the mark over
    const writeHead = response.writeHead as (...args: Array<unknown>) => ServerResponse
    response.writeHead = (...args: Array<unknown>) => {
      if (!mark.active) return writeHead.apply(response, args)
      response.shouldKeepAlive = false
      if (response.hasHeader("connection")) response.setHeader("Connection", "close")
      Node.forgetRemovedConnectionHeader(response)
      const connection = connections.of(socket)
      if (connection !== undefined) connection.told = true
      return writeHead.apply(
        response,
        args.map((arg) => typeof arg === "object" && arg !== null ? overrideConnection(arg as HeadersArgument) : arg)
      )
    }
    Node.lingerOnClose(socket, lingerMillis, () => {
      const connection = connections.of(socket)
      if (connection !== undefined) connection.lingering = true
    })
  }

  /** Whether the request may be executed; if so its response is the one that says close. */
  const admit = (request: IncomingMessage, response: ServerResponse): boolean => {
    const previous = newest.get(request.socket)
    if (previous !== undefined) {
      if (previous.active && previous.response.headersSent) {
        dropped++
        request.resume()
        return false
      }
      previous.active = false
    }
    mark(response, request.socket)
    const connection = connections.of(request.socket)
    if (connection !== undefined) connection.admittedAt = performance.now()
    return true
  }

  const intercept = (speaking: net.Server) => {
    const own = Object.hasOwn(speaking, "emit")
    const emit: (this: net.Server, event: string | symbol, ...args: Array<any>) => boolean = speaking.emit
    const intercepted = (event: string | symbol, ...args: Array<any>): boolean => {
      if (event !== "request" && event !== "checkContinue" && event !== "checkExpectation") {
        return emit.call(speaking, event, ...args)
      }
      const [request, response] = args as [IncomingMessage, ServerResponse]
      const connection = connections.of(request.socket)
      if (request.httpVersionMajor !== 1 || connection === undefined) return emit.call(speaking, event, ...args)
      if (keeps(connection)) {
        connection.admittedAt = performance.now()
        return emit.call(speaking, event, ...args)
      }
      // One chunk may bring several requests, and the parser hands them over synchronously. A handler that answers at
      // once would have said close before the next one is seen: so handlers run when the parser is through.
      if (admit(request, response)) process.nextTick(() => emit.call(speaking, event, ...args))
      return true
    }
    speaking.emit = intercepted
    return () => {
      if (speaking.emit !== intercepted) return
      if (own) speaking.emit = emit
      else delete (speaking as { emit?: unknown }).emit
    }
  }

  /** Node closes a connection that has been idle for keepAliveTimeout: the same race that the drain avoids. */
  const suspendKeepAliveTimeout = (server: net.Server) => {
    const target = server as { keepAliveTimeout?: number }
    const before = target.keepAliveTimeout
    target.keepAliveTimeout = 0
    return () => {
      if (before === undefined) delete target.keepAliveTimeout
      else target.keepAliveTimeout = before
    }
  }

  /** Where nobody tells, it is. */
  const isBetweenMessages = (socket: net.Socket): boolean => {
    let isTold = false
    for (const { isBetween } of readings.values()) {
      const answer = isBetween(socket)
      if (answer === true) return true
      isTold ||= answer !== undefined
    }
    return !isTold
  }

  const state = ({ socket }: Connection) => {
    if (Node.currentResponse(socket) !== undefined || Node.isReceiving(socket)) return "inFlight"
    if (socket.bytesRead === 0) return Node.isUsed(socket) ? "idle" : "fresh"
    return isBetweenMessages(socket) ? "idle" : "inFlight"
  }

  /** Takes part in how a server speaks on connections that are being drained, be they its own or handed to it. */
  const takePart = (server: net.Server) => {
    if (restore.has(server)) return
    if (!readings.has(server)) readings.set(server, messagesOf(server))
    const release = intercept(server)
    const resume = suspendKeepAliveTimeout(server)
    restore.set(server, () => {
      release()
      resume()
    })
  }

  /** A server that is found during a drain may have begun to count the time of its idle connections. */
  const join = (connection: Connection) => {
    const { socket } = connection
    if (forget === undefined || joined.has(socket) || !Node.speaksHttp1(socket)) return
    const speaking = Node.httpServerOf(socket)
    if (speaking === undefined) return
    joined.add(socket)
    takePart(speaking)
    if (!connection.leaves && state(connection) === "idle") socket.setTimeout?.(0)
  }

  const release = (connection: Connection) => {
    const { socket } = connection
    if (!Node.speaksHttp1(socket)) return
    if (state(connection) === "idle") socket.setTimeout?.(0)
    const response = Node.currentResponse(socket)
    if (response === undefined || response.headersSent || newest.get(socket)?.response === response) return
    const request = Node.newestRequest(socket)
    // with another request queued behind, this response is not the last; the one after those will be
    if (request === undefined || request === response.req) mark(response, socket)
  }

  return {
    begin: () => {
      if (forget !== undefined) return
      forget = Node.onRequestStart(({ server, socket }) => {
        if (connections.becomes(socket) !== undefined) takePart(server)
      })
      takePart(server)
    },
    release,
    join,
    end: () => {
      forget?.()
      for (const putBack of restore.values()) putBack()
      restore.clear()
    },
    state,
    look: () => {
      for (const { forget } of readings.values()) forget()
    },
    dropped: () => dropped
  }
}
