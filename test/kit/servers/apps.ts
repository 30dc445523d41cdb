/** Servers of Node that answer with their process id, one for each protocol. */
import * as http from "node:http"
import * as http2 from "node:http2"
import * as https from "node:https"
import type * as net from "node:net"
import { WebSocketServer } from "ws"
import { certificate } from "../certificate.ts"

export type Protocol = "http" | "https" | "http2" | "http2-clear" | "ws"

/** A response that lasts, piece by piece, as long as the path says: `/stream/20`. */
const stream = (seconds: number, response: http.ServerResponse) => {
  let left = seconds * 10
  const timer = setInterval(() => {
    left--
    response.write("x".repeat(100))
    if (left > 0) return
    clearInterval(timer)
    response.end("done")
  }, 100)
}

const answer = (request: http.IncomingMessage, response: http.ServerResponse) => {
  const [, seconds] = /^\/stream\/(\d+)/.exec(request.url ?? "") ?? []
  if (seconds !== undefined) return stream(Number(seconds), response)
  request.resume().on("end", () => response.end(String(process.pid)))
}

const answerStream: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void = (
  request,
  response
) => void request.resume().on("end", () => setTimeout(() => response.end(String(process.pid)), 5))

/** `clients` are the open WebSockets, for a program that says goodbye to them itself. */
export const echoWebSockets = (): { readonly server: http.Server; readonly clients: WebSocketServer["clients"] } => {
  const server = http.createServer()
  const { clients } = new WebSocketServer({ server }).on("connection", (webSocket) => {
    webSocket.on("error", () => webSocket.terminate())
    webSocket.on("message", (message) => webSocket.send(String(message)))
  })
  return { server, clients }
}

export const createServer = (protocol: Protocol): net.Server => {
  switch (protocol) {
    case "http":
      return http.createServer(answer)
    case "https":
      return https.createServer(certificate, answer)
    case "http2":
      return http2.createSecureServer(certificate, answerStream)
    case "http2-clear":
      return http2.createServer(answerStream)
    case "ws":
      return echoWebSockets().server
  }
}
