/**
 * HTTP/1.1 on Node's own server, with bounds on whatever a client sends or leaves undone. Requests and answers are small;
 * only events are a stream.
 *
 * @internal
 */
import * as http from "node:http"
import * as net from "node:net"
import type { ErrorJson, Identity } from "./protocol.ts"
import * as protocol from "./protocol.ts"
import type { Reply } from "./reply.ts"
import { refusal } from "./reply.ts"

const maxConnections = 64
const maxHeaders = 8 * 1024
const maxBody = 4 * 1024
/** Milliseconds in which a request must have come. */
const requestTimeout = 5_000

/** A stream of lines to one client. */
export interface Lines {
  readonly write: (line: string) => void
  /** Bytes that it has not taken yet. */
  readonly buffered: () => number
  readonly end: () => void
  readonly onGone: (listener: () => void) => void
}

/** A request that has come as a whole, and its answer. */
export interface Exchange {
  readonly method: string
  readonly url: URL
  readonly body: string
  readonly answer: (reply: Reply) => void
  readonly stream: () => Lines
  /** From now on nobody is accepted here; who is connected is served. */
  readonly leave: () => void
  /** The client has gone without an answer. */
  readonly onGone: (listener: () => void) => void
}

export interface ControlServer {
  readonly server: http.Server
  /** Calls once no answer is on its way any more, which may be at once. No further request is taken on a connection. */
  readonly finish: (listener: () => void) => void
  /** Ends every connection. */
  readonly destroy: () => void
}

const statusOfClientError = ({ code }: NodeJS.ErrnoException): readonly [status: number, error: ErrorJson] =>
  code === "HPE_HEADER_OVERFLOW"
    ? [431, { _tag: "HeadersTooLargeError", message: `The headers have more than ${maxHeaders} bytes` }]
    : code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? [408, { _tag: "RequestTimeoutError", message: `The request has not come within ${requestTimeout / 1_000} s` }]
    : [400, { _tag: "InvalidRequestError", message: "What has come is not HTTP/1.1" }]

export const make = (by: () => Identity, handle: (exchange: Exchange) => void): ControlServer => {
  const sockets = new Set<net.Socket>()
  const open = new Set<http.ServerResponse>()
  let onFinished: (() => void) | undefined

  const headersOf = (type: string, more: Reply["headers"] = {}) => ({
    "content-type": type,
    "cache-control": "no-store",
    [protocol.header]: String(protocol.version),
    ...more,
    ...onFinished === undefined ? {} : { connection: "close" }
  })

  const answer = (response: http.ServerResponse, { headers, json, status }: Reply) => {
    if (response.headersSent || response.destroyed) return
    const body = `${JSON.stringify(json)}\n`
    response.writeHead(
      status,
      headersOf("application/json", { "content-length": String(Buffer.byteLength(body)), ...headers })
    )
    response.end(body)
  }

  const refuse = (response: http.ServerResponse, status: number, error: ErrorJson) =>
    answer(response, { ...refusal(status, error, by()), headers: { connection: "close" } })

  const stream = (response: http.ServerResponse): Lines => {
    response.writeHead(200, headersOf("application/x-ndjson"))
    response.flushHeaders()
    return {
      write: (line) => void response.write(line),
      buffered: () => response.writableLength,
      end: () => void response.end(),
      onGone: (listener) => void response.once("close", listener)
    }
  }

  const onRequest = (request: http.IncomingMessage, response: http.ServerResponse) => {
    open.add(response)
    response.once("close", () => {
      open.delete(response)
      if (open.size === 0) onFinished?.()
    })
    response.on("error", () => {})
    if (sockets.size > maxConnections) {
      return refuse(response, 503, {
        _tag: "TooManyConnectionsError",
        message: `There are more than ${maxConnections} connections`
      })
    }
    let body = ""
    request.setEncoding("utf8")
    request.on("data", (text: string) => {
      body += text
      if (Buffer.byteLength(body) <= maxBody) return
      body = ""
      refuse(response, 413, { _tag: "BodyTooLargeError", message: `The body has more than ${maxBody} bytes` })
    })
    request.on("error", () => {})
    request.once("end", () => {
      const target = request.url ?? "/"
      if (response.headersSent) return
      if (!URL.canParse(target, "http://control")) {
        return refuse(response, 400, { _tag: "InvalidRequestError", message: `${target} is no path` })
      }
      handle({
        method: request.method ?? "GET",
        url: new URL(target, "http://control"),
        body,
        answer: (reply) => answer(response, reply),
        stream: () => stream(response),
        // That of HTTP would close what is idle, too.
        leave: () => void net.Server.prototype.close.call(server),
        onGone: (listener) => void response.once("close", () => response.writableFinished || listener())
      })
    })
  }

  const server = http.createServer({
    maxHeaderSize: maxHeaders,
    headersTimeout: requestTimeout,
    requestTimeout,
    keepAliveTimeout: requestTimeout,
    connectionsCheckingInterval: 1_000
  }, onRequest)
  // What is above the limit is told so; what is far above it is closed unheard.
  server.maxConnections = 2 * maxConnections
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  server.on("clientError", (error, socket) => {
    // Into an answer that is on its way nothing may be written.
    if (!socket.writable || (socket as net.Socket).bytesWritten > 0) return void socket.destroy()
    const [status, json] = statusOfClientError(error)
    const body = `${JSON.stringify(refusal(status, json, by()).json)}\n`
    const lines = [
      `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}`,
      ...Object.entries(headersOf("application/json")).map(([name, value]) => `${name}: ${value}`),
      `content-length: ${Buffer.byteLength(body)}`,
      "connection: close"
    ]
    socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`)
  })

  return {
    server,
    finish: (listener) => {
      onFinished = listener
      server.closeIdleConnections()
      if (open.size === 0) listener()
    },
    destroy: () => {
      server.closeAllConnections()
      sockets.forEach((socket) => socket.destroy())
    }
  }
}
