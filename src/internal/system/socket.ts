/**
 * Sockets that are bound or were inherited, and what becomes of them.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as dgram from "node:dgram"
import type * as net from "node:net"
import type { Address } from "../../Address.ts"
import type { ListenError } from "../../TableflipError.ts"

/**
 * A socket that is bound, or was inherited, and accepts nothing until `listen`.
 */
export interface BoundListener {
  /** Its descriptor; none once it has been closed, by its server or by `close`. */
  readonly descriptor: () => Option.Option<number>
  /** Where it is bound, as the system tells. */
  readonly address: net.AddressInfo | string | null
  /** Whether another process has had it before. Then it is at its path, and listens, already. */
  readonly inherited: boolean
  /** Gives the socket to a server, which owns it from now on: `server.close()` closes it. */
  readonly attach: (server: net.Server) => void
  /** Checks just before `publish` and `listen` that nobody else has come to listen at the same Unix path. */
  readonly prepare: Effect.Effect<void, ListenError>
  /** Makes a Unix socket appear at its path. */
  readonly publish: () => ListenError | undefined
  /** Has the system queue connections, which nobody accepts before a later turn of the event loop. */
  readonly listen: () => ListenError | undefined
  /** Undoes `publish` and `listen` in the same turn of the event loop. What cannot be undone is closed. */
  readonly retract: () => ListenError | undefined
  /** Starts accepting on the server. The socket must listen: then this cannot fail. */
  readonly accept: () => void
  readonly close: () => void
  /** Removes the Unix path, if it is still the one of this socket. */
  readonly unlink: Effect.Effect<void>
}

/**
 * A socket that was bound at an address and is to queue connections.
 */
export interface QueueingSocket {
  readonly address: Address
  readonly listener: BoundListener
}

/**
 * A UDP socket that receives nothing until `start`.
 */
export interface BoundPacket {
  readonly socket: dgram.Socket
  readonly descriptor: () => Option.Option<number>
  readonly start: () => void
}

/**
 * What a descriptor is that another program has opened for this one: a stream socket that listens, a datagram socket that
 * receives from everybody, anything else, or a socket of which this process cannot see more.
 */
export type DescriptorKind = "listener" | "packet" | "file" | "unknown"

/**
 * A socket that this process shares with processes which may break it for everybody.
 */
export interface SharedSocket {
  readonly address: Address
  readonly descriptor: number
}

/**
 * What a shared socket was found to have suffered.
 */
export interface SocketDamage {
  readonly address: string
  readonly what: "ShutDown" | "PathRemoved" | "PathTaken"
  /** Why it could not be repaired; undefined if it has been. */
  readonly problem: string | undefined
}
