/**
 * How a socket that the app asks for comes to be: inherited under the name or under another spelling of it, or bound.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Address, PortAddress } from "../../Address.ts"
import * as address from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import { ListenError } from "../../TableflipError.ts"
import { logDebug, logInfo, logWarning } from "../logging.ts"
import type { System } from "../system/env.ts"
import type { BoundListener, BoundPacket } from "../system/socket.ts"
import * as fdName from "../wire/fdName.ts"
import type { Activated } from "./activation.ts"
import type { DescriptorTable, Restore } from "./descriptorTable.ts"

export interface OpeningOptions {
  readonly env: System
  readonly table: DescriptorTable
  readonly hasParent: boolean
  readonly keepsPaths: boolean
  readonly activated: Activated
}

export interface Opening {
  readonly listener: (at: Address) => (restore: Restore) => Effect.Effect<BoundListener, ListenError>
  readonly packet: (at: PortAddress) => (restore: Restore) => Effect.Effect<BoundPacket, ListenError>
}

export const make = ({ activated, env, hasParent, keepsPaths, table }: OpeningOptions): Opening => {
  const unclaimed = (kind: string, network: string) =>
    table.unclaimed().filter(({ name }) => name.kind === kind && name.network === network)

  const adopt = Effect.fnUntraced(function*(at: Address, descriptor: number) {
    if (activated.nameOf(descriptor) !== undefined) {
      yield* logUnchangeable(at)
      // The path is whose the socket is.
      return { ...yield* env.adopt(at, descriptor), unlink: Effect.void }
    }
    if (keepsPaths && address.isFile(at) && !(yield* env.isSocket(at.path))) {
      yield* logWarning(`The inherited socket is no longer at ${at.path}; listening there anew`)
      yield* env.closeDescriptor(descriptor)
      return yield* env.bind(at)
    }
    yield* logUnchangeable(at)
    return yield* env.adopt(at, descriptor)
  })

  /** One that a service manager has opened under the name that the app gives the address, wherever that is. */
  const underName = (at: Address, kind: string): Option.Option<NamedDescriptor> =>
    Option.fromNullable(
      address.isPath(at) || at.name === undefined ?
        undefined :
        table.unclaimed().find(({ descriptor, name }) => name.kind === kind && activated.nameOf(descriptor) === at.name)
    )

  const isSameHost = (held: NamedDescriptor, host: string | undefined, asked: string | undefined): boolean =>
    canonical(host) === canonical(asked) ||
    activated.nameOf(held.descriptor) !== undefined && isEverywhere(host) && isEverywhere(asked)

  /** A name and what it stands for, no host and `::`, two paths to one file: the older process has the socket already. */
  const underOtherSpelling = (at: Address, kind: string): Effect.Effect<Option.Option<NamedDescriptor>> =>
    Effect.gen(function*() {
      if (address.isPath(at)) {
        if (!address.isFile(at)) return Option.none()
        const isHere = ({ name }: NamedDescriptor) => env.isSameFile(name.address, at.path)
        return Option.fromNullable((yield* Effect.filter(unclaimed(kind, "unix"), isHere))[0])
      }
      const onPort = yield* withPort(kind, at)
      const found = onPort.filter(({ held, host }) => isSameHost(held, host, at.host))
      // Of two sockets for all addresses, each may be for one family.
      return onPort.length === 1 || canonical(at.host) !== canonical()
        ? Option.fromNullable(found[0]?.held)
        : Option.none()
    })

  const withPort = (kind: string, at: PortAddress) =>
    at.port === 0
      ? Effect.succeed([])
      : Effect.map(
        Effect.forEach(unclaimed(kind, kind === "packet" ? "udp" : "tcp"), (held) =>
          Effect.map(
            env.addressOf(held.descriptor),
            Option.match({
              onNone: () => [],
              onSome: (bound) => address.isPath(bound) || bound.port !== at.port ? [] : [{ held, host: bound.host }]
            })
          )),
        (found) => found.flat()
      )

  const take = (at: Address, held: NamedDescriptor) =>
    Effect.as(
      logInfo(
        `${address.format(at)} is the socket that ${
          activated.nameOf(held.descriptor) === undefined ? "was inherited" : "a service manager has opened"
        } as ${held.name.address}`
      ),
      table.takeInherited(held.name)
    )

  /** Says which of the inherited sockets is in the way. */
  const explain = (at: Address, kind: string) => (error: ListenError): Effect.Effect<never, ListenError> =>
    Effect.gen(function*() {
      const held = error.reason === "AddressInUse" && !address.isPath(at) ? yield* withPort(kind, at) : []
      const names = held.map(({ held }) => held.name.address).join(", ")
      return yield* new ListenError({
        reason: error.reason,
        address: address.format(at),
        detail: held.length > 0
          ? `${
            held.some(({ held }) => activated.nameOf(held.descriptor) !== undefined)
              ? "a service manager"
              : "the older process"
          } has this port as ${names}; ask for that, or for another port`
          : error.reason === "AddressInUse" && hasParent
          ? "another process listens there (EADDRINUSE), which is not the one that this one was started by; stop it"
          : error.detail,
        cause: error.cause
      })
    })

  const open = <At extends Address, A>(options: {
    readonly at: At
    readonly name: address.FdName
    readonly adopt: (at: At, descriptor: number) => Effect.Effect<A, ListenError>
    readonly bind: (at: At) => Effect.Effect<A, ListenError>
  }) =>
  (restore: Restore): Effect.Effect<A, ListenError> =>
    Effect.gen(function*() {
      const { adopt, at, bind, name } = options
      const inherited = table.takeInherited(name)
      if (Option.isSome(inherited)) return yield* adopt(at, inherited.value)
      const named = underName(at, name.kind)
      if (Option.isSome(named)) return yield* adopt(at, Option.getOrThrow(yield* take(at, named.value)))
      const resolved = yield* restore(env.resolve(at))
      const held = yield* underOtherSpelling(resolved, name.kind)
      const descriptor = Option.isSome(held) ? yield* take(at, held.value) : Option.none()
      if (Option.isSome(descriptor)) return yield* adopt(at, descriptor.value)
      return yield* Effect.catchAll(bind(resolved), explain(at, name.kind))
    })

  return {
    listener: (at) => open({ at, name: fdName.listener(at), adopt, bind: env.bind }),
    packet: (at) => open({ at, name: fdName.packet(at), adopt: env.adoptPacket, bind: env.bindPacket })
  }
}

const isEverywhere = (host = "::"): boolean => ["::", "0.0.0.0"].includes(canonical(host))

/** As the system writes it. */
const canonical = (host = "::"): string => host.includes(":") ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host

const logUnchangeable = (at: Address): Effect.Effect<void> => {
  const option = address.isPath(at) ? "mode" : "ipv6Only"
  const asked = address.isPath(at) ? at.mode : at.ipv6Only
  return asked === undefined
    ? Effect.void
    : logDebug(`${address.format(at)} was inherited, so ${option} stays as it was when it was first bound`)
}
