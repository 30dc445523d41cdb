/**
 * WebSockets while draining (RFC 6455 7): a close frame with a code that tells the client to connect again, spread over a
 * window so that not all of them come back at the same moment.
 *
 * @internal
 */
import type * as net from "node:net"
import type { WebSocket, WebSocketServer } from "../../Drain.ts"
import * as Node from "../node/internals.ts"
import type { Connections } from "./connections.ts"

/** @internal */
export interface WebSockets {
  readonly add: (server: WebSocketServer) => void
  readonly begin: (now: number) => void
  /** Closes those whose moment has come, and those who came after the window. */
  readonly sweep: (now: number) => void
  /** How many have been sent a close frame. */
  readonly closed: () => number
  readonly release: () => void
}

const reason = "service restart"

const isWebSocket = (value: unknown): value is WebSocket =>
  typeof value === "object" && value !== null && "close" in value && typeof value.close === "function"

const carriesHttp1 = (server: net.Server): boolean => "requestTimeout" in server

/** @internal */
export const make = (
  server: net.Server,
  connections: Connections,
  options: { readonly code: number; readonly spreadMillis: number; readonly answerMillis: number }
): WebSockets => {
  const servers = new Set<WebSocketServer>()
  const sockets = new Map<WebSocket, net.Socket | undefined>()
  const known = new WeakSet<net.Socket>()
  const dueAt = new Map<WebSocket, number>()
  const closedAt = new WeakMap<WebSocket, number>()
  let begun = false
  let count = 0

  const register = (webSocket: WebSocket, socket: net.Socket | undefined) => {
    if (sockets.has(webSocket)) {
      if (socket !== undefined) {
        sockets.set(webSocket, socket)
        known.add(socket)
      }
      return
    }
    sockets.set(webSocket, socket)
    if (socket !== undefined) known.add(socket)
    webSocket.once("close", () => {
      sockets.delete(webSocket)
      dueAt.delete(webSocket)
    })
    if (begun) dueAt.set(webSocket, 0)
  }

  const onConnection = (webSocket: WebSocket, request: { readonly socket?: net.Socket | undefined } | undefined) =>
    register(webSocket, request?.socket)

  /** Frameworks keep their WebSocketServer to themselves, but an upgraded socket knows its WebSocket. */
  const discover = () => {
    if (!carriesHttp1(server)) return
    connections.forEach(({ socket }) => {
      if (known.has(socket) || Node.speaksHttp1(socket)) return
      const webSocket = Node.webSocketOf(socket)
      if (isWebSocket(webSocket)) register(webSocket, socket)
    })
  }

  const isLeaving = (webSocket: WebSocket) => {
    const socket = sockets.get(webSocket)
    const leaves = socket === undefined ? undefined : connections.of(socket)?.leaves
    return leaves !== undefined && leaves !== false
  }

  const close = (webSocket: WebSocket, now: number) => {
    const socket = sockets.get(webSocket)
    const connection = socket === undefined ? undefined : connections.of(socket)
    if (connection !== undefined) connection.told = true
    dueAt.delete(webSocket)
    closedAt.set(webSocket, now)
    count++
    webSocket.close(options.code, reason)
  }

  return {
    add: (server) => {
      if (servers.has(server)) return
      server.on("connection", onConnection)
      servers.add(server)
      for (const webSocket of server.clients ?? []) register(webSocket, undefined)
    },
    begin: (now) => {
      discover()
      begun = true
      const step = sockets.size === 0 ? 0 : options.spreadMillis / sockets.size
      let index = 0
      for (const webSocket of sockets.keys()) dueAt.set(webSocket, now + step * index++)
    },
    sweep: (now) => {
      discover()
      for (const [webSocket, due] of dueAt) {
        // If it cannot go to the newer process after all, it is not to be closed together with all others.
        if (isLeaving(webSocket)) dueAt.set(webSocket, now + Math.random() * options.spreadMillis)
        else if (due <= now) close(webSocket, now)
      }
      for (const [webSocket, socket] of sockets) {
        const since = closedAt.get(webSocket)
        const connection = socket === undefined ? undefined : connections.of(socket)
        if (since !== undefined && connection !== undefined && now - since >= options.answerMillis) {
          connections.destroy(connection, "timedOut")
        }
      }
    },
    closed: () => count,
    release: () => {
      for (const server of servers) server.off("connection", onConnection)
      servers.clear()
      sockets.clear()
      dueAt.clear()
    }
  }
}
