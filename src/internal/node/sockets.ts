/**
 * Sockets that are bound, or inherited, long before they accept or receive anything.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as net from "node:net"
import * as os from "node:os"
import type { Address, PathAddress, PortAddress } from "../../Address.ts"
import { format, isFile, isPath } from "../../Address.ts"
import { ListenError } from "../../TableflipError.ts"
import { fromResult } from "../seam.ts"
import type { BoundListener } from "../system/socket.ts"
import { fileIdentity, unlinkOwn } from "./identity.ts"
import type { FileIdentity } from "./identity.ts"
import * as internals from "./internals.ts"
import type { ServerHandle } from "./internals.ts"
import { checkPort, listenError, lookup } from "./socketAddress.ts"
import { closeDescriptor } from "./streams.ts"
import { bindPath, unpublished } from "./unixPath.ts"

const fail = (address: Address, cause: unknown) => Either.left(listenError(address, cause))

interface Bound {
  readonly handle: ServerHandle
  /** Makes a Unix socket appear at its path. */
  readonly publish: () => void
  /** Takes it away from there again. */
  readonly retract: () => void
  /** Removes what is there of it until it is published. */
  readonly discard: () => void
}

interface Listening extends Bound {
  readonly inherited: boolean
  readonly address: net.AddressInfo | string | null
  /** Fails if somebody else listens there; what is bound, unless it is lost and has to be bound anew. */
  readonly prepare: Effect.Effect<Option.Option<Bound>, ListenError>
  /** The same socket once more, after it was closed. */
  readonly bindAgain: () => Either.Either<Bound, ListenError>
}

const toBoundListener = (address: Address, listening: Listening): BoundListener => {
  const { inherited } = listening
  let bound: Bound = listening
  const backlog = address.backlog ?? internals.defaultBacklog
  const at = isFile(address) ? address.path : undefined
  let server: net.Server | undefined
  let listens = false
  let published = inherited
  let file: FileIdentity | undefined
  const rememberFile = () => {
    if (at !== undefined) file = fileIdentity(at)
  }
  if (inherited) rememberFile()
  const isOpen = () => Option.isSome(internals.descriptorOf(bound.handle))
  const attach = (to: net.Server) => {
    server = to
    internals.attachHandle(to, bound.handle, isPath(address) ? address.path : undefined)
  }
  const replace = (by: Bound): undefined => {
    if (isOpen()) bound.handle.close()
    bound = by
    if (server !== undefined) attach(server)
  }
  return {
    descriptor: () => internals.descriptorOf(bound.handle),
    address: listening.address,
    inherited,
    attach,
    prepare: Effect.suspend(() =>
      published ? Effect.void : Effect.map(listening.prepare, (anew) => Option.map(anew, replace))
    ),
    publish: () => {
      if (published) return undefined
      try {
        bound.publish()
        rememberFile()
        published = true
        return undefined
      } catch (cause) {
        const error = listenError(address, cause)
        return isPath(address) ? unpublished(error) : error
      }
    },
    listen: () => {
      if (listens) return undefined
      const error = bound.handle.listen(backlog)
      listens = error === 0
      return listens ? undefined : listenError(address, error)
    },
    retract: () => {
      try {
        if (published && !inherited) bound.retract()
        published = inherited
        file = inherited ? file : undefined
        if (!listens) return undefined
        listens = false
        bound.handle.close()
        return Either.match(listening.bindAgain(), { onLeft: (error) => error, onRight: replace })
      } catch (cause) {
        bound.handle.close()
        return listenError(address, cause)
      }
    },
    accept: () => {
      if (server !== undefined) internals.startAccepting(server, backlog)
    },
    close: () => {
      if (!isOpen()) return
      if (server === undefined) bound.handle.close()
      else internals.closeListener(server)
      if (!published) bound.discard()
    },
    unlink: Effect.suspend(() => {
      const own = file
      // Its number may be another's soon.
      file = undefined
      return at !== undefined && own !== undefined ? unlinkOwn(at, own) : Effect.void
    })
  }
}

const nothing = () => {}

/** Only what this process has bound by itself can be bound once more. */
const onlyOnce = (address: Address) => () => fail(address, -os.constants.errno.EBADF)

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
    publish: nothing,
    retract: nothing,
    discard: nothing,
    prepare: Effect.succeedNone,
    // The port that was chosen for port 0 stays.
    bindAgain: () => bindPort({ ...address, port: bound?.port ?? address.port }, ip)
  })
}

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

const bindUnix = (address: PathAddress): Effect.Effect<Listening, ListenError> => {
  const bind = bindPath(address, (cause) => listenError(address, cause))
  return Effect.map(bind, (bound) => ({
    ...bound,
    inherited: false,
    address: address.path,
    prepare: Effect.zipRight(
      bound.checkFree,
      // Its directory was replaced, and what is bound has no name any more.
      Effect.suspend(() => bound.isThere() ? Effect.succeedNone : Effect.asSome(bind))
    ),
    bindAgain: onlyOnce(address)
  }))
}

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
        publish: nothing,
        retract: nothing,
        discard: nothing,
        prepare: Effect.succeedNone,
        bindAgain: onlyOnce(address)
      })
    )
  })

/** The app has bound this server by itself and goes on owning it. */
export const borrowListener = (server: net.Server): BoundListener => ({
  descriptor: () => internals.descriptorOf(internals.serverHandle(server)),
  address: server.address(),
  inherited: true,
  attach: nothing,
  prepare: Effect.void,
  publish: () => undefined,
  listen: () => undefined,
  retract: () => undefined,
  accept: nothing,
  close: nothing,
  unlink: Effect.void
})
