/**
 * Which connections of an HTTP server are between two messages. The list of those is as long as a server has connections; so
 * it is read once, and from then on only the short one of those on which a message has begun.
 *
 * @internal
 */
import type * as net from "node:net"
import * as Node from "../node/internals.ts"

export interface Messages {
  /** Another turn of the event loop has begun: what has been read before no longer holds. */
  readonly forget: () => void
  /** Whether no message has begun on a connection; undefined where this server does not tell. */
  readonly isBetween: (socket: net.Socket) => boolean | undefined
}

export const make = (server: net.Server): Messages => {
  /** Those that have been in the list once, where a parser stays for as long as it reads a connection. */
  const listed = new WeakSet<object>()
  let lists: ReturnType<typeof Node.messagesOf>
  let active: ReadonlySet<unknown> | undefined
  let hasRead = false

  return {
    forget: () => {
      active = undefined
      hasRead = false
    },
    isBetween: (socket) => {
      if (active === undefined) {
        lists = Node.messagesOf(server)
        active = lists?.active()
      }
      if (lists === undefined || active === undefined) return undefined
      if (active.has(socket)) return false
      if (!listed.has(socket) && !hasRead) {
        hasRead = true
        for (const one of lists.idle()) listed.add(one)
      }
      return listed.has(socket)
    }
  }
}
