/**
 * Sockets that are bound, or inherited, long before they accept or receive anything.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as dgram from "node:dgram"
import * as dns from "node:dns"
import * as net from "node:net"
import * as path from "node:path"
import * as util from "node:util"
import type { Address, PathAddress, PortAddress } from "../../Address.ts"
import { format, isFile, isPath } from "../../Address.ts"
import type { BoundListener, BoundPacket } from "../../Env.ts"
import { DescriptorError, ListenError } from "../../TableflipError.ts"
import { fromResult } from "../seam.ts"
import * as internals from "./internals.ts"
import type { ServerHandle } from "./internals.ts"
import { closeDescriptor } from "./streams.ts"
import { bindPath, fileIdentity, isAbstract, unlinkOwn, unpublished } from "./unixPath.ts"
import type { FileIdentity } from "./unixPath.ts"

const reasonOf = (code: string): ListenError["reason"] => {
  switch (code) {
    case "EADDRINUSE":
      return "AddressInUse"
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "AddressNotAvailable"
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "PermissionDenied"
    case "ENOENT":
    case "ENOTDIR":
    case "ENAMETOOLONG":
    case "EINVAL":
      return "InvalidAddress"
    default:
      return "Unknown"
  }
}

/** Relative paths start where this process was started: it may go elsewhere between two steps. */
export const resolved = <A extends Address>(address: A, directory: string): A =>
  isFile(address) && address.path !== "" ? { ...address, path: path.resolve(directory, address.path) } : address

/** Turns a failed system call (an error number, or what Node made of one) into an error that names the address. */
export const listenError = (address: Address, cause: unknown): ListenError => {
  const code = typeof cause === "number"
    ? util.getSystemErrorName(cause)
    : String((cause as NodeJS.ErrnoException).code)
  const detail = code === "EADDRINUSE"
    ? "another process listens there (EADDRINUSE); stop it, or start this program by an upgrade of it"
    : typeof cause === "number"
    ? `the system says ${code}`
    : cause instanceof Error
    ? cause.message
    : String(cause)
  return new ListenError({ reason: reasonOf(code), address: format(address), detail, cause })
}

const fail = (address: Address, cause: unknown) => Either.left(listenError(address, cause))

interface Listening {
  /** An inherited Unix socket is at its path already. */
  readonly inherited: boolean
  readonly handle: ServerHandle
  readonly address: net.AddressInfo | string | null
  /** Makes a Unix socket appear at its path. */
  readonly publish: () => void
  /** Removes what is there of a Unix socket until it is published. */
  readonly discard: () => void
  readonly prepare: Effect.Effect<void, ListenError>
}

const toBoundListener = (address: Address, listening: Listening): BoundListener => {
  const { handle } = listening
  const backlog = address.backlog ?? internals.defaultBacklog
  const at = isPath(address) && !isAbstract(address.path) ? address.path : undefined
  let server: net.Server | undefined
  let listens = false
  let published = listening.inherited
  let file: FileIdentity | undefined
  const rememberFile = () => {
    if (at !== undefined) file = fileIdentity(at)
  }
  if (listening.inherited) rememberFile()
  const publish = () => {
    if (published) return undefined
    try {
      listening.publish()
      rememberFile()
      published = true
      return undefined
    } catch (cause) {
      const error = listenError(address, cause)
      return isPath(address) ? unpublished(error) : error
    }
  }
  return {
    descriptor: () => internals.descriptorOf(handle),
    address: listening.address,
    attach: (to) => {
      server = to
      internals.attachHandle(to, handle, isPath(address) ? address.path : undefined)
    },
    prepare: listening.prepare,
    listen: () => {
      if (listens) return undefined
      const error = handle.listen(backlog)
      if (error !== 0) return listenError(address, error)
      listens = true
      const unpublished = publish()
      if (unpublished !== undefined) return unpublished
      if (server !== undefined) internals.startAccepting(server, backlog)
      return undefined
    },
    publish,
    close: () => {
      if (Option.isNone(internals.descriptorOf(handle))) return
      if (server === undefined) handle.close()
      else internals.closeListener(server)
      if (!published) listening.discard()
    },
    unlink: Effect.suspend(() => at !== undefined && file !== undefined ? unlinkOwn(at, file) : Effect.void)
  }
}

