/**
 * What connections go on from one process to another.
 *
 * @internal
 */
import type * as Option from "effect/Option"
import type * as net from "node:net"

/**
 * A connection that has come from another process.
 */
export interface PassedConnection {
  /**
   * Gives it to a server as if that had accepted it; nothing if that takes no more, and then it is still to be closed.
   * `before` is called before any listener of the server.
   */
  readonly accept: (server: net.Server, before?: (socket: net.Socket) => void) => Option.Option<net.Socket>
  /** Closes this side of it. */
  readonly close: () => void
}

/**
 * Who hears what comes on a channel.
 */
export interface ChannelListener {
  /** Words that are JSON, and the connection that came along, if it did. */
  readonly onWords: (words: unknown, connection: Option.Option<PassedConnection>) => void
  /** Nobody is there any more. */
  readonly onEnd: () => void
  /** These have been sent, and the connection that went with them has not arrived: a process may open no more. */
  readonly onLost?: (words: object) => void
}

/**
 * What a process and one that it has started can tell each other, in words that are JSON, with a connection each. It keeps
 * neither of them alive. All of it is synchronous: a connection must not be read between the look at it and its departure.
 */
export interface Channel {
  /** Sends words, and if one is given the descriptor of a connection, which stays open here; false if that cannot be. */
  readonly send: (words: object, connection?: net.Socket) => boolean
  /**
   * Sends a connection on that has come from another process, and closes it here; false if that cannot be, and then it is
   * still to be closed.
   */
  readonly pass: (words: object, connection: PassedConnection) => boolean
  /** Calls back when all that was sent is written, or nobody is there any more. */
  readonly written: (go: () => void) => void
  /** Who hears from now on, and what has come before. One listener. */
  readonly listen: (listener: ChannelListener) => void
  readonly close: () => void
}
