/**
 * The sockets and files that pass from one generation of a program to the next. Whatever the app asks for here is
 * inherited if the older process had it and made anew if not, and goes to the newer process at the next upgrade.
 *
 * A socket is found again by what the app asked for: its address as written (`localhost:8080` stays that, whatever it
 * resolves to). If no inherited socket has that name, one that is bound to the same address is the one: no host and `::`, a
 * name and what it stands for, two paths to one file. A socket that systemd has opened for this program (`LISTEN_FDS`) is
 * found by the `name` of the address, if its unit has that as `FileDescriptorName=`, and else in the same way; it and its path
 * stay systemd's. With port 0 the first process gets a free port and its successors keep it. Two sockets that ask for the
 * same address need a `name` each.
 *
 * @since 3.0.0
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as dgram from "node:dgram"
import type * as net from "node:net"
import type { Address, PortAddress } from "./Address.ts"
import { serviceFunctions } from "./internal/seam.ts"
import type { DescriptorError, ListenError } from "./TableflipError.ts"

/**
 * How a server is served.
 *
 * @since 3.0.0
 * @category models
 */
export interface ServeOptions {
  /**
   * Whether it is drained with the others; true by default. One that is not, an endpoint for whoever operates this process
   * say, goes on accepting to the end of its scope when this process is told to stop, and whoever made it ends its
   * connections. When a newer process has taken over, it stops accepting like any other.
   */
  readonly drain?: boolean | undefined
  /**
   * Whether open connections of this server go to the new process at an upgrade, and come from the old one: HTTP/1 without
   * TLS, between two requests. Both processes must be willing, and the server drained. True by default, unless the upgrader
   * says false.
   */
  readonly handOver?: boolean | undefined
  /**
   * Which WebSockets, and connections of a protocol of the app's own, come from the old process too: those that it gives
   * under one of these keys. See `HandOver.giveConnection`. None by default.
   */
  readonly takes?: ReadonlyArray<string> | undefined
}

/**
 * A bound socket without a server.
 *
 * @since 3.0.0
 * @category models
 */
export interface Listener {
  /** Where it is bound, as the system tells: the port that was chosen for port 0, for one. */
  readonly address: net.AddressInfo | string | null
  /** Its descriptor, which stays the registry's to close; none once that has happened. */
  readonly descriptor: Effect.Effect<Option.Option<number>>
  /** Lets a server accept on it: at once if this process is ready, else as soon as it is. One server, which then owns it. */
  readonly serve: (
    server: net.Server,
    options?: ServeOptions
  ) => Effect.Effect<void, ListenError, Scope.Scope>
}

/**
 * The registry of descriptors. What is claimed or added belongs to the scope of the caller: when it closes, the socket
 * is closed and no longer handed over.
 *
 * @since 3.0.0
 * @category tags
 */
export class Fds extends Context.Tag("effect-tableflip/Fds")<Fds, {
  /**
   * Lets a server (`net`, `tls`, `http`, `https`, `http2`) listen at an address. The socket is bound at once and
   * accepts as soon as this process is ready, so nobody connects to a program that is still starting.
   */
  readonly listen: (
    server: net.Server,
    address: Address,
    options?: ServeOptions
  ) => Effect.Effect<net.AddressInfo | string | null, ListenError, Scope.Scope>
  /** A bound socket, for code that brings its own server later or passes the descriptor on. */
  readonly listener: (address: Address) => Effect.Effect<Listener, ListenError, Scope.Scope>
  /**
   * A UDP socket. It receives as soon as this process is ready. Datagrams wait in the kernel until then. A multicast group
   * that an older process has joined stays joined, and joining it once more does nothing; one that this process no longer
   * wants is to be left. One that an older process has connected can be connected as if it were the first to be; if this
   * process does not do so until it is ready, it has no peer any more. Both share the socket, so that a new peer is the
   * older one's too.
   */
  readonly packet: (address: PortAddress) => Effect.Effect<dgram.Socket, ListenError, Scope.Scope>
  /** An established connection that the older process has added under this name; it reads nothing before the app does. */
  readonly connection: (name: string) => Effect.Effect<Option.Option<net.Socket>, DescriptorError, Scope.Scope>
  /**
   * The descriptor of a file, pipe or anything else that the older process has added under this name. The registry closes
   * it, so it is not for a stream that closes it too: see `takeFile`.
   */
  readonly file: (name: string) => Effect.Effect<Option.Option<number>, DescriptorError, Scope.Scope>
  /** The same, but from now on it is the caller's: to close, and to add again if it is to go to the next process too. */
  readonly takeFile: (name: string) => Effect.Effect<Option.Option<number>, DescriptorError>
  /** Hands over the socket of a server that the app has bound by itself. */
  readonly addListener: (address: Address, server: net.Server) => Effect.Effect<void, ListenError, Scope.Scope>
  /** Hands over a UDP socket that the app has bound by itself. */
  readonly addPacket: (address: PortAddress, socket: dgram.Socket) => Effect.Effect<void, ListenError, Scope.Scope>
  /**
   * Hands over an established connection. From the start of an upgrade this process reads no further from it, and once
   * it has handed over it lets go of it; the other end notices nothing. If the upgrade fails, it goes on reading.
   * What the app has read and not yet answered is for the app to pass on. What it has written is given `drainTimeout` to get
   * to the other end before the new process is started.
   */
  readonly addConnection: (name: string, socket: net.Socket) => Effect.Effect<void, DescriptorError, Scope.Scope>
  /**
   * Hands over any open descriptor, which stays the caller's to close. Once it is closed it is handed over no more, whatever
   * has come to its number since.
   */
  readonly addFile: (name: string, descriptor: number) => Effect.Effect<void, DescriptorError, Scope.Scope>
}>() {}

const accessors = serviceFunctions(Fds)

/**
 * Hands over an established connection.
 *
 * @since 3.0.0
 * @category descriptors
 */
export const addConnection = accessors.addConnection

/**
 * Hands over any open descriptor.
 *
 * @since 3.0.0
 * @category descriptors
 */
export const addFile = accessors.addFile

/**
 * Hands over the socket of a server that the app has bound by itself.
 *
 * @since 3.0.0
 * @category listening
 */
export const addListener = accessors.addListener

/**
 * Hands over a UDP socket that the app has bound by itself.
 *
 * @since 3.0.0
 * @category listening
 */
export const addPacket = accessors.addPacket

/**
 * An established connection that the older process has added.
 *
 * @since 3.0.0
 * @category descriptors
 */
export const connection = accessors.connection

/**
 * A descriptor that the older process has added.
 *
 * @since 3.0.0
 * @category descriptors
 */
export const file = accessors.file

/**
 * Lets a server listen at an address.
 *
 * @since 3.0.0
 * @category listening
 */
export const listen = accessors.listen

/**
 * A bound socket without a server.
 *
 * @since 3.0.0
 * @category listening
 */
export const listener = accessors.listener

/**
 * A UDP socket.
 *
 * @since 3.0.0
 * @category listening
 */
export const packet = accessors.packet

/**
 * A descriptor that the older process has added, and that is the caller's to close.
 *
 * @since 3.0.0
 * @category descriptors
 */
export const takeFile = accessors.takeFile