const bindPort = (address: PortAddress, ip: string): Either.Either<Listening, ListenError> => {
  const handle = internals.bindTcp(ip, address.port, address.ipv6Only === true)
  if (typeof handle === "number") return fail(address, handle)
  const bound = internals.boundAddress(handle)
  if (typeof bound === "number") {
    handle.close()
    return fail(address, bound)
  }
  return Either.right({
    inherited: false,
    handle,
    address: bound ?? null,
    publish: () => {},
    discard: () => {},
    prepare: Effect.void
  })
}

const lookup = (address: PortAddress, host: string): Effect.Effect<string, ListenError> =>
  net.isIP(host) !== 0
    ? Effect.succeed(host)
    : Effect.async((resume) =>
      dns.lookup(host, (cause, ip) =>
        resume(cause === null ? Effect.succeed(ip) : Effect.fail(listenError(address, cause))))
    )

const checkPort = (address: PortAddress): Effect.Effect<void, ListenError> =>
  Number.isInteger(address.port) && address.port >= 0 && address.port <= 65535
    ? Effect.void
    : Effect.fail(
      new ListenError({
        reason: "InvalidAddress",
        address: format(address),
        detail: "a port is a whole number from 0 to 65535"
      })
    )

export const bind = (address: Address): Effect.Effect<BoundListener, ListenError> =>
  Effect.map(
    isPath(address) ? bindUnix(address) : bindHost(address),
    (listening) => toBoundListener(address, listening)
  )

const bindHost = Effect.fnUntraced(function*(address: PortAddress) {
  yield* checkPort(address)
  if (address.host !== undefined) return yield* fromResult(bindPort(address, yield* lookup(address, address.host)))
  // As Node does it: one socket for both families, and IPv4 alone where the machine has no IPv6.
  const both = bindPort(address, "::")
  const noIpv6 = Either.isLeft(both) && !["AddressInUse", "PermissionDenied"].includes(both.left.reason)
  return yield* fromResult(noIpv6 ? bindPort(address, "0.0.0.0") : both)
})

const bindUnix = (address: PathAddress): Effect.Effect<Listening, ListenError> =>
  Effect.map(
    bindPath(address, (cause) => listenError(address, cause)),
    (bound) => ({ ...bound, inherited: false, address: address.path })
  )

export const adopt = (address: Address, descriptor: number): Effect.Effect<BoundListener, ListenError> =>
  Effect.suspend(() => {
    const wrong = (detail: string) =>
      Effect.fail(new ListenError({ reason: "WrongDescriptor", address: format(address), detail }))
    const handle = internals.openServerHandle(descriptor)
    if (typeof handle === "number") {
      closeDescriptor(descriptor)
      return wrong(`the inherited descriptor ${descriptor} is not a listening socket`)
    }
    const bound = internals.boundAddress(handle)
    if (isPath(address) ? bound !== undefined : typeof bound !== "object") {
      handle.close()
      return wrong(`the inherited descriptor ${descriptor} is a socket of another kind`)
    }
    return Effect.succeed(
      toBoundListener(address, {
        inherited: true,
        handle,
        address: isPath(address) ? address.path : bound as net.AddressInfo,
        publish: () => {},
        discard: () => {},
        prepare: Effect.void
      })
    )
  })

/** The app has bound this server by itself and goes on owning it. */
export const borrowListener = (server: net.Server): BoundListener => ({
  descriptor: () => internals.descriptorOf(internals.serverHandle(server)),
  address: server.address(),
  attach: () => {},
  prepare: Effect.void,
  listen: () => undefined,
  publish: () => undefined,
  close: () => {},
  unlink: Effect.void
})

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
    Effect.tapError(() => Effect.sync(() => closeDescriptor(descriptor)))
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
