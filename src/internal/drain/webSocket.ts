/**
 * WebSockets while draining (RFC 6455 7): a close frame with a code that tells the client to connect again, one after the
 * other, so that not all of them come back at the same moment: a system that has more clients than its accept queue has
 * places leaves them without an answer for seconds.
 *
 * @internal
 */
import type * as net from "node:net"
import type { WebSocket, WebSocketServer } from "../../Drain.ts"
import * as Node from "../node/internals.ts"
import type { Connection, Connections } from "./connections.ts"

/** @internal */
export interface WebSockets {
  readonly add: (server: WebSocketServer) => void
  readonly begin: (now: number) => void
  /** Takes note of the one that has been opened on a connection, if there is one. */
  readonly visit: (connection: Connection) => void
  /** Closes those whose moment has come, for one turn of the event loop. */
  readonly turn: (now: number) => void
  /** Whether any waits for its moment. */
  readonly areWaiting: () => boolean
  /** How many have been sent a close frame. */
  readonly closed: () => number
  readonly release: () => void
}

const reason = "service restart"

/** Milliseconds from one close to the next, at least, as long as all fit into the time. */
const shortestGap = 1

/** The part of the time that there is in which all are closed, however many they are. */
const longestPart = 0.6

/** So many are closed in one turn of the event loop. What is late stays late. */
const mostPerTurn = 16

/** So many are looked at in one turn. */
const looksPerTurn = 256

const isWebSocket = (value: unknown): value is WebSocket =>
  typeof value === "object" && value !== null && "close" in value && typeof value.close === "function"

const carriesHttp1 = (server: net.Server): boolean => "requestTimeout" in server

/** @internal */
export const make = (
  server: net.Server,
  connections: Connections,
  options: {
    readonly code: number
    readonly spreadMillis: number
    readonly answerMillis: number
    readonly drainMillis: number
  }
): WebSockets => {
  const isHttp1 = carriesHttp1(server)
  const servers = new Set<WebSocketServer>()
  const sockets = new Map<WebSocket, net.Socket | undefined>()
  const known = new WeakSet<net.Socket>()
  /** Those that are to be closed, in their order. */
  const waiting = new Set<WebSocket>()
  /** When those were closed that have not answered, in their order. */
  const closedAt = new Map<WebSocket, number>()
  let nextAt: number | undefined
  let count = 0

  const register = (webSocket: WebSocket, socket: net.Socket | undefined) => {
    if (socket !== undefined) known.add(socket)
    const isKnown = sockets.has(webSocket)
    if (!isKnown || socket !== undefined) sockets.set(webSocket, socket)
    if (isKnown) return
    webSocket.once("close", () => {
      sockets.delete(webSocket)
      waiting.delete(webSocket)
      closedAt.delete(webSocket)
    })
    if (nextAt !== undefined) waiting.add(webSocket)
  }

  const onConnection = (webSocket: WebSocket, request: { readonly socket?: net.Socket | undefined } | undefined) =>
    register(webSocket, request?.socket)

  const isLeaving = (webSocket: WebSocket) => {
    const socket = sockets.get(webSocket)
    const leaves = socket === undefined ? undefined : connections.of(socket)?.leaves
    return leaves !== undefined && leaves !== false
  }

  const close = (webSocket: WebSocket, now: number) => {
    const socket = sockets.get(webSocket)
    const connection = socket === undefined ? undefined : connections.of(socket)
    if (connection !== undefined) connection.told = true
    waiting.delete(webSocket)
    closedAt.set(webSocket, now)
    count++
    webSocket.close(options.code, reason)
  }

  /** Of those that are known by now, whether they have been closed or not. */
  const gap = () => {
    const all = count + waiting.size
    return Math.max(options.spreadMillis / all, Math.min(shortestGap, options.drainMillis * longestPart / all))
  }

  const closeDue = (now: number) => {
    if (nextAt === undefined) return
    // What has not been done in time is not made up for at once.
    nextAt = Math.max(nextAt, now - (mostPerTurn - 1) * gap())
    let looks = Math.min(waiting.size, looksPerTurn)
    for (const webSocket of waiting) {
      if (nextAt > now || looks-- === 0) return
      if (isLeaving(webSocket)) {
        // If it cannot go to the newer process after all, it is not to be closed together with all others.
        waiting.delete(webSocket)
        waiting.add(webSocket)
      } else {
        nextAt += gap()
        close(webSocket, now)
      }
    }
  }

  const destroySilent = (now: number) => {
    let closes = 0
    for (const [webSocket, since] of closedAt) {
      if (now - since < options.answerMillis || closes === mostPerTurn) return
      closedAt.delete(webSocket)
      const socket = sockets.get(webSocket)
      const connection = socket === undefined ? undefined : connections.of(socket)
      if (connection === undefined) continue
      closes++
      connections.destroy(connection, "timedOut")
    }
  }

  return {
    add: (server) => {
      if (servers.has(server)) return
      server.on("connection", onConnection)
      servers.add(server)
      for (const webSocket of server.clients ?? []) register(webSocket, undefined)
    },
    begin: (now) => {
      nextAt = now
      for (const webSocket of sockets.keys()) waiting.add(webSocket)
    },
    visit: ({ socket }) => {
      // Frameworks keep their WebSocketServer to themselves, but an upgraded socket knows its WebSocket.
      if (!isHttp1 || known.has(socket) || Node.speaksHttp1(socket)) return
      const webSocket = Node.webSocketOf(socket)
      if (isWebSocket(webSocket)) register(webSocket, socket)
    },
    turn: (now) => {
      closeDue(now)
      destroySilent(now)
    },
    areWaiting: () => waiting.size > 0 || closedAt.size > 0,
    closed: () => count,
    release: () => {
      for (const server of servers) server.off("connection", onConnection)
      servers.clear()
      sockets.clear()
      waiting.clear()
      closedAt.clear()
    }
  }
}
