/**
 * What the app has in its hands for a connection.
 *
 * @internal
 */
import type { IncomingMessage } from "node:http"
import type * as net from "node:net"
import { webSocketOf } from "../node/internals.ts"

export type Connection = net.Socket | IncomingMessage | { readonly source: unknown }

/** The request that has opened a WebSocket. */
export const requestOf = (connection: Connection): IncomingMessage | undefined =>
  "rawHeaders" in connection ? connection : "source" in connection ? connection.source as IncomingMessage : undefined

/** None of a request that has not come from a server of Node: a handler may be tested without one. */
export const socketOf = (connection: Connection): net.Socket | undefined =>
  "rawHeaders" in connection || "source" in connection ? requestOf(connection)?.socket : connection

/** Tells the client of a WebSocket to connect again, whether or not that is open here yet, and ends any other connection. */
export const sendAway = (socket: net.Socket): void => {
  const webSocket = webSocketOf(socket) as { readonly close?: unknown } | undefined
  if (typeof webSocket?.close === "function") webSocket.close(1012, "service restart")
  else socket.destroySoon()
}
