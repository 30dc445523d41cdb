/**
 * UDP sockets that receive nothing before they are told to, and connections that are read by nobody before the app.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as dgram from "node:dgram"
import * as net from "node:net"
import type { PortAddress } from "../../Address.ts"
import { format } from "../../Address.ts"
import { DescriptorError, ListenError } from "../../TableflipError.ts"
import type { BoundPacket } from "../system/socket.ts"
import * as internals from "./internals.ts"
import { checkPort, listenError } from "./socketAddress.ts"
import { closeDescriptor } from "./streams.ts"

const packetOf = (socket: dgram.Socket): BoundPacket => ({
  socket,
  descriptor: () => internals.descriptorOf(internals.datagramHandle(socket)),
  start: () => void internals.datagramHandle(socket)?.recvStart()
})

export const borrowPacket = (socket: dgram.Socket): BoundPacket => ({ ...packetOf(socket), start: () => {} })

const openPacket = (
  address: PortAddress,
  bindSocket: (socket: dgram.Socket) => void
): Effect.Effect<BoundPacket, ListenError> =>
  Effect.async((resume) => {
    const type = address.host !== undefined && net.isIPv6(address.host) ? "udp6" : "udp4"
    const socket = dgram.createSocket({ type, ipv6Only: address.ipv6Only === true })
    const failed = (cause: unknown) => {
      socket.close()
      resume(Effect.fail(listenError(address, cause)))
    }
    socket.once("error", failed)
    // Node starts receiving as it binds. Stopped in the same turn, before any datagram can have been taken.
    socket.once("listening", () => {
      internals.datagramHandle(socket)?.recvStop()
      socket.off("error", failed)
      resume(Effect.succeed(packetOf(socket)))
    })
    try {
      bindSocket(socket)
    } catch (cause) {
      failed(cause)
    }
  })

export const bindPacket = (address: PortAddress): Effect.Effect<BoundPacket, ListenError> =>
  Effect.zipRight(
    checkPort(address),
    openPacket(address, (socket) => socket.bind({ port: address.port, address: address.host }))
  )

/**
 * The groups that an older process has joined are joined: the system keeps them with the socket, and calls it a mistake to
 * join again (EADDRINUSE). The app joins as if it were the first; a second time in this process is its own mistake.
 */
const withGroups = ({ socket }: BoundPacket): void => {
  const joined = new Set<string>()
  const key = (group: ReadonlyArray<string | undefined>) => JSON.stringify(group)
  const { addMembership, addSourceSpecificMembership, dropMembership, dropSourceSpecificMembership } = socket
  const join = (add: () => void, group: ReadonlyArray<string | undefined>) => {
    try {
      add()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || joined.has(key(group))) throw error
    }
    joined.add(key(group))
  }
  const leave = (drop: () => void, group: ReadonlyArray<string | undefined>) => {
    drop()
    // Nothing is left of what was there before, either.
    joined.add(key(group))
  }
  socket.addMembership = (group, at) => join(() => addMembership.call(socket, group, at), [group, at])
  socket.dropMembership = (group, at) => leave(() => dropMembership.call(socket, group, at), [group, at])
  socket.addSourceSpecificMembership = (source, group, at) =>
    join(() => addSourceSpecificMembership.call(socket, source, group, at), [source, group, at])
  socket.dropSourceSpecificMembership = (source, group, at) =>
    leave(() => dropSourceSpecificMembership.call(socket, source, group, at), [source, group, at])
}

/** Undoes connect(2). The system forgets a port that it has chosen along with the peer. */
const leavePeer = (handle: internals.DatagramHandle): void => {
  const bound: Partial<net.AddressInfo> = {}
  const now: Partial<net.AddressInfo> = {}
  handle.getsockname(bound)
  if (handle.disconnect() !== 0) return
  handle.getsockname(now)
  if (bound.address === undefined || bound.port === undefined || now.port === bound.port) return
  if (net.isIPv6(bound.address)) handle.bind6(bound.address, bound.port, 0)
  else handle.bind(bound.address, bound.port, 0)
}

/**
 * A socket that an older process has connected is connected: the system keeps the peer with it, takes a second one for a
 * mistake (EISCONN), and an address to send to as well. The app connects as if it were the first, or has no peer.
 */
const withPeer = (bound: BoundPacket): BoundPacket => {
  const handle = internals.datagramHandle(bound.socket)
  if (handle === undefined || handle.getpeername({}) !== 0) return bound
  const connecting = (connect: typeof handle.connect) => (ip: string, port: number) => {
    const peer: Partial<net.AddressInfo> = {}
    if (handle.getpeername(peer) === 0) {
      if (peer.address === ip && peer.port === port) return 0
      leavePeer(handle)
    }
    return connect.call(handle, ip, port)
  }
  Object.assign(handle, { connect: connecting(handle.connect), connect6: connecting(handle.connect6) })
  return {
    ...bound,
    start: () => {
      if (!internals.hasAskedForPeer(bound.socket)) leavePeer(handle)
      bound.start()
    }
  }
}

export const adoptPacket = (address: PortAddress, descriptor: number): Effect.Effect<BoundPacket, ListenError> =>
  openPacket(address, (socket) => socket.bind({ fd: descriptor })).pipe(
    Effect.mapError((error) =>
      new ListenError({
        reason: "WrongDescriptor",
        address: format(address),
        detail: `the inherited descriptor ${descriptor} is not a UDP socket`,
        cause: error.cause
      })
    ),
    Effect.tapError(() => Effect.sync(() => closeDescriptor(descriptor))),
    Effect.tap((bound) => Effect.sync(() => withGroups(bound))),
    Effect.map(withPeer)
  )

export const adoptConnection = (name: string, descriptor: number): Effect.Effect<net.Socket, DescriptorError> =>
  Effect.try({
    try: () => internals.openConnection(descriptor),
    catch: (cause) => {
      closeDescriptor(descriptor)
      return new DescriptorError({
        reason: "WrongType",
        name,
        detail: `the inherited descriptor ${descriptor} is not a connection`,
        cause
      })
    }
  })

export const flushed = (socket: net.Socket): Effect.Effect<void> =>
  Effect.async((resume) => {
    const done = () => resume(Effect.void)
    if (socket.destroyed || socket.writableFinished || socket.writableLength === 0) return done()
    if (socket.writableEnded) {
      socket.once("finish", done).once("close", done)
      return Effect.sync(() => socket.off("finish", done).off("close", done))
    }
    socket.write("", done)
  })
